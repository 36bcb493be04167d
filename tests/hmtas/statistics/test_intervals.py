"""Intervals come from resampled games, and two models are compared on the same ones."""

import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.simulate import Model, simulate_model, simulate_moments
from hmtas.errors import InputError
from hmtas.metric.averages import TIGHT_S, score
from hmtas.metric.counts import Histograms, histograms
from hmtas.records import Events, HalfId, Spots
from hmtas.statistics.games import GameCounts, check_paired, resampled_actions, resampled_averages
from hmtas.statistics.intervals import (
    FEWEST_GAMES,
    Resampled,
    action_intervals,
    as_student,
    bootstrap_interval,
    critical_value,
    draw_weights,
    paired_difference,
    resample,
)
from tests.support.metric_games import drawn
from tests.support.paths import ROOT

NUM_ACTIONS = 3


def season(skill: float, num_games: int = 12, seed: int = 0, noise: int = 0) -> Histograms:
    """Models find each event with probability `skill`; the events depend on `seed` alone."""
    spots, events = {}, {}
    for game in range(num_games):
        half = HalfId(f"game {game:03d}", 1)
        fixed = np.random.default_rng([seed, game])
        event_s = np.sort(fixed.integers(0, 2700, 30)).astype(float)
        action = fixed.integers(0, NUM_ACTIONS, 30)
        own = np.random.default_rng([noise, game])
        found = own.random(30) < skill
        confidence = own.random(30) * 0.5 + 0.5
        wrong = own.integers(0, 2700, 30).astype(float)
        spots[half] = Spots(
            half=half,
            time_s=np.concatenate([event_s[found], wrong]),
            action=np.concatenate([action[found], own.integers(0, NUM_ACTIONS, 30)]),
            confidence=np.concatenate([confidence[found], own.random(30)]),
        )
        visible = np.ones(30, dtype=np.bool_)
        events[half] = Events(half=half, time_s=event_s, action=action, visible=visible)
    return histograms(spots, events, TIGHT_S, NUM_ACTIONS)


def games(skill: float, **options: int) -> GameCounts:
    return GameCounts.of(season(skill, **options))


def test_a_resample_is_the_score_of_those_games() -> None:
    counts = season(0.5)
    weights = np.array([[1.0] * 12, [2, 0, 1, 3, 0, 1, 0, 0, 2, 1, 1, 1]])
    expected = [score(drawn(counts, row)).average_map for row in weights]
    np.testing.assert_allclose(
        resampled_averages(GameCounts.of(counts), weights), expected, rtol=0, atol=1e-12
    )


def test_a_resample_without_events_of_an_action_is_not_pulled_down() -> None:
    first, second = HalfId("a", 1), HalfId("b", 1)

    def found(half: HalfId, action: int) -> tuple[Spots, Events]:
        time_s, index = np.array([10.0]), np.array([action])
        return (
            Spots(half=half, time_s=time_s, action=index, confidence=np.array([0.9])),
            Events(half=half, time_s=time_s, action=index, visible=np.array([True])),
        )

    spots, events = zip(found(first, 0), found(second, 1), strict=True)
    halves = (first, second)
    counts = histograms(
        dict(zip(halves, spots, strict=True)), dict(zip(halves, events, strict=True)), (1, 2), 4
    )
    # Two of four actions have events at all: the official mean of perfect spots is 1/2.
    averages = resampled_averages(GameCounts.of(counts), np.array([[1.0, 1], [2, 0], [0, 2]]))
    assert averages.tolist() == [0.5, 0.5, 0.5]


