"""Simulated models are as noisy as real ones, and are as good as they are said to be."""

import numpy as np
import pytest

from benchmarks.simulate import Model, simulate_model, simulate_moments
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import resample


def test_the_noise_is_that_of_real_models() -> None:
    scores = []
    for seed in range(30):
        moments = simulate_moments(100, seed)
        models = [simulate_model(moments, Model(seed=s)) for s in (0, 1)]
        scores.append(100 * resample(models, num=0).scores)
    first, second = np.array(scores).T
    assert 55 < first.mean() < 61
    assert 1.0 < first.std() < 2.2
    assert 0.5 < (first - second).std() < 1.1
    assert (first - second).mean() == pytest.approx(0, abs=0.5)
    assert np.corrcoef(first, second)[0, 1] > 0.85  # the same games are hard for both


def test_skill_scores_higher_and_noise_lower() -> None:
    moments = simulate_moments(100, seed=0)

    def score(**better: float) -> float:
        return float(resample([simulate_model(moments, Model(**better))], num=0).scores[0])

    plain = score()
    assert score(skill=2.5) > plain + 0.03
    assert score(own_noise=1.5) < plain - 0.03
    assert score(own_shift_s=1.5) < plain - 0.03


def test_counts_are_possible() -> None:
    counts = simulate_model(simulate_moments(30, seed=0), Model())
    assert (counts.hits[:, :, 0] <= counts.detections).all()
    assert (np.diff(counts.hits.astype(int), axis=2) >= 0).all()  # wider tolerances, more hits
    found = counts.hits[:, :, -1].sum(axis=-1)
    assert (found <= counts.num_events).all()
    assert found.sum() > 0.9 * counts.num_events.sum()
    per_game = counts.num_events.sum(axis=0) / 30
    assert per_game[8] == pytest.approx(63.6, rel=0.1)  # ball out of play


def test_the_seeds_decide() -> None:
    def counts(games: int, model: int) -> GameCounts:
        return simulate_model(simulate_moments(5, games), Model(seed=model))

    assert (counts(0, 0).hits == counts(0, 0).hits).all()
    assert (counts(0, 0).hits != counts(0, 1).hits).any()
    assert (counts(0, 0).num_events == counts(0, 1).num_events).all()
    assert (counts(0, 0).num_events != counts(1, 0).num_events).any()
