"""A verdict is right as often as it says, however many models are compared and whoever picked."""

import numpy as np
import pytest

from hmtas.statistics.intervals import Resampled, critical_value, draw_weights
from hmtas.statistics.verdicts import Comparison, compare_to, games_needed

NOISE = np.random.default_rng(0).normal(size=1000)
NOISE = (NOISE - NOISE.mean()) / NOISE.std()


def two(difference: float, error: float, num_games: int = 10_000) -> Resampled:
    """Two models whose difference has a standard error, of so many games that t is normal."""
    noise = difference + error * NOISE
    return Resampled(
        num_games=num_games,
        scores=np.array([0.5 + difference, 0.5]),
        resamples=np.stack([0.5 + noise, np.full(1000, 0.5)], axis=1),
    )


def equal_models(seed: int, num_models: int, num_games: int = 60, shared: float = 0.8) -> Resampled:
    """Models that are equally good; games are as hard for one as for another by `shared`."""
    generator = np.random.default_rng(seed)
    hard_G1 = generator.normal(size=(num_games, 1))
    own_GM = generator.normal(size=(num_games, num_models))
    value_GM = shared * hard_G1 + np.sqrt(1 - shared**2) * own_GM
    weights = draw_weights(num_games, 500, seed)
    return Resampled(
        num_games=num_games, scores=value_GM.mean(axis=0), resamples=weights @ value_GM / num_games
    )


def only(found: dict[int, Comparison]) -> Comparison:
    (one,) = found.values()
    return one


@pytest.mark.parametrize(
    ("difference", "verdict"), [(0.0197, "better"), (0.0195, "cannot tell"), (-0.0197, "worse")]
)
def test_a_verdict_needs_an_interval_without_0(difference: float, verdict: str) -> None:
    found = only(compare_to(two(difference, 0.01), 1, picked=False))
    assert found.verdict == verdict
    assert found.difference == pytest.approx(difference)
    assert found.high - difference == pytest.approx(0.0196, rel=1e-3)
    assert difference - found.low == pytest.approx(0.0196, rel=1e-3)
    assert found.standard_error == pytest.approx(0.01, rel=1e-3)
    assert (found.p_value < 0.05) == (verdict != "cannot tell")
    assert found.p_value == pytest.approx(0.05, abs=0.002)


def test_the_other_way_round_is_the_opposite() -> None:
    resampled = two(0.03, 0.01)
    forth, back = (only(compare_to(resampled, m, picked=False)) for m in (1, 0))
    assert (forth.verdict, back.verdict) == ("better", "worse")
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))
    assert back.games_needed == forth.games_needed


def test_few_games_need_more() -> None:
    assert only(compare_to(two(0.025, 0.01), 1, picked=False)).verdict == "better"
    few = only(compare_to(two(0.025, 0.01, num_games=5), 1, picked=False))
    assert few.verdict == "cannot tell"
    assert few.p_value > 0.05


def test_one_game_tells_nothing() -> None:
    one = Resampled(
        num_games=1,
        scores=np.array([0.75, 0.25, 0.5]),
        resamples=np.tile([0.75, 0.25, 0.5], (20, 1)),
    )
    for picked in (True, False):
        found = compare_to(one, 1, picked=picked)
        assert found[0] == Comparison(0.5, -1, 1, 0, 1, "cannot tell", None)
        assert found[2].verdict == "cannot tell"


def test_a_model_and_itself() -> None:
    found = only(compare_to(two(0, 0), 1, picked=True))
    assert found == Comparison(0, 0, 0, 0, 1, "cannot tell", None)


def test_games_needed_by_hand() -> None:
    # (1.96 + 0.842) standard errors for 80 %: 100 games, twice the error, 7.849 times as many.
    assert games_needed(0.01, 0.01, 100, 1.959964) == 785
    assert games_needed(-0.01, 0.01, 100, 1.959964) == 785
    assert games_needed(0.02, 0.01, 100, 1.959964) == 197
    assert games_needed(0.0028, 0.01, 100, 1.959964) is None  # 10,011
    assert games_needed(0, 0.01, 100, 1.959964) is None
    assert games_needed(0.5, 0, 100, 1.959964) == 1