def test_draws_are_as_many_games_as_there_are() -> None:
    weights = draw_weights(7, 100, seed=1)
    assert weights.shape == (100, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert (weights == draw_weights(7, 100, seed=1)).all()
    assert (weights != draw_weights(7, 100, seed=2)).any()


def test_the_interval_holds_the_score_and_its_seed_decides_it() -> None:
    counts = games(0.5)
    low, high = bootstrap_interval(counts, 200, seed=3)
    assert low < score(season(0.5)).average_map < high
    assert (low, high) == bootstrap_interval(counts, 200, seed=3)
    assert (low, high) != bootstrap_interval(counts, 200, seed=4)


def test_the_interval_surrounds_the_score_though_resamples_are_better() -> None:
    counts = games(0.3, num_games=5)
    value = score(season(0.3, num_games=5)).average_map
    assert resampled_averages(counts, draw_weights(5, 300, seed=0)).mean() > value
    low, high = bootstrap_interval(counts, 300)
    assert (value - low) == pytest.approx(high - value, rel=0.5)


def test_more_games_make_the_interval_narrower() -> None:
    def width(num_games: int) -> float:
        low, high = bootstrap_interval(games(0.5, num_games=num_games), 200)
        return high - low

    assert width(48) < 0.75 * width(6)


def test_one_game_says_nothing_of_others() -> None:
    assert bootstrap_interval(games(0.5, num_games=1), 20) == (0, 1)
    _, low, high = paired_difference(games(0.9, num_games=1), games(0.1, num_games=1), 20)
    assert (low, high) == (-1, 1)


def test_a_model_does_not_differ_from_itself() -> None:
    assert paired_difference(games(0.5), games(0.5), 50) == (0, 0, 0)


def test_the_difference_is_signed_and_its_interval_excludes_0_for_a_better_model() -> None:
    good, bad = games(0.9, noise=1), games(0.4, noise=2)
    difference, low, high = paired_difference(good, bad, 200)
    expected = score(season(0.9, noise=1)).average_map - score(season(0.4, noise=2)).average_map
    assert difference == pytest.approx(expected, abs=1e-12)
    assert 0 < low < difference < high
    opposite = paired_difference(bad, good, 200)
    assert opposite == pytest.approx((-difference, -high, -low))


def test_pairing_uses_the_same_games_for_both() -> None:
    """Nearly the same spots: what is hard for one is hard for the other and cancels out."""
    first, second = games(0.5, noise=1), games(0.52, noise=1)
    draws = [draw_weights(12, 200, seed) for seed in (0, 1)]
    apart = resampled_averages(first, draws[0]) - resampled_averages(second, draws[1])
    _, low, high = paired_difference(first, second, 200)
    apart_low, apart_high = np.quantile(apart, [0.025, 0.975])
    assert high - low < 0.7 * (apart_high - apart_low)


def test_models_on_other_games_or_tolerances_are_not_compared() -> None:
    with pytest.raises(InputError, match="3 games, the first 'game 009', are scored for one"):
        paired_difference(games(0.5, num_games=12), games(0.5, num_games=9))
    with pytest.raises(InputError, match="other labels for the same games"):
        paired_difference(games(0.5, seed=0), games(0.5, seed=1))
    counts = [games(0.5, seed=seed) for seed in (0, 0, 1)]
    with pytest.raises(InputError, match="a and c: their stores have other labels"):
        check_paired(counts, ["a", "b", "c"])
    half = HalfId("a", 1)
    one, two = (
        GameCounts.of(histograms({half: Spots.empty(half)}, {}, widths, 1))
        for widths in ((1,), (1, 2))
    )
    with pytest.raises(ValueError, match="the same tolerances"):
        paired_difference(one, two)


def test_a_thousand_resamples_of_a_hundred_games_take_seconds() -> None:
    counts = games(0.5, num_games=100)
    bootstrap_interval(counts, 1)  # compiled
    start = time.perf_counter()
    bootstrap_interval(counts, 1000)
    assert time.perf_counter() - start < 10


def test_intervals_of_equal_models_cover_0() -> None:
    """Coverage by simulation in small; `benchmarks/statistics.py` has the full one."""
    cover, narrow = [], []
    for seed in range(60):
        moments = simulate_moments(40, seed)
        models = [simulate_model(moments, Model(seed=s)) for s in (0, 1)]
        difference, low, high = paired_difference(*models, 60, seed)
        cover.append(low <= 0 <= high)
        narrow.append(abs(difference) <= (high - low) / 4)
    assert 0.86 <= np.mean(cover) <= 1
    assert np.mean(narrow) < 0.85  # half the width would not do: it is not merely wide


def test_critical_values_are_those_of_student() -> None:
    # From the table of the t distribution, two-sided 95 %.
    for num_games, expected in ((4, 3.182), (6, 2.571), (11, 2.228), (31, 2.042), (101, 1.984)):
        assert critical_value(num_games) == pytest.approx(expected, rel=2e-3)
    assert critical_value(61, 0.99) == pytest.approx(2.660, rel=1e-3)
    assert critical_value(1) == pytest.approx(1.959964)
    assert as_student(np.array([0.0, 1.0]), 10**9) == pytest.approx([0, 1])


def test_a_standard_error_by_hand() -> None:
    """Of a mean: the variance of resamples is that of the games divided by G, not by G - 1."""
    value_G = np.array([1.0, 2, 4, 9])
    resamples = draw_weights(4, 20000, seed=0) @ value_G / 4
    mean = Resampled(num_games=4, scores=np.array([4.0]), resamples=resamples.reshape(-1, 1))
    assert mean.standard_errors == pytest.approx([value_G.std(ddof=1) / 2], rel=0.02)


def test_by_game_halves_are_summed() -> None:
    events, spots = {}, {}
    for number in (1, 2):
        half = HalfId("a", number)
        time_s, action = np.array([10.0 * number]), np.array([0])
        spots[half] = Spots(half=half, time_s=time_s, action=action, confidence=np.array([0.5]))
        visible = np.array([number == 1])
        events[half] = Events(half=half, time_s=time_s, action=action, visible=visible)
    counts = GameCounts.of(histograms(spots, events, (1, 2), 1))
    assert counts.games == ("a",)
    assert counts.num_events.tolist() == [[2]]
    assert counts.detections[0, 0].nonzero()[0].tolist() == [99]  # 0.5 is above 99 / 199
    assert counts.detections[0, 0, 99] == 2
    assert counts.hits[0, 0, :, 99].tolist() == [2, 2]


def test_every_model_is_resampled_alike() -> None:
    calls = []
    models = [games(skill) for skill in (0.3, 0.6)]
    both = resample(models, 30, seed=5, on_model=lambda: calls.append(1))
    assert len(calls) == 2
    alone = resample(models[1:], 30, seed=5)
    np.testing.assert_array_equal(both.resamples[:, 1], alone.resamples[:, 0])
    against = both.against(0)
    assert (against.resamples[:, 0] == 0).all()
    assert against.scores[1] == both.scores[1] - both.scores[0]


def test_scripts_beside_the_benchmark_of_this_name_get_the_standard_library() -> None:
    folder = ROOT / "benchmarks"
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); "
        "import statistics; print(statistics.mean([1, 2, 6]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "3"


