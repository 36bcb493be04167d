"""The verbs of the store: `pack`, `verify` and `upload`."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hmtas.commands.label_options import (
    ActionList,
    ByTeam,
    LabelFormat,
    LabelFps,
    Renames,
    SpotAt,
    reading_of,
)
from hmtas.commands.options import Json, StorePlace, names_in
from hmtas.errors import InputError
from hmtas.formats.embeddings import BAIDU, BAIDU_BLOCKS
from hmtas.formats.times import MOST_PARTS
from hmtas.place import check_folder
from hmtas.terminal.console import emit, progress, say, show
from hmtas.terminal.table import Table
from hmtas.terminal.text import counted

if TYPE_CHECKING:
    from hmtas.packing.check import PackPlan
    from hmtas.packing.pack import PackReport

T = TypeVar("T")
NUM_LISTED = 10  # rows of one kind in the report; `--json` has all


def pack(
    games: Annotated[
        Path,
        typer.Argument(
            help="Folder of the games: SoccerNet's tree, or label files that list them, or one "
            "such file."
        ),
    ],
    store: Annotated[Path, typer.Argument(help="Folder of the store: new, or one to finish.")],
    *,
    features: Annotated[
        Path | None, typer.Option(help="Folder of the embeddings; by default GAMES.")
    ] = None,
    label_format: LabelFormat = None,
    actions: ActionList = None,
    rename: Renames = None,
    by_team: ByTeam = False,
    fps: LabelFps = None,
    spot_at: SpotAt = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            "--splits",
            "--split-by",
            help="Split file: {split: [game, ...]}, {game: split}, or a table game,split; by "
            "default GAMES/splits.json, or what the label files say.",
        ),
    ] = None,
    only_splits: Annotated[
        str | None, typer.Option(help="Pack only these splits; other games are left out.")
    ] = None,
    streams: Annotated[
        str | None, typer.Option(help="Pack only these streams, such as tpn,vggish.")
    ] = None,
    slack_s: Annotated[
        float,
        typer.Option(
            help="How much the streams of a half may differ in length, and how far past its end "
            "a label may lie."
        ),
    ] = 5.0,
    parts: Annotated[
        str | None,
        typer.Option(
            help="Parts of a game to pack beside 1, 2 and those that labels know, such as 3,4."
        ),
    ] = None,
    allow_missing_halves: Annotated[
        bool,
        typer.Option(
            "--allow-missing-halves", help="Pack the other halves of a game that lacks one."
        ),
    ] = False,
    rate_hz: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows per second: a number alone is that of the store and of every file, by "
            "default 1; STREAM=HZ is that of one stream's files, such as vggish=1.0417 (repeat for "
            "several)."
        ),
    ] = None,
    resample: Annotated[
        list[str] | None,
        typer.Option(
            help="How rows of another rate become the store's: `nearest`, `linear` (between two) "
            "or `mean`; STREAM=METHOD for one stream. By default `mean` where a stream has at "
            "least 1.5 rows for one of the store, else `linear` (repeat for several)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Pack embeddings, labels and splits into a memory-mapped store.

    Labels: a `Labels-v2.json`, `Labels-ball.json` or `Labels.json` in the folder of each game, or
    files that list games: OSL 1 and 2, lists of frames, segments, CSV with the columns game, label
    and time_s. Embeddings: `<game>/<half>_<stream>.npy`, `<game>/<stream>.npy`,
    `<stream>/<video>.npy`, or where the labels say (docs/data.md).

    Headers, labels and splits of the whole season are checked before anything is written. Files
    that look like streams but are not named so are listed as left out, and labels that end long
    before the rows put --rate-hz in doubt. Streams of another rate are brought to that of the
    store; the rates of those that SoccerNet publishes are known. After an interruption the same
    command resumes.

    Examples: `hmtas pack SoccerNet store`; `hmtas pack tennis store --rate-hz 2`;
    `hmtas pack annotations.json store --features FEATURES --split-by split.csv`
    """
    from hmtas.packing.check import plan_pack
    from hmtas.packing.pack import run_pack

    plain_hz, stream_rates_hz = _by_stream("--rate-hz", rate_hz, _rate)
    method, stream_methods = _by_stream("--resample", resample, str)
    check_folder(store)
    reading = reading_of(
        label_format=label_format,
        fps=fps,
        spot_at=spot_at,
        rename=rename,
        by_team=by_team,
        actions=actions,
    )
    plan = plan_pack(
        games,
        features=features,
        labels=reading.labels,
        naming=reading.naming,
        actions=reading.actions,
        parts=parts_in(parts),
        allow_missing_halves=allow_missing_halves,
        splits=splits,
        only_splits=names_in(only_splits),
        slack_s=slack_s,
        rate_hz=plain_hz,
        stream_rates_hz=stream_rates_hz,
        method=method,
        stream_methods=stream_methods,
        streams=names_in(streams),
    )
    _warn(plan)
    with progress("packing halves", len(plan.halves)) as on_half:
        report = run_pack(plan, store, on_half=on_half)
    if as_json:
        emit({"store": str(store), **vars(report), "actions": report.actions._asdict()})
        return
    _show_report(report)
    if report.complete:
        say(f"{store} is complete; nothing has changed")
    else:
        say(f"wrote {store} ({counted(report.num_packed, 'half')} packed, {report.num_kept} kept)")
    if report.replaced:
        say(f"warning: {store} held other data before (checksum {report.replaced[:12]}, now "
            f"{report.checksum[:12]}): what was made on it is refused from now on")  # fmt: skip


