"""NMS windows of a run folder: fitted on its stored probabilities, written and scored there."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hmtas.config import Config, NmsKind, SpottingConfig
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.formats.submission import holds_spots
from hmtas.metric.averages import TIGHT_S
from hmtas.metric.chosen import ChosenMetric
from hmtas.metric.matching import GRID_HZ
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import RECORD, WINDOWS, predictions_path, read_run
from hmtas.scoring.games import check_fitting, how_to_predict, refuse_test_split
from hmtas.scoring.run import spot_stored
from hmtas.scoring.score import SpotsScore, score_spots, write_score
from hmtas.spotting.spots import FittedWindows
from hmtas.spotting.windows import KINDS, Choose, Method, cross_fit, every_setting
from hmtas.statistics.intervals import paired_difference
from hmtas.store.recorded import open_recorded


class Tuned(NamedTuple):
    """What `tune_run` found for one run."""

    run: Path
    fitted: FittedWindows
    before: SpotsScore  # with the windows of the run's configuration
    after: SpotsScore  # cross-fitted
    difference: tuple[float, float, float]  # with its 95 % interval; tight, or the chosen metric


def tune_run(
    run: Path,
    split: str,
    *,
    method: Method = "exact",
    store: str | Path | None = None,
    kinds: Sequence[NmsKind] = KINDS,
    threshold: float = 0.0,
    metric: ChosenMetric | None = None,
    trials: int = 200,
    seed: int = 0,
    on_step: Callable[[], None] = lambda: None,
) -> Tuned:
    """Fit the windows of a run; write RUN/windows.json and the cross-fitted RUN/scores/SPLIT.json.

    Args:
        run: Run folder of a model or an ensemble, with stored probabilities of `split`.
        split: Any split with labels but the test split.
        method: See `hmtas.spotting.windows`.
        store: Where the labels are; the store that was predicted unless given.
        kinds: Rules to try, each with every window.
        threshold: Spots below it are dropped.
        metric: What the windows maximise (`ChosenMetric.grid`); tight Average-mAP unless given.
        trials: Points of a study of `optuna`; there is one for all games and one for each fold.
        seed: Seed of these studies.
        on_step: Called at each setting and each trial.

    Raises:
        InputError: If windows may not be fitted on these games.
    """
    refuse_test_split(split)
    check_run(run, split)
    stored = read_probabilities(predictions_path(run, split))
    made_on = stored.provenance
    opened = open_recorded(run, made_on.store, made_on.store_checksum, named=store, other_data=True)
    check_fitting(
        str(run),
        stored,
        opened,
        advice="fit windows on games it has not seen (of a p2 run: take those of its p1 run)",
    )
    events = opened.events_of(stored.games)
    actions = stored.provenance.actions
    choose: Choose | None = None
    fixed: SpottingConfig | None = None
    if method == "fixed":
        from hmtas.training.on_store import on_store

        fixed = on_store(Config(), opened).spotting
    if method == "optuna":
        from tune.windows.optuna_windows import search_windows

        choose = partial(search_windows, trials=trials, seed=seed, on_trial=on_step)
    tolerances_s, grid_hz = (TIGHT_S, GRID_HZ) if metric is None else metric.grid
    fitted = cross_fit(
        stored.halves,
        events,
        actions,
        split=split,
        method=method,
        choose=choose,
        threshold=threshold,
        settings=every_setting(kinds, rate_hz=made_on.rate_hz),
        fixed=fixed,
        tolerances_s=tolerances_s,
        grid_hz=grid_hz,
        on_setting=on_step,
    )
    configured = spot_stored(stored, read_run(run).config.spotting)
    cross_fitted = spot_stored(stored, fitted)
    before, after = (
        score_spots(found.spots, events, actions, chosen=metric)
        for found in (configured, cross_fitted)
    )
    write_json(run / WINDOWS, fitted.model_dump(mode="json"))
    write_score(run, cross_fitted.run_score(after))
    difference = paired_difference(
        cross_fitted.chosen_counts(events, metric), configured.chosen_counts(events, metric)
    )
    return Tuned(run, fitted, before, after, difference)


def check_run(run: Path, split: str) -> None:
    """Refuse spots: they were suppressed before, and what a window dropped cannot be weighed.

    Raises:
        InputError: If `run` is a submission or a file of probabilities instead of a run folder, or
            has not predicted the split.
    """
    if not (run / RECORD).is_file() and holds_spots(run):
        raise InputError(
            f"{run}: these are spots, suppressed already, and windows are fitted on the "
            "probabilities of every second; name the run folder that they come from"
        )
    if run.suffix.lower() == ".arrow":
        raise InputError(f"{run}: windows are written into a run folder; name it, not this file")
    read_run(run)  # says what is missing
    if not predictions_path(run, split).is_file():
        raise InputError(f"{run}: no predictions of split {split!r}; {how_to_predict(run, split)}")
