"""The winner of a search is not the luckiest: the best trials are trained again and compared.

The best of many trials was lucky with its games and its seed. The few best are therefore trained
again with fresh seeds and scored on a split that took no part in the search. Their differences have
simultaneous intervals over games (hmtas.statistics.verdicts), to which the noise of the seeds is
added: its variance is pooled over all finalists, as two seeds of one say little. What the picked
one is worth is corrected for its having been picked here (hmtas.statistics.winner).
"""

from pathlib import Path
from typing import Any

from hmtas.config import Config
from hmtas.runs.record import predictions_path, read_run
from hmtas.terminal.console import progress, say
from tune.search.trial import Job, lock_path
from tune.search.workers import HEAD_NODE, train_nested
from tune.study.finalists import RUNS, ComparedToPicked, Final, Finalist
from tune.study.lock import writer_lock
from tune.study.options import Metric
from tune.study.record import StudyRecord, choose_finalists

FIRST_SEED = 1000  # above that of the study: a finalist never has the seed it was found with


def retrain_finalists(folder: Path, record: StudyRecord, job: Job, concurrent: int) -> Final | None:
    """Train the finalists as Ray tasks, `concurrent` at once, and compare them.

    What is trained already is not trained again; a training that was interrupted goes on.

    Returns:
        None, if no trial has a score or every training failed.
    """
    import ray

    options = record.settings.options
    rows = choose_finalists(record, options.top)
    seeds = [record.settings.base.train.seed + FIRST_SEED + i for i in range(options.final_seeds)]
    if job.workers > 1:  # its workers take the CPUs
        task = ray.remote(num_cpus=0, resources=HEAD_NODE)(train_finalist)
    else:
        task = ray.remote(num_cpus=job.threads, num_gpus=job.gpus)(train_finalist)
    runs: dict[str, list[Path]] = {row.id: [] for row in rows}
    todo = [(row, seed) for row in rows for seed in seeds]
    waiting: dict[Any, tuple[str, Path]] = {}
    failed: list[str] = []
    with progress("Training the best again", len(todo)) as advance:
        while todo or waiting:
            while todo and len(waiting) < concurrent:
                row, seed = todo.pop(0)
                run = folder / RUNS / f"{row.id}-s{seed}"
                fresh = read_run(folder / row.run).config.updated({"train.seed": seed})
                waiting[task.remote(str(run), fresh.model_dump_json(), job)] = (row.id, run)
            for ended in ray.wait(list(waiting))[0]:
                trial, run = waiting.pop(ended)
                try:
                    ray.get(ended)
                    runs[trial].append(run)
                except ray.exceptions.RayTaskError as error:
                    failed.append(f"{run.name}: {error.cause}")
                    say(f"training {failed[-1]}")
                advance()
    trained = {trial: sorted(found) for trial, found in runs.items() if found}
    if not trained:
        return None
    final = compare_finalists(folder, trained, job, options.metric)
    return final.model_copy(update={"failed": tuple(failed)})


def train_finalist(run: str, config: str, job: Job) -> None:
    """One training of a finalist, and its predictions."""
    import torch

    from hmtas.prediction.slide import predict_run
    from hmtas.store.remote import open_store
    from hmtas.training.loop import fit

    folder, store = Path(run), open_store(job.store)
    if job.workers > 1:
        train_nested(folder, Config.model_validate_json(config), job)
        return
    torch.set_num_threads(job.threads)
    with writer_lock(lock_path(folder)):
        fit(
            store,
            Config.model_validate_json(config),
            folder,
            name=folder.name,
            preset=job.preset,
            device=job.device,
        )
        if not predictions_path(folder, job.split).is_file():
            predict_run(folder, store, job.split, device=job.device)


def compare_finalists(folder: Path, runs: dict[str, list[Path]], job: Job, metric: Metric) -> Final:
    """Score the trainings on the split they predicted, and compare the finalists.

    Args:
        folder: Of the study.
        runs: Trial to the run folders of its trainings.
        job: Where the labels are.
        metric: What they are compared by.
    """
    from hmtas.scoring.run import count_run
    from hmtas.statistics.seeds import resample_candidates
    from hmtas.statistics.verdicts import compare_to
    from hmtas.statistics.winner import corrected_winner

    counts = [
        [count_run(run, job.store, job.split, metric) for run in found] for found in runs.values()
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
        split=job.split,
        num_games=means.num_games,
        seed_deviation=deviation,
        picked=trials[picked],
        corrected=winner.corrected,
        finalists=tuple(sorted(finalists, key=lambda one: (one.against is not None, -one.score))),
    )