def parts_in(text: str | None) -> list[int]:
    """The numbers of a list such as 3,4."""
    words = names_in(text) or []
    wrong = [word for word in words if not word.isdecimal() or not 1 <= int(word) <= MOST_PARTS]
    if wrong:
        raise InputError(f"--parts must be numbers from 1, such as 3,4, got {wrong[0]!r}")
    return [int(word) for word in words]


def _by_stream(
    option: str, words: list[str] | None, read: Callable[[str], T]
) -> tuple[T | None, dict[str, T]]:
    """What an option says of every stream, and what it says of one: VALUE and STREAM=VALUE.

    The name of the file that holds five streams stands for all of them.
    """
    found: dict[str, T] = {}
    for word in words or ():
        stream, equals, value = word.rpartition("=")
        if equals and not stream:
            raise InputError(f"{option} {word}: name the stream, as in STREAM={value or 'VALUE'}")
        for name in BAIDU_BLOCKS if stream == BAIDU else [stream]:
            if name in found:
                of = f"stream {name!r}" if name else "all streams"
                raise InputError(f"{option} {word}: {of} had a value before; remove one")
            found[name] = read(value)
    return found.pop("", None), found


def _rate(text: str) -> float:
    try:
        rate_hz = float(text)
    except ValueError:
        raise InputError(
            f"--rate-hz must be a number, such as 2, or one of a stream, such as vggish=1.0417; "
            f"got {text!r}"
        ) from None
    if not math.isfinite(rate_hz):
        raise InputError(f"--rate-hz must be a finite number, got {rate_hz}")
    return rate_hz


def _warn(plan: "PackPlan") -> None:
    """Say what looks wrong before anything is written."""
    for warning in plan.warnings[:NUM_LISTED]:
        say(f"warning: {warning}")
    if (more := len(plan.warnings) - NUM_LISTED) > 0:
        say(f"warning: ... and {more} more; --json lists all")
    if plan.files_left_out:
        num_files = counted(len(plan.files_left_out), "file")
        say(f"warning: {num_files} of the games left out, which may hold streams")


def verify(store: StorePlace, as_json: Json = False) -> None:
    """Check every byte of a store, its labels, and that no game is in two splits.

    A store in a service is read there, not from this machine's copy. Prints a line for each
    problem and exits with 2 if there is any.
    """
    from hmtas.store.verify import verify as problems_of

    with progress("checking halves", None) as on_half:
        problems = problems_of(store, on_half=on_half)
    if as_json:
        emit({"store": str(store), "sound": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(f"problem: {problem}")
    if problems:
        say(f"{store}: {counted(len(problems), 'problem')}")
        raise typer.Exit(2)
    say(f"{store} is sound")


def upload(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    address: Annotated[
        str,
        typer.Argument(
            help="Where to, as in `s3://BUCKET/FOLDER`; endpoint and credentials come from the "
            "environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY ...)."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Copy a store to an S3-like service, where every machine of a cluster can read it.

    The index goes last, so half an upload is no store. After an interruption the same command
    resumes. A store that is there already is replaced.
    """
    from hmtas.store.local import EmbeddingStore
    from hmtas.store.upload import upload as send

    with progress("uploading halves", len(EmbeddingStore.open(store).halves)) as on_half:
        num_sent = send(store, address, on_half=on_half)
    if as_json:
        emit({"store": str(store), "address": address, "num_sent": num_sent})
    else:
        say(f"{address} holds {store} ({counted(num_sent, 'half')} sent)")


def _show_report(report: "PackReport") -> None:
    games = tuple((name, str(num_games)) for name, num_games in report.num_games.items())
    show(Table(heads=("split", "games"), rows=games, title="packed"))
    named = report.actions
    num_actions = counted(len(named.names), "action")
    show(f"labels: {report.format}; {num_actions}, from {named.origin}; {named.times}")
    if report.format != "soccernet-v2":
        counts = tuple((name, f"{number:,}") for name, number in named.num_train.items())
        show(Table(heads=("action", "labels of train"), rows=counts))
    widths = ", ".join(f"{name} {width}" for name, width in report.streams.items())
    num_halves = counted(report.num_packed + report.num_kept, "half")
    show(f"{num_halves}, {report.num_bytes / 1e6:,.0f} MB: {widths}")
    for resampling in report.resampled:
        show(str(resampling))
    kinds = {
        "last row repeated": [
            (str(half), f"{stream}, {counted(rows, 'row')}")
            for half, stream, rows in report.extended
        ],
        "stream missing": [(str(half), stream) for half, stream in report.missing],
        "half missing": [
            (str(half), f"its {counted(number, 'label')} left out" if number else "")
            for half, number in report.missing_halves
        ],
        "labels left out by --rename": [("", counted(named.num_left_out, "label"))]
        if named.num_left_out
        else [],
        "all rows equal": [(str(half), stream) for half, stream in report.constant],
        "label past the end, kept": [
            (str(item.half), f"{item.action} at {item.time_s:g} s of {item.length_s:g} s")
            for item in report.late_labels
        ],
        "file left out": [(item.file, item.reason) for item in report.files_left_out],
        "labels contradict themselves, kept": [
            (odd.game, f"{counted(odd.num_labels, 'label')}: {odd.what}")
            for odd in report.odd_labels
        ],
        "game left out, in no packed split": [(game, "") for game in report.left_out],
    }
    rows = []
    for kind, found in kinds.items():
        rows += [(kind, *row) for row in found[:NUM_LISTED]]
        if len(found) > NUM_LISTED:
            rows.append((kind, f"... and {len(found) - NUM_LISTED} more", "--json lists all"))
    if rows:
        show(Table(heads=("what", "where", "details"), rows=tuple(rows), words=frozenset({0, 1, 2}),
                   title="not as it should be, or left out"))  # fmt: skip
    if report.warnings:
        show(f"{counted(len(report.warnings), 'warning')}, said before packing; --json lists them")
