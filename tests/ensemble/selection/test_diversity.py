"""Correlations of errors: what models miss together, not what they say together."""

import numpy as np
import pytest

from ensemble.combiner import Evidence
from ensemble.selection.diversity import error_correlations
from ensemble.stack.align import ModelOutput, stack
from hmtas.config import SpottingConfig
from hmtas.records import Events, HalfId, Probabilities

ACTIONS = ("Goal", "Corner")
HALF = HalfId("g", 1)
# The probability of a goal in each row; goals are in rows 1 and 4, and row 5 is quiet.
ONE = (0.9, 0.6, 0.1, 0.2, 0.8, 0.01)
OTHER = (0.1, 0.9, 0.2, 0.6, 0.7, 0.02)
LABEL = (0, 1, 0, 0, 1)


def evidence_of(*models: tuple[float, ...]) -> Evidence:
    outputs = []
    for number, of_goals in enumerate(models):
        values = np.zeros((len(of_goals), len(ACTIONS)), np.float32)
        values[:, 0] = of_goals
        outputs.append(
            ModelOutput(f"m{number}", ACTIONS, {HALF: Probabilities(half=HALF, values=values)})
        )
    events = Events(
        half=HALF,
        time_s=np.array([1.2, 4.0]),
        action=np.array([0, 0]),
        visible=np.ones(2, dtype=np.bool_),
    )
    return Evidence(
        stacked=stack(outputs),
        events={HALF: events},
        spottings=(SpottingConfig(),) * len(models),
        windows_s=np.full(len(ACTIONS), 9.0),
    )


def test_it_is_the_correlation_of_probability_less_label_where_it_is_not_quiet() -> None:
    found = error_correlations(evidence_of(ONE, OTHER), (0, 1))
    errors = [np.array(model[:5]) - LABEL for model in (ONE, OTHER)]
    by_hand = np.corrcoef(errors)[0, 1]
    assert found.models == ("m0", "m1")
    assert list(found.moments_A) == [5, 0]
    assert found.correlation_AMM[0] == pytest.approx(np.array([[1, by_hand], [by_hand, 1]]))
    assert by_hand != pytest.approx(np.corrcoef(ONE[:5], OTHER[:5])[0, 1], abs=0.1)


def test_an_action_that_nobody_speaks_of_has_none_and_counts_for_nothing() -> None:
    found = error_correlations(evidence_of(ONE, OTHER), (0, 1))
    assert np.isnan(found.correlation_AMM[1]).all()
    assert np.isnan(found.pairwise[1])
    assert found.pairwise[0] == found.mean[0, 1] == pytest.approx(found.correlation_AMM[0, 0, 1])


def test_pairs_are_of_different_models() -> None:
    found = error_correlations(evidence_of(ONE, OTHER, ONE), (0, 1, 2))
    one_other = found.correlation_AMM[0, 0, 1]
    assert found.pairwise[0] == pytest.approx((1 + 2 * one_other) / 3)
    assert np.isnan(error_correlations(evidence_of(ONE, OTHER), (1,)).pairwise).all()
