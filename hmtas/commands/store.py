"""The verbs of the store: `pack`, `verify` and `upload`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmtas.commands.options import Json, StorePlace
from hmtas.place import check_folder
from hmtas.terminal.console import emit, progress, say, show

if TYPE_CHECKING:
    from hmtas.store.pack import PackReport

NUM_LISTED = 10  # rows of one kind in the report; `--json` has all


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("pack")(pack_verb)
    app.command("verify")(verify_verb)
    app.command("upload")(upload_verb)


def pack_verb(
    games: Annotated[
        Path,
        typer.Argument(help="SoccerNet tree: league/season/game/ with .npy files and labels."),
    ],
    store: Annotated[Path, typer.Argument(help="Folder of the store, new or begun before.")],
    *,
    splits: Annotated[
        Path | None, typer.Option(help="Split file; GAMES/splits.json if not given.")
    ] = None,
    only_splits: Annotated[
        str | None,
        typer.Option(help="Pack these splits alone, as in train,valid; other games are left out."),
    ] = None,
    streams: Annotated[
        str | None, typer.Option(help="Pack these streams alone, as in tpn,vggish.")
    ] = None,
    slack_s: Annotated[
        float,
        typer.Option(
            help="Seconds by which streams of a half may differ in length, and labels may lie "
            "past its end.",
        ),
    ] = 5.0,
    rate_hz: Annotated[float, typer.Option(help="Rows per second of every file.")] = 1.0,
    json: Json = False,
) -> None:
    """Pack embeddings, labels and splits into a memory-mapped store.

    Headers, labels and splits of the whole season are checked before anything is written. When
    interrupted, run the same command again: it goes on where it stopped.
    """
    from hmtas.store.check import plan_pack
    from hmtas.store.pack import run_pack

    check_folder(store)
    plan = plan_pack(
        games,
        splits=splits,
        only_splits=_names(only_splits),
        slack_s=slack_s,
        rate_hz=rate_hz,
        streams=_names(streams),
    )
    with progress("packing halves", len(plan.halves)) as on_half:
        report = run_pack(plan, store, on_half=on_half)
    if json:
        emit({"store": str(store), **dataclasses.asdict(report)})
        return
    _show_report(report)
    if report.complete:
        say(f"{store} is complete; nothing has changed")
    else:
        say(f"wrote {store} ({report.num_packed} halves packed, {report.num_kept} kept)")


def verify_verb(
    store: StorePlace,
    json: Json = False,
) -> None:
    """Check every byte of a store, its labels, and that no game is in two splits.

    A store in a service is read there, whatever this machine has copied of it. Prints a line per
    problem and exits with 2 if there is any.
    """
    from hmtas.store.verify import verify

    with progress("checking halves", None) as on_half:
        problems = verify(store, on_half=on_half)
    if json:
        emit({"store": str(store), "sound": not problems, "problems": problems})
    for problem in problems:
        say(f"problem: {problem}")
    if problems:
        say(f"{store}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
        raise typer.Exit(2)
    say(f"{store} is sound")


def upload_verb(
    store: Annotated[Path, typer.Argument(help="Folder of the store.")],
    address: Annotated[
        str,
        typer.Argument(
            help="Where to, as in `s3://BUCKET/FOLDER`; endpoint and credentials come from the "
            "environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY ...)."
        ),
    ],
    json: Json = False,
) -> None:
    """Copy a store to an S3-like service, from where every machine of a cluster can read it.

    The index goes last, so that half an upload is no store. When interrupted, run the same command
    again: it goes on where it stopped. A store that lies there is replaced.
    """
    from hmtas.store.local import EmbeddingStore
    from hmtas.store.upload import upload

    with progress("uploading halves", len(EmbeddingStore.open(store).halves)) as on_half:
        num_sent = upload(store, address, on_half=on_half)
    if json:
        emit({"store": str(store), "address": address, "num_sent": num_sent})
        return
    say(f"{address} holds {store} ({num_sent} halves sent)")


def _names(value: str | None) -> list[str] | None:
    """A list given as a,b."""
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


def _show_report(report: "PackReport") -> None:
    from rich.table import Table

    table = Table("split", "games", title="packed")
    for name, num_games in report.num_games.items():
        table.add_row(name, str(num_games))
    show(table)
    widths = ", ".join(f"{name} {width}" for name, width in report.streams.items())
    show(
        f"{report.num_packed + report.num_kept} halves, {report.num_bytes / 1e6:,.0f} MB: {widths}"
    )
    kinds = {
        "last row repeated": [
            (str(half), f"{stream}, {rows} rows") for half, stream, rows in report.extended
        ],
        "stream missing": [(str(half), stream) for half, stream in report.missing],
        "label past the end, kept": [
            (str(item.half), f"{item.action} at {item.time_s:g} s of {item.length_s:g} s")
            for item in report.late_labels
        ],
        "game left out, in no packed split": [(game, "") for game in report.left_out],
    }
    if not any(kinds.values()):
        return
    table = Table("what", "where", "details", title="not as it should be, or left out")
    for kind, rows in kinds.items():
        for place, details in rows[:NUM_LISTED]:
            table.add_row(kind, place, details)
        if len(rows) > NUM_LISTED:
            table.add_row(kind, f"... and {len(rows) - NUM_LISTED} more", "--json lists all")
    show(table)
