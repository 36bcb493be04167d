"""The verb `baseline`."""

from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.options import Json, StorePlace
from hmtas.place import check_folder
from hmtas.terminal.console import emit, progress, say


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("baseline")(baseline)


def baseline(
    store: StorePlace,
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Split to predict (repeat for several); valid.")
    ] = None,
    streams: Annotated[
        str | None, typer.Option(help="Use these streams alone, as in tpn,vggish.")
    ] = None,
    radius_s: Annotated[
        float, typer.Option(min=0, help="Rows this close to an event count as it when fitting.")
    ] = 3.0,
    experiment: Annotated[str, typer.Option(help="MLflow experiment.")] = "hmtas",
    nms_window_s: Annotated[
        float | None,
        typer.Option(
            help="Suppression window of every action when scored; default: those of the thesis. "
            "Commentary blurs the moment: with 60 the loose score is far higher.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Fit a linear model on the train games: what every other model has to beat.

    Writes an ordinary run folder, so that `score`, `tune windows`, `ensemble` and `compare` take
    it like any model. Its confidences are ranks spread over [0, 1], not rates.
    """
    from hmtas.store.remote import open_store, prefetch_games
    from hmtas.tracking.run import check_tracking, log_saved
    from hmtas.training.linear import num_steps, run_baseline

    check_folder(out)
    check_tracking([out], experiment)
    opened = open_store(store)
    wanted = None if streams is None else [name.strip() for name in streams.split(",")]
    splits = split or ["valid"]
    prefetch_games(opened, [game for name in ("train", *splits) for game in opened.games(name)])
    with progress("fitting the linear model", num_steps(opened, splits)) as on_half:
        paths = run_baseline(
            opened,
            out,
            splits,
            streams=wanted,
            radius_s=radius_s,
            nms_window_s=nms_window_s,
            on_half=on_half,
        )
    if json:
        emit({"run": str(out), "predictions": [str(path) for path in paths]})
    else:
        say(f"wrote {', '.join(str(path) for path in paths)}")
    log_saved([out], experiment)
