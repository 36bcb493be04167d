"""The verbs that make embeddings: `embed commentary`."""

from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.options import Json, Verb
from hmtas.place import check_folder
from hmtas.terminal.console import emit, progress, say
from hmtas.terminal.text import counted

NUM_LISTED = 5


embed = typer.Typer(no_args_is_help=True)


@embed.callback()
def _group() -> None:  # without it typer would drop the name of a lone verb
    """Make embeddings, a vector per second, from what a match comes with."""


@embed.command(cls=Verb)
def commentary(
    games: Annotated[
        Path,
        typer.Argument(
            help="Tree league/season/game/ with {1,2}_asr.json transcripts, as of SoccerNet-Echoes "
            "or Whisper."
        ),
    ],
    *,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="Split file, for the train games to fit on; by default GAMES/splits.json."
        ),
    ] = None,
    half_seconds: Annotated[
        Path | None,
        typer.Option(
            help="Lengths of the halves; by default GAMES/half_seconds.json, if it exists."
        ),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Apply this fitted encoder, as to a new match; fit nothing.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write here instead of into GAMES; labels are copied.")
    ] = None,
    width: Annotated[
        int, typer.Option(min=2, max=512, help="Dimensions of each said_* stream, when fitting.")
    ] = 64,
    as_json: Json = False,
) -> None:
    """Embed what the commentators said, once a second.

    Six streams: the words of four time ranges around the second (said_before, said_just,
    said_now, said_after), evidence for each action counted on train games (word_actions), and
    the clock. The encoder is fitted on the train games alone and kept beside the embeddings as
    commentary.encoder.safetensors; `--encoder` applies it to other matches. The same command
    resumes, and skips what is done.
    """
    from hmtas.embed.commentary import embed_games, find_transcribed

    check_folder(out or games)
    with progress("embedding games", len(find_transcribed(games))) as on_game:
        report = embed_games(
            games,
            out=out,
            splits=splits,
            half_seconds=half_seconds,
            encoder=encoder,
            width=width,
            on_game=on_game,
        )
    if as_json:
        emit({"out": str(out or games), **vars(report)})
        return
    fitted = "fitted now" if report.refitted else "used as it was"
    say(f"encoder {report.encoder}: {fitted}, on {counted(report.fitted_games, 'train game')}")
    _list("without a transcript, with the clock alone", report.no_transcript)
    _list("of unknown length, left out", report.no_length)
    if report.skipped_segments:
        reasons = ", ".join(f"{n} {reason}" for reason, n in report.skipped_segments.items())
        say(f"segments skipped: {reasons}")
    embedded = counted(report.num_games, "game")
    say(f"wrote {out or games} ({embedded} embedded, {report.num_kept} kept)")


def _list(what: str, halves: list[str]) -> None:
    if halves:
        more = f" and {len(halves) - NUM_LISTED} more" if len(halves) > NUM_LISTED else ""
        say(f"{counted(len(halves), 'half')} {what}: {'; '.join(halves[:NUM_LISTED])}{more}")