def test_the_precision_of_an_action_is_the_official_one() -> None:
    counts = season(0.5)
    weights = np.array([[1.0] * 12, [2, 0, 1, 3, 0, 1, 0, 0, 2, 1, 1, 1]])
    expected = [score(drawn(counts, row)).per_action for row in weights]
    np.testing.assert_allclose(
        resampled_actions(GameCounts.of(counts), weights), expected, rtol=0, atol=1e-12
    )


def test_an_action_that_a_resample_lacks_is_nan_there_and_not_0() -> None:
    counts = simulate_model(simulate_moments(6, seed=1), Model())
    rare = int(counts.num_events.sum(axis=0).argmin())
    weights = (counts.num_events[:, rare] == 0).astype(float)[None]
    found = resampled_actions(counts, weights)[0]
    assert np.isnan(found[rare])
    assert not np.isnan(found[8])


def test_intervals_of_actions_cover_the_truth_and_few_games_get_none() -> None:
    # 30 games: the truth is the mean over seasons, each of another seed.
    found = [
        action_intervals([simulate_model(simulate_moments(30, seed=s), Model(seed=s))], num=100)
        for s in range(40)
    ]
    scores, low, high = (np.array(part) for part in zip(*found, strict=True))
    truth = np.nanmean(scores, axis=0)
    common = slice(1, 15)  # all but penalties and red cards
    covered = (low[:, common] <= truth[common]) & (truth[common] <= high[:, common])
    assert 0.88 < covered.mean() < 0.99
    few = simulate_model(simulate_moments(FEWEST_GAMES - 1, seed=0), Model())
    score_A, low_A, high_A = action_intervals([few])
    assert not np.isnan(score_A[8])
    assert np.isnan(low_A).all()
    assert np.isnan(high_A).all()


def test_trainings_of_one_model_are_averaged_by_action() -> None:
    models = [simulate_model(simulate_moments(10, seed=0), Model(seed=s)) for s in range(2)]
    alone = [action_intervals([model], num=50)[0] for model in models]
    together = action_intervals(models, num=50)[0]
    np.testing.assert_allclose(together, np.mean(alone, axis=0))
