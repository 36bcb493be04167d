"""NMS windows of a run folder: fitted on its stored probabilities, written and scored there."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.formats.submission import holds_spots
from hmtas.metric.averages import TIGHT_S
from hmtas.metric.counts import histograms
from hmtas.records import Events, HalfId
from hmtas.runs.probabilities import StoredProbabilities, read_probabilities
from hmtas.runs.record import RECORD, WINDOWS, predictions_path, read_run, score_path
from hmtas.spotting.evaluate import FittedWindows, score_document, spot, spot_fitted
from hmtas.spotting.table import Setting, nothing
from hmtas.spotting.windows import Choose, Method, cross_fit
from hmtas.statistics.intervals import paired_difference
from hmtas.store.remote import open_store


class Tuned(NamedTuple):
    """What `tune_run` found for one run; scores are documents of `hmtas.spotting.evaluate`."""

    run: Path
    fitted: FittedWindows
    before: dict[str, Any]  # with the windows of the run's configuration
    after: dict[str, Any]  # cross-fitted
    difference: tuple[float, float, float]  # of the tight Average-mAP, with its 95 % interval


def tune_run(
    run: Path,
    split: str,
    *,
    method: Method = "exact",
    store: str | Path | None = None,
    settings: Sequence[Setting] | None = None,
    threshold: float = 0.0,
    trials: int = 200,
    seed: int = 0,
    on_step: Callable[[], None] = nothing,
) -> Tuned:
    """Fit the windows of a run; write RUN/windows.json and the cross-fitted RUN/scores/SPLIT.json.

    Args:
        run: Run folder of a model or an ensemble, with stored probabilities of `split`.
        split: Any split with labels but the test split.
        method: See `hmtas.spotting.windows`.
        store: Where the labels are; the store that was predicted unless given.
        settings: Rules and windows to try, all unless given.
        threshold: Spots below it are dropped.
        trials: Points of a study of `optuna`; there is one for all games and one for each fold.
        seed: Of these studies.
        on_step: Called at each setting and each trial.

    Raises:
        InputError: If windows may not be fitted on these games.
    """
    check_run(run)
    spotting = read_run(run).config.spotting
    check_split(split)
    stored = read_probabilities(predictions_path(run, split))
    events = _labels(run, stored, store)
    actions = stored.provenance.actions
    choose: Choose | None = None
    if method == "optuna":
        from tune.windows.optuna_windows import search_windows

        choose = partial(search_windows, trials=trials, seed=seed, on_trial=on_step)
    fitted = cross_fit(
        stored.halves,
        events,
        actions,
        split=split,
        method=method,
        choose=choose,
        threshold=threshold,
        settings=settings,
        on_setting=on_step,
    )
    spots_before = spot(stored.halves, actions, spotting)
    spots_after = spot_fitted(stored.halves, actions, fitted, split)
    before, after = (score_document(s, events, actions) for s in (spots_before, spots_after))
    difference = paired_difference(
        histograms(spots_after, events, TIGHT_S, len(actions)),
        histograms(spots_before, events, TIGHT_S, len(actions)),
    )
    write_json(run / WINDOWS, fitted.model_dump(mode="json"))
    used = {
        "split": split,
        "spotting": fitted.spotting().model_dump(mode="json"),
        "cross_fitted": True,
    }
    write_json(score_path(run, split), {**after, **used})
    return Tuned(run, fitted, before, after, difference)


def check_split(split: str) -> None:
    """Refuse the test split: it compares models, so nothing may be fitted on it.

    Raises:
        InputError: If `split` is the test split.
    """
    if split == "test":
        raise InputError(
            "--split test: nothing is fitted on test games, or their scores compare nothing; "
            "fit the windows on valid, then `hmtas score RUN --split test` uses them"
        )


def check_run(run: Path) -> None:
    """Refuse spots: they were suppressed before, and what a window dropped cannot be weighed.

    Raises:
        InputError: If `run` is a submission or a file of probabilities instead of a run folder.
    """
    if not (run / RECORD).is_file() and holds_spots(run):
        raise InputError(
            f"{run}: these are spots, suppressed already, and windows are fitted on the "
            "probabilities of every second; name the run folder that they come from"
        )
    if run.suffix == ".arrow":
        raise InputError(f"{run}: windows are written into a run folder; name it, not this file")
    read_run(run)  # says what is missing


def _labels(
    run: Path, stored: StoredProbabilities, place: str | Path | None
) -> dict[HalfId, Events]:
    """Annotations of the halves that were predicted, from the store that they came from."""
    provenance = stored.provenance
    store = open_store(place or provenance.store)
    games = sorted(stored.games)
    test = sorted(set(games) & set(store.splits.get("test", ())))
    if test:
        raise InputError(
            f"{run}: {len(test)} of its games, the first {test[0]!r}, are test games of "
            f"{store.place}; nothing is fitted on test games"
        )
    trained = sorted(set(games) & set(provenance.fitted_games))
    if trained and not provenance.cross_fitted:
        raise InputError(
            f"{run}: {len(trained)} of these games, the first {trained[0]!r}, trained the model, "
            "which is surer there than anywhere else; fit windows on games it has not seen "
            "(of a p2 run: take the windows of its p1 run)"
        )
    unlabelled = [game for game in games if not store.has_labels(game)]
    if unlabelled:
        raise InputError(
            f"{store.place}: {len(unlabelled)} games without labels, the first {unlabelled[0]!r}; "
            "is this the challenge split?"
        )
    if store.checksum != provenance.store_checksum and store.actions != provenance.actions:
        raise InputError(
            f"{run}: its actions are not those of {store.place}; name its store with --store"
        )
    return {half: store.events(half) for half in stored.halves}
