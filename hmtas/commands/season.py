"""`hmtas season`: a synthetic season of a sport, in that sport's own layout."""

from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.options import Json
from hmtas.errors import InputError
from hmtas.formats.embeddings import THESIS_STREAMS
from hmtas.season.write import SMALL_STREAMS, SeasonConfig, parse_streams, write_season
from hmtas.terminal.console import emit, progress, say
from hmtas.terminal.text import counted
from hmtas.validation import validated


def season(
    games: Annotated[Path, typer.Argument(help="Folder of the season: new, empty, or to resume.")],
    *,
    sport: Annotated[
        str,
        typer.Option(
            help="What is played, and how it is written: `football` as SoccerNet-v2; "
            "`football-extra-time` with parts 3 and 4 in every third game; `ball`, ball actions in "
            "one part, with Labels-ball.json; `tennis` as lists of frames; `handball` as OSL "
            "version 2.",
        ),
    ] = "football",
    train: Annotated[int, typer.Option(help="Games to train on.")] = 300,
    valid: Annotated[int, typer.Option(help="Games to validate on.")] = 100,
    test: Annotated[int, typer.Option(help="Games to test on.")] = 100,
    challenge: Annotated[int, typer.Option(help="Games without labels.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same season.")] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Length of a half, clip or recording, 1 to 60; events per minute stay the same.",
            show_default="45; tennis 5, handball 60",
        ),
    ] = None,
    rate_hz: Annotated[
        float | None,
        typer.Option(
            metavar="HZ",
            help="Rows of embeddings per second, 0.5 to 25. Only OSL files say it themselves; to "
            "others it must be told when they are packed, unless it is 1.",
            show_default="1; tennis 2",
        ),
    ] = None,
    streams: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=WIDTH,...",
            help="Embedding streams.",
            show_default=(",".join(f"{name}={width}" for name, width in SMALL_STREAMS.items())),
        ),
    ] = None,
    thesis_streams: Annotated[
        bool,
        typer.Option("--thesis-streams", help="The six streams of the thesis: 200 MB per game."),
    ] = False,
    dtype: Annotated[
        str,
        typer.Option(
            help="Type of the files: float16 or float32; the joined visual file is always float32."
        ),
    ] = "float16",
    ragged: Annotated[
        bool, typer.Option(help="Let some files of a half be up to 2 rows shorter than others.")
    ] = True,
    context: Annotated[
        bool,
        typer.Option(
            "--context",
            help="Make a long context pay: evidence up to half a minute before and after, actions "
            "that look alike at the moment, labels exact to 0.15 s. Football alone.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a synthetic season: invented games, labels, and embeddings that show the actions.

    Actions follow from one another and are as frequent as in real matches (thesis Table 5.1; other
    sports: roughly); some are unshown, and labels are inexact. After an interruption the same
    command resumes.

    Windows of a few seconds see nearly all there is. With --context they do not: such a season
    tells long contexts from short windows, and outputs of 2 Hz from those of 1 Hz.

    --sport writes another sport as the field has it: other actions, another pace, other files. A
    season of it shows how to bring data of that form in, and that the way to a score is whole.
    """
    if streams is not None and thesis_streams:
        raise InputError("--streams and --thesis-streams exclude each other; give one of them")
    widths = THESIS_STREAMS if thesis_streams else SMALL_STREAMS
    options = {
        "sport": sport,
        "train": train,
        "valid": valid,
        "test": test,
        "challenge": challenge,
        "seed": seed,
        "minutes": minutes,
        "rate_hz": rate_hz,
        "streams": dict(widths) if streams is None else parse_streams(streams),
        "dtype": dtype,
        "ragged": ragged,
        "context": context,
    }
    config = validated(SeasonConfig, options, "bad season")
    with progress("season", config.num_games) as advance:
        write_season(games, config, advance)
    if as_json:
        emit({"games": str(games), "num_games": config.num_games, **config.model_dump()})
    else:
        say(f"{counted(config.num_games, 'game')} in {games}")
