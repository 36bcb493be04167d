"""Fixed-weight combiners: weights worked by hand, bounds, and free order of the models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ensemble.combiners.methods import POWERS
from ensemble.stack.mean import combine, combine_weights, weights_of_scores
from hmtas.errors import InputError
from hmtas.records import Score

SCORES = hnp.arrays(np.float64, st.integers(1, 6), elements=st.floats(0.01, 1))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        pytest.param("mean", [1 / 3, 1 / 3, 1 / 3], id="the mean asks for no score"),
        pytest.param("weighted", [0.5, 0.3, 0.2], id="proportional to the score"),
        # 0.25, 0.09, 0.04 of 0.38
        pytest.param("squared", [25 / 38, 9 / 38, 4 / 38], id="proportional to its square"),
    ],
)
def test_weights_by_hand(method: str, expected: list[float]) -> None:
    weights = combine_weights(np.array([0.5, 0.3, 0.2]), POWERS[method])
    np.testing.assert_allclose(weights, expected)


def test_the_sum_is_divided_by_the_weights_of_the_models_used() -> None:
    # The thesis's code divided four weighted models by the sum of five weights.
    four_sure_models = np.ones((4, 1, 1), dtype=np.float32)
    weights = combine_weights(np.array([0.5, 0.5, 0.4, 0.6]), 1)
    assert combine(four_sure_models, weights).item() == 1


def scored(average_map: float, per_action: list[float], num_events: list[int]) -> Score:
    empty = np.empty(0)
    return Score(
        tolerances_s=empty,
        average_map=average_map,
        visible=0.0,
        unshown=0.0,
        per_tolerance=empty,
        per_action=np.array(per_action),
        per_action_visible=empty,
        per_action_unshown=empty,
        num_events=np.array(num_events),
        num_games=3,
    )


def test_weights_by_action_borrow_where_events_are_few() -> None:
    nan = float("nan")
    scores = [
        scored(0.3, [0.9, 0.9, nan, 0.0], [150, 50, 0, 50]),
        scored(0.1, [0.1, 0.1, nan, 0.0], [150, 50, 0, 50]),
    ]
    weights = weights_of_scores(scores, 1, per_action=True, borrowed=50)
    # Own weights 0.9 and 0.1, common ones 0.75 and 0.25; 150 events count 3 to 1, 50 events 1 to 1.
    # An action without events, or on which no model scores, takes the common ones.
    np.testing.assert_allclose(weights[0], [0.8625, 0.825, 0.75, 0.75])
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    np.testing.assert_allclose(weights_of_scores(scores, 1), [0.75, 0.25])


def test_no_score_at_all_gives_no_weights() -> None:
    with pytest.raises(InputError, match="every model scores 0 on 3 games"):
        weights_of_scores([scored(0.0, [0.0], [5])], 1)
    alone = [scored(0.0, [0.0], [5]), scored(0.2, [0.2], [5])]
    assert weights_of_scores(alone, 2).tolist() == [0, 1]


def test_each_action_takes_its_own_weights() -> None:
    stacked = np.array([[[0.2, 0.0]], [[0.6, 1.0]]], dtype=np.float32)
    fused = combine(stacked, np.array([[0.75, 0.5], [0.25, 0.5]]))
    np.testing.assert_allclose(fused, [[0.3, 0.5]], rtol=1e-6)


def test_combine_by_hand() -> None:
    stacked = np.array([[[0.2, 0.0]], [[0.6, 1.0]]], dtype=np.float32)
    fused = combine(stacked, np.array([0.75, 0.25]))
    np.testing.assert_allclose(fused, [[0.3, 0.25]], rtol=1e-6)
    assert fused.dtype == np.float32


@given(scores=SCORES, power=st.sampled_from([0, 1, 2]), seed=st.integers(0, 99))
def test_probabilities_stay_probabilities_and_the_order_of_models_is_free(
    scores: np.ndarray, power: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    stacked = rng.integers(0, 2, (len(scores), 5, 3)).astype(np.float32)  # 0 and 1: the bounds
    weights = combine_weights(scores, power)
    fused = combine(stacked, weights)
    assert fused.shape == (5, 3)
    assert ((fused >= 0) & (fused <= 1)).all()
    order = rng.permutation(len(scores))
    shuffled = combine(stacked[order], combine_weights(scores[order], power))
    np.testing.assert_allclose(shuffled, fused, atol=1e-6)


@pytest.mark.parametrize("power", POWERS.values())
def test_one_model_returns_itself(power: int) -> None:
    stacked = np.random.default_rng(0).random((1, 7, 3), dtype=np.float32)
    fused = combine(stacked, combine_weights(np.array([0.37]), power))
    np.testing.assert_array_equal(fused, stacked[0])


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_a_score_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        combine_weights(np.array([0.5, bad]), 1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        pytest.param([1.0], "2 models need as many weights", id="too few"),
        pytest.param([0.5, 0.4], "sum to 1", id="they do not sum to 1"),
        pytest.param([1.5, -0.5], "must be >= 0", id="a negative one"),
    ],
)
def test_weights_that_are_no_mean_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combine(np.zeros((2, 3, 1), dtype=np.float32), np.array(weights))
