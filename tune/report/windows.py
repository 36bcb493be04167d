"""The NMS windows that suit the best model, for its report."""

from pathlib import Path

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.runs.record import WINDOWS, predictions_path, score_path
from hmtas.spotting.evaluate import FittedWindows, read_windows
from hmtas.spotting.windows import cross_fit
from tune.space.labels import percent
from tune.windows.fit import check_split


def windows_of(run: Path, config: Config, store: str, split: str) -> FittedWindows | None:
    """Those that `hmtas tune windows` left in a run folder, else those that it would find.

    Args:
        run: Its folder.
        config: Of the run; windows that are part of the search are not fitted again.
        store: Place of the store with the labels.
        split: That the run predicted.

    Returns:
        None where nothing is fitted: the windows are those of the configuration, or there is
        nothing to fit on.
    """
    from hmtas.runs.probabilities import read_probabilities
    from hmtas.store.remote import open_store

    try:
        if (run / WINDOWS).is_file():
            return read_windows(run / WINDOWS)
        path = predictions_path(run, split)
        if config.train.stop_windows != "fitted" or not path.is_file():
            return None
        check_split(split)
        stored, opened = read_probabilities(path), open_store(store)
        events = opened.events_of(opened.games(split))
        return cross_fit(stored.halves, events, stored.provenance.actions, split=split)
    except (InputError, OSError):  # the scores of the best say why
        return None


def score_with(run: Path, fitted: FittedWindows) -> str:
    """How a run scores with windows that were kept in its folder, in words; or nothing."""
    path = score_path(run, fitted.split)
    if not ((run / WINDOWS).is_file() and path.is_file()):
        return ""
    document = read_json(path)
    if not document.get("cross_fitted"):
        return ""
    tight = document["tight"]
    interval = ", ".join(percent(end) for end in tight["interval"] or ())
    return f" With them, cross-fitted, it has tight {percent(tight['average_map'])} [{interval}] %."
