"""The winner of a search is not the luckiest: the best trials are trained again and compared.

The best of many trials was lucky with its games and its seed. The few best are therefore trained
again with fresh seeds and scored on a split that took no part in the search. Their differences
have simultaneous intervals over games (hmtas.verdicts), to which the noise of the seeds is added:
its variance is pooled over all finalists, as two seeds of one say little. What the picked one is
worth is corrected for its having been picked here (hmtas.winner).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hmtas.config import Config
from hmtas.console import progress, say
from hmtas.runs import predictions_path, read_run
from tune.final_record import RUNS, Against, Final, Finalist
from tune.lock import one_writer
from tune.nested import HEAD, train_nested
from tune.objective import Job, lock_of
from tune.options import Objective
from tune.record import StudyRecord, TrialRow, front, ranked

if TYPE_CHECKING:
    from hmtas.game_counts import GameCounts
    from hmtas.statistics import Resampled

FIRST_SEED = 1000  # above that of the study: a finalist never has the seed it was found with
RESAMPLES = 1000


def choose_finalists(record: StudyRecord, top: int) -> list[TrialRow]:
    """The best trials of a study that differ in a setting, best first.

    Where two numbers are maximised the front comes first, and then the best tight.
    """
    rows = ranked(record)
    if record.settings.options.objective == "both":
        rows = front(record) + rows
    chosen: list[TrialRow] = []
    for row in rows:
        ended = row.status in ("done", "stopped")
        if ended and all(row.settings != other.settings for other in chosen):
            chosen.append(row)
    return chosen[:top]


def run_final(folder: Path, record: StudyRecord, job: Job, concurrent: int) -> Final | None:
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
        task = ray.remote(num_cpus=0, resources=HEAD)(train_final)
    else:
        task = ray.remote(num_cpus=job.threads, num_gpus=job.gpus)(train_final)
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
    final = compare_finalists(folder, trained, job, options.objective)
    return final.model_copy(update={"failed": tuple(failed)})


def train_final(run: str, config: str, job: Job) -> None:
    """One training of a finalist, and its predictions."""
    import torch

    from hmtas.fit import fit
    from hmtas.predict import predict_run
    from hmtas.remote import open_store

    folder, store = Path(run), open_store(job.store)
    if job.workers > 1:
        train_nested(folder, Config.model_validate_json(config), job)
        return
    torch.set_num_threads(job.threads)
    with one_writer(lock_of(folder)):
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


def compare_finalists(
    folder: Path, runs: dict[str, list[Path]], job: Job, objective: Objective
) -> Final:
    """Score the trainings on the split they predicted, and compare the finalists.

    Args:
        folder: Of the study.
        runs: Trial to the run folders of its trainings.
        job: Where the labels are.
        objective: Loose Average-mAP counts where that alone was maximised.
    """
    from hmtas.statistics import resample
    from hmtas.verdicts import compare_to
    from hmtas.winner import corrected_winner

    metric: Literal["tight", "loose"] = "loose" if objective == "loose" else "tight"
    counts = [
        count_run(run, job.store, job.split, metric) for found in runs.values() for run in found
    ]
    ends = np.cumsum([len(found) for found in runs.values()])
    groups = [
        list(range(end - len(found), end)) for end, found in zip(ends, runs.values(), strict=True)
    ]
    resampled = resample(counts, RESAMPLES)
    deviation = seed_deviation(resampled.scores, groups)
    means = by_candidate(resampled, groups, deviation or 0.0)
    trials = list(runs)
    picked = int(means.scores.argmax())
    compared = compare_to(means, picked, picked=True) if len(trials) > 1 else {}
    finalists = [
        Finalist(
            trial=trial,
            runs=tuple(str(run.relative_to(folder)) for run in runs[trial]),
            scores=tuple(resampled.scores[list(groups[c])].tolist()),
            score=float(means.scores[c]),
            against=_against(compared[c]) if c in compared else None,
        )
        for c, trial in enumerate(trials)
    ]
    return Final(
        metric=metric,
        split=job.split,
        num_games=resampled.num_games,
        seed_deviation=deviation,
        picked=trials[picked],
        corrected=corrected_winner(counts, groups=groups).corrected,
        finalists=tuple(sorted(finalists, key=lambda one: (one.against is not None, -one.score))),
    )


def _against(comparison: Any) -> Against:
    return Against(
        difference=comparison.difference,
        low=comparison.low,
        high=comparison.high,
        verdict=comparison.verdict,
        games_needed=comparison.games_needed,
    )


def seed_deviation(scores_M: np.ndarray, groups: Sequence[Sequence[int]]) -> float | None:
    """Standard deviation between trainings that differ in their seed alone, pooled.

    Args:
        scores_M: (M,) score of each training.
        groups: The trainings of each candidate.

    Returns:
        None, if no candidate was trained twice.
    """
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return None
    squares = sum(((scores_M[list(g)] - scores_M[list(g)].mean()) ** 2).sum() for g in groups)
    return float(np.sqrt(squares / freedom))


def by_candidate(
    resampled: "Resampled", groups: Sequence[Sequence[int]], deviation: float, seed: int = 0
) -> "Resampled":
    """Candidates instead of trainings: their means, whose resamples vary with the seeds too.

    Args:
        resampled: Of the trainings.
        groups: The trainings of each candidate.
        deviation: Between trainings that differ in their seed alone.
        seed: Of the noise that is added to the resamples.
    """
    rng = np.random.default_rng(seed)
    columns = [resampled.resamples[:, list(group)].mean(axis=1) for group in groups]
    noise = [
        rng.normal(0, deviation / np.sqrt(len(group)), len(resampled.resamples)) for group in groups
    ]
    return type(resampled)(
        num_games=resampled.num_games,
        scores=np.array([resampled.scores[list(group)].mean() for group in groups]),
        resamples=np.stack(columns, axis=1) + np.stack(noise, axis=1),
    )


def count_run(run: Path, store: str, split: str, metric: Literal["tight", "loose"]) -> "GameCounts":
    """What the metric counts of a run, by its stored probabilities and its own NMS windows.

    Args:
        run: Its folder.
        store: Place of the store with the labels.
        split: That it predicted.
        metric: Which tolerances.
    """
    from hmtas.evaluate import spot
    from hmtas.game_counts import GameCounts
    from hmtas.histograms import histograms
    from hmtas.metrics import LOOSE_S, TIGHT_S
    from hmtas.nms_windows import spot_unseen
    from hmtas.probabilities import read_probabilities
    from hmtas.remote import open_store

    opened = open_store(store)
    stored = read_probabilities(predictions_path(run, split))
    config = read_run(run).config
    events = opened.events_of(opened.games(split))
    tolerances_s = TIGHT_S if metric == "tight" else LOOSE_S
    if config.train.stop_windows == "fitted":
        spots = spot_unseen(
            stored.halves,
            events,
            opened.actions,
            threshold=config.spotting.threshold,
            tolerances_s=tolerances_s,
        )
    else:
        spots = spot(stored.halves, opened.actions, config.spotting)
    return GameCounts.of(histograms(spots, events, tolerances_s, len(opened.actions)))