@pytest.mark.parametrize("num_games", [2, 3, 4, 5])
def test_games_that_cannot_tell_are_fewer_than_are_needed(num_games: int) -> None:
    """The normal approximation said that 5 of 5 games would tell, which had just not told."""
    noise = np.random.default_rng(num_games).normal(0, 0.01, (1000, 8))
    for difference in np.linspace(0.005, 0.2, 80):
        scores = np.array([0, difference, *np.zeros(6)])
        models = Resampled(num_games=num_games, scores=scores, resamples=noise + scores)
        found = compare_to(models, 0, picked=False)[1]
        if found.verdict == "cannot tell" and found.games_needed is not None:
            assert found.games_needed > num_games


def test_so_many_games_tell_in_four_cases_of_five() -> None:
    """Draw new sets of games of the size that is said to be needed, and count verdicts."""
    generator = np.random.default_rng(0)
    mean, deviation = 0.01, 0.05
    needed = games_needed(mean, deviation / np.sqrt(50), 50, critical_value(10_000))
    assert needed is not None
    samples = generator.normal(mean, deviation, size=(2000, needed))
    error = samples.std(axis=1, ddof=1) / np.sqrt(needed)
    told = samples.mean(axis=1) > critical_value(needed) * error
    assert told.mean() == pytest.approx(0.8, abs=0.03)


def test_among_equals_fifty_challengers_find_nothing_better() -> None:
    cases = [compare_to(equal_models(s, 51), 0, picked=False).values() for s in range(200)]
    wrong = np.mean([any(found.verdict != "cannot tell" for found in case) for case in cases])
    assert 0.01 < wrong < 0.09
    better = np.mean([any(found.verdict == "better" for found in case) for case in cases])
    assert better <= 0.05
    naive = [any(abs(f.difference) > 2 * f.standard_error for f in case) for case in cases]
    assert np.mean(naive) > 0.5


def test_the_best_of_equals_is_not_better_for_having_been_picked() -> None:
    def wrong(*, picked: bool) -> float:
        found = []
        for seed in range(150):
            models = equal_models(seed, 15)
            best = int(models.scores.argmax())
            compared = compare_to(models, best, picked=picked).values()
            found.append(any(one.verdict == "worse" for one in compared))
        return float(np.mean(found))

    assert wrong(picked=True) < 0.1
    assert wrong(picked=False) > 0.2


def test_a_better_model_is_found_among_fifty() -> None:
    models = equal_models(0, 51)
    errors = models.against(0).standard_errors
    scores = models.scores.copy()
    scores[7] = scores[0] + 5 * errors[7]
    found = compare_to(
        Resampled(num_games=60, scores=scores, resamples=models.resamples), 0, picked=False
    )
    assert found[7].verdict == "better"
    assert found[7].p_value < 0.05
    assert 0 not in found
    assert len(found) == 50


def test_correlated_comparisons_cost_less_than_bonferroni() -> None:
    """Every challenger shares the noise of the reference: Bonferroni does not see that."""
    found = compare_to(equal_models(3, 51, num_games=10_000), 0, picked=False)
    reach = found[1].high - found[1].difference
    assert 1.96 < reach / found[1].standard_error < 3.29  # 1 - 0.05 / 50, two-sided


def test_verdict_interval_and_p_value_agree() -> None:
    for seed in range(20):
        for found in compare_to(equal_models(seed, 12, shared=0.2), 0, picked=False).values():
            told = not found.low <= 0 <= found.high
            assert told == (found.verdict != "cannot tell")
            assert told == (found.p_value < 0.05) or abs(found.p_value - 0.05) < 0.006
