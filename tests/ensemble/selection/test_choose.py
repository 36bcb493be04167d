"""The selection claims what it delivers, keeps the single model when in doubt, and avoids noise."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import NormalDist
from types import ModuleType

import numpy as np
import pytest

from benchmarks.simulate import Model, simulate_model, simulate_moments
from ensemble.combiner import Evidence, FittedWeights
from ensemble.combiners.crossfit import FoldFit
from ensemble.combiners.methods import candidate_of, combiner_of
from ensemble.combiners.shortlist import Single, shortlist
from ensemble.greedy.select import GreedyConfig
from ensemble.selection.choose import SINGLE, Selection, choose, num_search_steps, search
from ensemble.selection.diversity import Diversity
from ensemble.selection.nested import Nested, fitting_sets, nested_fit
from ensemble.selection.record import CombinerRecord, DiversityRecord
from ensemble.stack.mean import combine
from hmtas.errors import InputError
from hmtas.records import Events
from hmtas.spotting.spots import FittedWindows
from hmtas.spotting.table import Setting
from hmtas.statistics.folds import game_folds
from hmtas.statistics.intervals import resample
from tests.support.paths import ROOT

SETTINGS = (Setting("hard", 3.0), Setting("hard", 7.0))
METHODS = ("mean", "squared-per-action", "greedy")
BAG = GreedyConfig(bags=2, picks=6)


@pytest.fixture(scope="module")
def simulated() -> Iterator[ModuleType]:
    """The benchmark's seasons, with fewer combiners and windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        module = importlib.import_module("simulated_seasons")
        for name, value in (
            ("METHODS", METHODS),
            ("SCORED", METHODS[:2]),
            ("SETTINGS", SETTINGS),
            ("GREEDY", BAG),
        ):
            patch.setattr(module, name, value)
        yield module


def counted(models: Sequence[Model], games: int, seed: int = 0) -> list[Nested]:
    """Fits that count what these models do; the first one is the single model."""
    moments = simulate_moments(games, seed, np.array([3.0, 6.0, 10.0]))
    names = [SINGLE, *(f"combiner {m}" for m in range(1, len(models)))]
    fitted = FittedWeights(weights=np.ones(1))
    windows = FittedWindows(method="exact", split="valid", windows_s={}, kinds={})
    counts = [simulate_model(moments, model) for model in models]
    return [
        Nested(name, fitted, windows, (), of_model, of_model)
        for name, of_model in zip(names, counts, strict=True)
    ]


def chosen_of(models: Sequence[Model], games: int, seed: int = 0) -> Selection:
    return choose(counted(models, games, seed), seed=seed)


def tight_of(fit: Nested) -> float:
    return float(resample([fit.tight], num=0).scores[0])


# Small simulations


def test_the_single_model_is_worth_what_is_claimed(simulated: ModuleType) -> None:
    """Of equal models the best on the games seen is no better than all of them on others."""
    claimed, naive = [], []
    for seed in range(10):
        games = simulated.simulate_games(12, seed)
        models = [Model(own_noise=1.0, seed=m) for m in range(16)]
        evidence = simulated.evidence_of(games, simulated.rows_of(games, models))
        folds = game_folds(evidence.games, 4)
        sets = fitting_sets(evidence, folds, SETTINGS)
        fit = nested_fit(SINGLE, Single(), sets, folds, SETTINGS)
        scores = [score.average_map for score in sets[0].evidence.scores(evidence.games)]
        claimed.append(100 * (tight_of(fit) - np.mean(scores)))
        naive.append(100 * (max(scores) - np.mean(scores)))
    assert np.mean(naive) > 2.5
    assert abs(np.mean(claimed)) < 1.6  # two standard errors


@pytest.mark.slow
def test_the_benchmark_on_a_season_of_each_kind(simulated: ModuleType) -> None:
    sizes = simulated.Sizes(seasons=5, models=5, games=12, sets=1)
    seasons = [simulated.simulate_season(number, sizes) for number in range(5)]
    found = importlib.import_module("selection").summarise(seasons)
    assert [season.kind for season in seasons] == list(simulated.KINDS)
    assert found["noise_weight_max"] <= 0.02
    assert found["oracle_gain_share"] >= 0.7
    assert found["guard_failures_share"] == 0
    (independent,) = (season for season in seasons if season.kind == simulated.INDEPENDENT)
    assert independent.true > independent.single + 0.1


