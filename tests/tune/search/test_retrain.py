"""The best trials, trained again: who they are, how sure their differences, what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.simulate import Model, simulate_model, simulate_moments
from hmtas.errors import InputError
from hmtas.statistics.intervals import Resampled, resample
from hmtas.statistics.seeds import average_seeds, resample_candidates, seed_deviation
from hmtas.statistics.verdicts import compare_to
from hmtas.statistics.winner import corrected_winner
from tests.tune.search.test_samplers import make_settings
from tune.study.finalists import (
    ComparedToPicked,
    Final,
    Finalist,
    read_final,
    verdict_of,
    write_final,
)
from tune.study.record import StudyRecord, choose_finalists, ranked
from tune.study.rows import TrialRow


def make_record(*trials: tuple[str, float, float, int], **options: Any) -> StudyRecord:
    """Trials as (id, tight, loose, L)."""
    rows = [
        TrialRow(
            id=name,
            status="done",
            settings={"train.seq_len": seq_len},
            best_tight=tight,
            best_loose=loose,
            run=f"trials/{name}",
        )
        for name, tight, loose, seq_len in trials
    ]
    settings = make_settings(**options)
    return StudyRecord(name="s", version="0", created="now", settings=settings, trials=tuple(rows))


TRIALS = (("a", 0.5, 0.5, 2), ("b", 0.4, 0.7, 3), ("c", 0.45, 0.45, 4), ("d", 0.5, 0.5, 2))


@pytest.mark.parametrize(
    ("objective", "expected"), [("tight", "acb"), ("loose", "bac"), ("both", "abc")]
)
def test_the_finalists_are_the_best_that_differ(objective: str, expected: str) -> None:
    record = make_record(*TRIALS, objective=objective)
    assert "".join(row.id for row in choose_finalists(record, 9)) == expected
    assert len(choose_finalists(record, 2)) == 2


@pytest.mark.parametrize(("objective", "expected"), [("tight", "adcb"), ("loose", "badc")])
def test_of_equal_trials_the_earlier_is_the_better(objective: str, expected: str) -> None:
    record = make_record(*TRIALS, objective=objective)
    assert "".join(row.id for row in ranked(record)) == expected
    failed = [row.model_copy(update={"status": "failed"}) for row in record.trials[:1]]
    unscored = [record.trials[1].model_copy(update={"best_tight": None, "best_loose": None})]
    rows = (*failed, *unscored, *record.trials[2:])
    assert "".join(row.id for row in ranked(record.model_copy(update={"trials": rows}))) == "dc"


def test_a_trial_that_failed_or_runs_is_no_finalist() -> None:
    record = make_record(*TRIALS)
    rows = [
        row.model_copy(update={"status": status})
        for row, status in zip(
            record.trials, ("failed", "stopped", "running", "waiting"), strict=True
        )
    ]
    record = record.model_copy(update={"trials": tuple(rows)})
    assert [row.id for row in choose_finalists(record, 9)] == ["b"]


def test_the_noise_of_seeds_is_pooled_over_finalists() -> None:
    scores = np.array([0.40, 0.42, 0.50, 0.50, 0.60])
    # Squares 2e-4 and 0 with a degree of freedom each; the lone training has none.
    assert seed_deviation(scores, [[0, 1], [2, 3], [4]]) == pytest.approx(0.01)
    assert seed_deviation(scores, [[0], [1]]) is None


def test_noisy_seeds_take_a_verdict_back() -> None:
    """A lead that games alone would call sure is none where seeds differ by as much."""
    rng = np.random.default_rng(0)
    level = rng.normal(0, 0.01, (1000, 1))
    models = level + np.array([0.50, 0.50, 0.47, 0.47]) + rng.normal(0, 0.002, (1000, 4))
    resampled = Resampled(num_games=50, scores=np.array([0.5, 0.5, 0.47, 0.47]), resamples=models)
    groups = [[0, 1], [2, 3]]
    steady = compare_to(average_seeds(resampled, groups), 0, picked=True)
    noisy = compare_to(average_seeds(resampled, groups, deviation=0.03), 0, picked=True)
    assert steady[1].verdict == "worse"
    assert noisy[1].verdict == "cannot tell"
    assert noisy[1].standard_error == pytest.approx(0.03, rel=0.1)  # sqrt(2 / 2 seeds) x 0.03


def test_trainings_of_one_candidate_are_one_in_the_correction() -> None:
    moments = simulate_moments(30, seed=2)
    models = [simulate_model(moments, Model(seed=m)) for m in range(6)]
    groups = [[0, 1], [2, 3], [4, 5]]
    winner = corrected_winner(models, groups=groups)
    scores = resample(models, num=1).scores.reshape(3, 2).mean(axis=1)
    assert winner.candidate == scores.argmax()
    assert winner.score == pytest.approx(scores.max())
    assert scores.mean() - 0.01 < winner.corrected < winner.score


def test_a_candidate_is_the_mean_of_its_trainings() -> None:
    moments = simulate_moments(30, seed=2)
    models = [simulate_model(moments, Model(seed=m)) for m in range(3)]
    scores = resample(models, num=1).scores
    found = resample_candidates([models[:2], models[2:]])
    assert found.groups == [[0, 1], [2]]
    assert found.trainings == [tuple(scores[:2]), (scores[2],)]
    assert found.deviation == pytest.approx(np.std(scores[:2], ddof=1))
    assert found.means.scores == pytest.approx([scores[:2].mean(), scores[2]])
    noisy = average_seeds(resample(models), found.groups, deviation=found.deviation or 0.0)
    assert (found.means.resamples == noisy.resamples).all(), "the noise of seeds is in them"
    assert resample_candidates([models[:1], models[2:]]).deviation is None


def make_final(verdict: str, games_needed: int | None = 120) -> Final:
    against = ComparedToPicked(
        difference=-0.02,
        low=-0.05,
        high=0.01,
        verdict=verdict,
        games_needed=games_needed,  # type: ignore[arg-type]
    )
    return Final(
        metric="tight",
        split="valid",
        num_games=40,
        seed_deviation=0.01,
        picked="a",
        corrected=0.41,
        finalists=(
            Finalist(trial="a", runs=("x", "y"), scores=(0.41, 0.43), score=0.42),
            Finalist(trial="b", runs=("z",), scores=(0.4,), score=0.4, against=against),
        ),
    )


def test_what_is_said_of_the_picked_one() -> None:
    said = verdict_of(make_final("cannot tell"))
    assert said.startswith("trial a: tight 42.00 % on 40 games of valid, mean of 2 trainings")
    assert "corrected for having been picked: 41.00 %" in said
    assert (
        "cannot be told from b, the second: the lead of 2.00 points may as well be -1.00 or 5.00"
        in said
    )
    assert "about 120 games would tell" in said
    assert "games would tell" not in verdict_of(make_final("cannot tell", None))
    assert "It is better than b, the second, by 2.00 points" in verdict_of(make_final("worse"))
    alone = make_final("worse")
    alone = alone.model_copy(update={"finalists": alone.finalists[:1]})
    assert verdict_of(alone).endswith("mean of 2 trainings.")


def test_the_record_reads_back_and_a_damaged_one_is_an_input_error(tmp_path: Path) -> None:
    assert read_final(tmp_path) is None
    write_final(tmp_path, make_final("worse"))
    assert read_final(tmp_path) == make_final("worse")
    (tmp_path / "final.json").write_text("{}")
    with pytest.raises(InputError, match="metric: Field required"):
        read_final(tmp_path)
