"""Train the best trials of a search again and compare them, so that luck does not pick the winner.

The best of many trials was lucky with its games and its seed. The few best are therefore trained
again with fresh seeds and scored on a split that took no part in the search. Their differences have
simultaneous intervals over games (hmtas.statistics.verdicts), to which the noise of the seeds is
added: its variance is pooled over all finalists, as two seeds of one say little. The score of the
picked one is corrected for having been picked here (hmtas.statistics.winner).
"""

from pathlib import Path

from hmtas.cluster.tasks import run_tasks
from hmtas.config import Config
from hmtas.refusals import describe_error
from hmtas.runs.record import read_run
from hmtas.scoring.run import count_run
from hmtas.statistics.seeds import resample_candidates
from hmtas.statistics.verdicts import compare_to
from hmtas.statistics.winner import corrected_winner
from hmtas.terminal.console import progress, say
from tune.search.objective import train
from tune.search.trial import Job
from tune.study.finalists import RUNS, ComparedToPicked, Final, Finalist
from tune.study.options import Metric
from tune.study.record import StudyRecord, choose_finalists

FIRST_SEED = 1000  # above that of the study: a finalist never has the seed it was found with


def retrain_finalists(folder: Path, record: StudyRecord, job: Job, concurrent: int) -> Final | None:
    """Train the finalists as Ray tasks, `concurrent` at once, and compare them.

    What is trained already is not trained again; a training that was interrupted resumes.

    Returns:
        None, if no trial has a score or every training failed.
    """
    options = record.settings.options
    seeds = [record.settings.base.train.seed + FIRST_SEED + i for i in range(options.final_seeds)]
    runs: dict[Path, str] = {}
    calls: dict[Path, tuple[Path, Config, Job]] = {}
    for row in choose_finalists(record, options.top):
        config = read_run(folder / row.run).config
        for seed in seeds:
            run = folder / RUNS / f"{row.id}-s{seed}"
            runs[run] = row.id
            calls[run] = (run, config.updated({"train.seed": seed}), job)

    with progress("Training the best again", len(calls)) as advance:

        def note(run: Path, error: Exception | None) -> None:
            if error is not None:
                say(f"training {run.name}: {describe_error(error)}")
            advance()

        errors = run_tasks(
            train, calls, at_once=concurrent, options=job.task_options(), on_end=note
        )
    trained: dict[str, list[Path]] = {}
    for run, trial in runs.items():
        if run not in errors:
            trained.setdefault(trial, []).append(run)
    if not trained:
        return None
    final = compare_finalists(folder, trained, job, options.metric)
    failed = (f"{run.name}: {describe_error(error)}" for run, error in errors.items())
    return final.model_copy(update={"failed": tuple(failed)})


def compare_finalists(folder: Path, runs: dict[str, list[Path]], job: Job, metric: Metric) -> Final:
    """Score the trainings of each trial on the split they predicted, and compare the trials."""
    store = job.open_store()
    counts = [
        [count_run(run, store, job.settings.split, metric) for run in found]
        for found in runs.values()
    ]
    groups, trainings, deviation, means = resample_candidates(counts)
    trials = list(runs)
    picked = int(means.scores.argmax())
    compared = compare_to(means, picked, picked=True) if len(trials) > 1 else {}
    finalists = [
        Finalist(
            trial=trial,
            runs=tuple(str(run.relative_to(folder)) for run in runs[trial]),
            scores=trainings[c],
            score=float(means.scores[c]),
            against=ComparedToPicked.of(compared[c]) if c in compared else None,
        )
        for c, trial in enumerate(trials)
    ]
    winner = corrected_winner([training for found in counts for training in found], groups=groups)
    return Final(
        metric=metric,
        split=job.settings.split,
        num_games=means.num_games,
        seed_deviation=deviation,
        picked=trials[picked],
        corrected=winner.corrected,
        finalists=tuple(sorted(finalists, key=lambda one: (one.against is not None, -one.score))),
    )
