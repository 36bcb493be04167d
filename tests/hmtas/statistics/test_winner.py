"""The best of many equals is brought back to what it is, and a truly better model stays better."""

import numpy as np
import pytest

from benchmarks.simulate import Model, simulate_model, simulate_moments
from hmtas.errors import InputError
from hmtas.statistics.games import GameCounts
from hmtas.statistics.intervals import resample
from hmtas.statistics.winner import corrected_winner


def equals(seed: int, num_models: int, num_games: int) -> list[GameCounts]:
    moments = simulate_moments(num_games, seed)
    return [simulate_model(moments, Model(seed=m)) for m in range(num_models)]


def test_the_best_of_twenty_four_equals_is_brought_back() -> None:
    """What equal models deliver is what all of them score on average."""
    shown, corrected = [], []
    for seed in range(6):
        models = equals(seed, num_models=24, num_games=50)
        winner = corrected_winner(models, num=15)
        mean = resample(models, num=1).scores.mean()
        shown.append(100 * (winner.score - mean))
        corrected.append(100 * (winner.corrected - mean))
    assert np.mean(shown) > 1.3
    assert abs(np.mean(corrected)) < 0.3


def test_a_better_model_keeps_its_lead() -> None:
    moments = simulate_moments(20, seed=1)
    models = [simulate_model(moments, Model(skill=skill)) for skill in (1.0, 1.0, 3.0)]
    winner = corrected_winner(models, num=40)
    scores = resample(models, num=1).scores
    assert winner.candidate == 2
    assert winner.score == scores[2]
    assert winner.corrected == pytest.approx(winner.score, abs=0.005)  # a clear winner keeps all


def test_two_that_differ_a_little_keep_a_part() -> None:
    shown, kept = [], []
    for seed in range(20):
        moments = simulate_moments(50, seed)
        models = [
            simulate_model(moments, Model(skill=skill, seed=m))
            for m, skill in enumerate((2.0, 2.1))
        ]
        winner = corrected_winner(models, num=20)
        mean = resample(models, num=0).scores.mean()
        shown.append(winner.score - mean)
        kept.append(winner.corrected - mean)
    assert 0.2 < np.mean(kept) / np.mean(shown) < 0.9


def test_one_candidate_was_not_picked() -> None:
    winner = corrected_winner(equals(0, num_models=1, num_games=5), num=20)
    assert winner.corrected == pytest.approx(winner.score)


def test_one_game_leaves_nothing_to_judge_by() -> None:
    models = equals(0, num_models=3, num_games=1)
    winner = corrected_winner(models, num=5)
    assert winner.corrected == pytest.approx(resample(models, num=1).scores.mean())


def test_candidates_of_other_games_are_refused() -> None:
    models = [simulate_model(simulate_moments(num, seed=0), Model()) for num in (2, 3)]
    with pytest.raises(InputError, match="the same games"):
        corrected_winner(models, num=2)
