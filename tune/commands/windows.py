"""`hmtas tune windows`: NMS rules and windows from stored probabilities."""

from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.failures import Failures, check_readable
from hmtas.commands.metric_options import Fps, GridHz, ToleranceFrames, ToleranceS, chosen_metric
from hmtas.commands.options import Json
from hmtas.place import check_folder
from hmtas.runs.record import read_run, score_path
from hmtas.terminal.console import progress
from hmtas.validation import one_of


def windows(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of models or ensembles.")],
    split: Annotated[str, typer.Option(help="Split to fit on; never test.")] = "valid",
    method: Annotated[
        str,
        typer.Option(
            help="`exact`: the best rule and window of each action. `optuna`: the same, sampled "
            "in a Ray Tune study. `global`: the best one for all actions. `fixed`: the thesis's "
            "windows, or what the gaps between events say; nothing fitted."
        ),
    ] = "exact",
    kinds: Annotated[
        str, typer.Option(help="Rules to try: hard, thesis, linear, squared, gaussian.")
    ] = "hard,linear,squared,gaussian",
    store: Annotated[
        str | None, typer.Option(help="Store of the labels; by default the one predicted.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Drop spots of lower confidence.")
    ] = 0.0,
    tolerance_s: ToleranceS = None,
    grid_hz: GridHz = None,
    tolerance_frames: ToleranceFrames = None,
    fps: Fps = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials of each study of `optuna`; all games, and each fold.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the studies of `optuna`.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit rule and window of each action's NMS on stored probabilities; no training.

    Writes RUN/windows.json, and RUN/scores/SPLIT.json with each game scored under windows that
    other games chose. Actions with few events borrow from the others. The windows maximise tight
    Average-mAP, or the metric that --tolerance-s or --tolerance-frames names.
    """
    from hmtas.scoring.games import refuse_test_split
    from hmtas.spotting.windows import NUM_FOLDS, Method, every_setting, parse_kinds
    from hmtas.tracking.note import tracked
    from hmtas.tracking.run import check_tracking, log_saved
    from tune.commands.tables import show_tuned
    from tune.windows.fit import check_run, tune_run

    metric = chosen_metric(tolerance_s, grid_hz, tolerance_frames, fps)
    refuse_test_split(split)
    failures, good = Failures(len(runs)), []
    for run in runs:
        with failures.of(run):
            check_run(run, split)
            check_readable(run)
            check_folder(run, score_path(run, split).parent)
            good.append(run)
    check_tracking(tracked(good))
    chosen = one_of("method", method, Method)
    rules = parse_kinds(kinds)
    of_study = (1 + NUM_FOLDS) * trials if chosen == "optuna" else 0
    steps = [len(every_setting(rules, rate_hz=_rate_of(run))) + of_study for run in good]
    tuned = []
    with progress("Fitting windows", 0 if chosen == "fixed" else sum(steps)) as advance:
        for run in good:
            with failures.of(run):
                fitted = tune_run(run, split, method=chosen, store=store, kinds=rules,
                                  threshold=threshold, metric=metric, trials=trials,
                                  seed=seed, on_step=advance)  # fmt: skip
                tuned.append(fitted)
    show_tuned(tuned, split, as_json)
    log_saved(tracked(item.run for item in tuned))
    failures.tell()


def _rate_of(run: Path) -> float:
    """Rows per second of what a run predicts."""
    record = read_run(run)
    return record.config.model.output_rate_hz or record.rate_hz
