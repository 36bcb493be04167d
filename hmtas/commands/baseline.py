"""`hmtas baseline`: a linear model."""

from typing import Annotated

import typer

from hmtas.commands.options import Experiment, Json, NmsWindow, RunOut, StorePlace, names_in
from hmtas.place import check_folder
from hmtas.terminal.console import emit, progress, say


def baseline(
    store: StorePlace,
    out: RunOut,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Split to predict (repeat for several); by default valid."),
    ] = None,
    streams: Annotated[
        str | None, typer.Option(help="Use only these streams, such as tpn,vggish.")
    ] = None,
    radius_s: Annotated[
        float, typer.Option(min=0, help="Rows this close to an event are fitted as the event.")
    ] = 3.0,
    nms_window_s: NmsWindow = None,
    experiment: Experiment = "hmtas",
    as_json: Json = False,
) -> None:
    """Fit a linear model on the train games: what every other model has to beat.

    Writes an ordinary run folder, so that `score`, `tune windows`, `ensemble` and `compare` take
    it like any model. Its confidences are ranks spread over [0, 1], not rates. Commentary blurs
    the moment of an action: there, `--nms-window-s 60` makes the loose score far higher.
    """
    from hmtas.store.remote import open_store, prefetch_games
    from hmtas.tracking.run import check_tracking, log_saved
    from hmtas.training.linear import num_steps, run_baseline

    check_folder(out)
    check_tracking([out], experiment)
    opened = open_store(store)
    splits = split or ["valid"]
    prefetch_games(opened, [game for name in ("train", *splits) for game in opened.games(name)])
    with progress("fitting the linear model", num_steps(opened, splits)) as on_half:
        paths = run_baseline(
            opened,
            out,
            splits,
            streams=names_in(streams),
            radius_s=radius_s,
            nms_window_s=nms_window_s,
            on_half=on_half,
        )
    if as_json:
        emit({"run": str(out), "predictions": [str(path) for path in paths]})
    else:
        say(f"wrote {', '.join(str(path) for path in paths)}")
    log_saved([out], experiment)