def test_combinations_that_are_a_little_worse_seldom_take_its_place() -> None:
    taken = 0
    for seed in range(12):
        worse = [Model(skill=1.95, own_noise=1.0, seed=m) for m in range(1, 6)]
        taken += chosen_of([Model(own_noise=1.0), *worse], games=20, seed=seed).chosen != SINGLE
    assert taken <= 1  # the best score would have taken it in nearly all


# Nested fits


def backwards(events: Events) -> Events:
    """The same events, the last one first."""
    return replace(
        events,
        time_s=600 - events.time_s[::-1],
        action=events.action[::-1],
        visible=events.visible[::-1],
    )


def test_no_fit_knows_the_labels_of_its_fold(simulated: ModuleType) -> None:
    games = simulated.simulate_games(8, 0)
    models = [Model(own_noise=noise, seed=m) for m, noise in enumerate((0.5, 0.9, 1.2))]
    evidence: Evidence = simulated.evidence_of(games, simulated.rows_of(games, models))
    folds = game_folds(evidence.games, 2)
    false = {
        half: backwards(events) if half.game in folds[0] else events
        for half, events in evidence.events.items()
    }
    without = replace(evidence, events=false, _counts={}, _libraries={})
    for method in (SINGLE, *METHODS):
        combiner = (
            Single() if method == SINGLE else candidate_of(method, combiner_of(method, greedy=BAG))
        )
        fits = [
            nested_fit(method, combiner, fitting_sets(of, folds, SETTINGS), folds, SETTINGS)
            for of in (evidence, without)
        ]
        weights, windows = (
            [[np.asarray(fit.folds[f].fitted.weights) for f in (0, 1)] for fit in fits],
            [fit.windows.folds for fit in fits],
        )
        np.testing.assert_array_equal(weights[0][0], weights[1][0], err_msg=method)
        assert windows[0][0] == windows[1][0], method
        # That of the other fold is fitted on these games, and by other labels.
        if method not in {SINGLE, "mean"}:
            assert not np.array_equal(weights[0][1], weights[1][1]), method
        assert tight_of(fits[0]) > tight_of(fits[1])


def test_every_step_is_told(simulated: ModuleType) -> None:
    games = simulated.simulate_games(4, 0)
    models = [Model(seed=0), Model(seed=1)]
    evidence = simulated.evidence_of(games, simulated.rows_of(games, models))
    combiners = {"greedy": candidate_of("greedy", combiner_of("greedy", greedy=BAG))}
    steps: list[int] = []
    folds = game_folds(evidence.games, 2)
    found = search(evidence, combiners, folds, SETTINGS, on_step=lambda: steps.append(1))
    assert len(steps) == num_search_steps(combiners, num_models=2, num_folds=2)
    assert {ranked.nested.method for ranked in found.ranked} == {SINGLE, "greedy"}
    with pytest.raises(InputError, match="'single' is the best model alone"):
        search(evidence, {SINGLE: Single()}, folds, SETTINGS)


# The choice


def test_what_is_no_better_does_not_take_its_place() -> None:
    same = chosen_of([Model(), Model()], games=10)
    assert same.chosen == SINGLE
    assert same.claimed == same.of(SINGLE).tight == same.of("combiner 1").tight
    assert same.reason == (
        "the single model stays: the best combination, combiner 1, differs by +0.00 "
        "[+0.00, +0.00] points and cannot be told from it"
    )


def test_what_is_better_takes_its_place_and_the_reason_says_by_how_much() -> None:
    found = chosen_of([Model(), Model(skill=3.0), Model(skill=3.5), Model(skill=1.0)], games=20)
    assert found.chosen == "combiner 2"
    best = found.of("combiner 2").against_single
    assert best is not None
    assert best.low > 0
    assert best.difference == pytest.approx(found.of("combiner 2").tight - found.of(SINGLE).tight)
    assert found.reason == (
        f"combiner 2 is better than the single model by {100 * best.difference:.2f} "
        f"[{100 * best.low:.2f}, {100 * best.high:.2f}] points; so is 1 more"
    )
    assert [ranked.nested.method for ranked in found.ranked] == [
        "combiner 2", "combiner 1", SINGLE, "combiner 3"
    ]  # fmt: skip


def test_a_higher_score_is_not_enough() -> None:
    found = chosen_of([Model(), Model(skill=2.05, own_noise=0.6, seed=4)], games=12, seed=1)
    (first, second) = found.ranked
    assert first.nested.method == "combiner 1"
    assert first.tight > second.tight
    assert found.chosen == SINGLE
    close = first.against_single
    assert close is not None
    # It stays because the difference came out on its side: what it owes to that is not claimed.
    owed = close.standard_error * NormalDist().pdf(close.low / close.standard_error)
    assert 0 < owed < 0.4 * close.standard_error
    assert found.claimed == pytest.approx(second.tight - owed)
    assert found.reason.endswith("points and cannot be told from it; 22 games would tell")


def test_what_is_worse_is_called_so() -> None:
    found = chosen_of([Model(), Model(skill=1.0)], games=20)
    assert found.chosen == SINGLE
    assert found.reason.endswith("points and is worse")


def test_a_single_model_without_rivals() -> None:
    found = chosen_of([Model()], games=5)
    assert (found.chosen, found.reason) == (SINGLE, "no combiner was tried")
    assert found.claimed == found.of(SINGLE).tight


def test_the_best_of_equals_is_not_claimed_to_be_better_than_they_are() -> None:
    equals = [Model(skill=3.0, own_noise=1.5, seed=m) for m in range(1, 7)]
    shown, claimed = [], []
    for seed in range(6):
        found = chosen_of([Model(skill=2.0, own_noise=1.5), *equals], games=20, seed=seed)
        assert found.chosen != SINGLE
        mean = np.mean([ranked.tight for ranked in found.ranked if ranked.against_single])
        shown.append(100 * (found.of(found.chosen).tight - mean))
        claimed.append(100 * (found.claimed - mean))
    assert np.mean(shown) > 1.5
    assert abs(np.mean(claimed)) < np.mean(shown) / 2


def test_a_model_of_one_fold_alone_is_used_too() -> None:
    """The score that is shown comes from the fits of the folds, so that its marks do too."""
    selection = chosen_of([Model()], games=5)
    first, second = (FittedWeights(weights=weight_M) for weight_M in np.eye(3)[:2])
    nested = selection.of(SINGLE).nested._replace(
        fitted=first, folds=(FoldFit(("g0",), first), FoldFit(("g1",), second))
    )
    ranked = selection.of(SINGLE)._replace(nested=nested)
    diversity = Diversity(("a", "b", "c"), np.full((1, 3, 3), np.nan), np.zeros(1, np.int64))
    row = CombinerRecord.of(ranked, "abc")
    assert [member.name for member in row.members] == ["a"]
    assert row.used == ("a", "b")
    assert DiversityRecord.of(diversity, ("Goal",)).per_action == {"Goal": None}


# The shortlist


def test_who_is_on_the_shortlist() -> None:
    scores = np.array([0.30, 0.61, 0.10, 0.60, 0.305])
    assert shortlist(scores, 0.5, None) == (1, 3, 4)
    assert shortlist(scores, 0.0, None) == (0, 1, 2, 3, 4)
    assert shortlist(scores, 0.5, 2) == (1, 3)
    assert shortlist(np.array([0.4, 0.4, 0.4]), 0.5, 2) == (0, 1), "of equals the first"
    assert shortlist(np.array([0.2, 0.0]), 0.5, None) == (0,)


def test_models_off_the_shortlist_have_no_weight() -> None:
    weights, scores = np.array([0.25, 0.75]), np.array([0.3, 0.6])
    fitted = FittedWeights(weights=weights, scores=scores).among(4, (1, 3))
    assert fitted.scores is not None
    assert fitted.weights.tolist() == [0, 0.25, 0, 0.75]
    assert fitted.scores.tolist() == [0, 0.3, 0, 0.6]
    rows_MTA = np.random.default_rng(0).random((4, 5, 2), dtype=np.float32)
    np.testing.assert_array_equal(fitted.combine(rows_MTA), combine(rows_MTA, fitted.weights))
    assert fitted.used == (1, 3)
    again = fitted.of_used()
    assert again.scores is not None
    assert (again.weights.tolist(), again.scores.tolist()) == ([0.25, 0.75], [0.3, 0.6])
    np.testing.assert_array_equal(again.combine(rows_MTA[[1, 3]]), fitted.combine(rows_MTA))


def test_weights_of_each_action_stay_with_their_models() -> None:
    weights = np.array([[0.2, 1.0], [0.8, 0.0]])
    fitted = FittedWeights(weights=weights).among(3, (0, 2))
    assert fitted.weights.tolist() == [[0.2, 1.0], [0, 0], [0.8, 0.0]]
    assert fitted.scores is None
