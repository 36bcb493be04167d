"""Rows of the same moment lie on top of each other; what cannot be aligned is refused."""

import numpy as np
import pytest

from ensemble.stack.align import ModelOutput, stack
from hmtas.errors import InputError
from hmtas.records import HalfId, Probabilities

HALF, OTHER = HalfId("league/season/a", 1), HalfId("league/season/a", 2)
ACTIONS = ("Goal", "Corner")


def output(
    name: str,
    rows: list[list[float]],
    *,
    rate_hz: float = 1.0,
    halves: tuple[HalfId, ...] = (HALF,),
    actions: tuple[str, ...] = ACTIONS,
) -> ModelOutput:
    values = np.array(rows, dtype=np.float32)
    parts = {half: Probabilities(half=half, values=values, rate_hz=rate_hz) for half in halves}
    return ModelOutput(name, actions, parts)


def test_models_keep_their_order_and_their_rows() -> None:
    stacked = stack([output("a", [[0.1, 0.2], [0.3, 0.4]]), output("b", [[0.5, 0.6], [0.7, 0.8]])])
    expected = [[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]]]
    np.testing.assert_array_equal(stacked.halves[HALF], np.array(expected, dtype=np.float32))
    assert stacked.halves[HALF].dtype == np.float32
    assert (stacked.models, stacked.actions, stacked.notes) == (("a", "b"), ACTIONS, ())


def test_a_slower_model_is_read_at_the_nearest_moment() -> None:
    fast = output("fast", [[t / 10, 0] for t in range(6)], rate_hz=2)
    slow = output("slow", [[0.0, 0], [0.5, 0], [1.0, 0]])
    stacked = stack([slow, fast])
    assert stacked.rate_hz == 2
    # Rows at 0, 0.5, 1, 1.5, 2, 2.5 s; half-way between two rows the later one is taken, and
    # after the last row, at 2 s, it repeats.
    assert stacked.halves[HALF][0, :, 0].tolist() == [0.0, 0.5, 0.5, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(stacked.halves[HALF][1, :, 0], np.arange(6) / 10)
    assert "1, 2 Hz" in stacked.notes[0]


def test_a_model_that_is_a_few_rows_short_repeats_its_last_row() -> None:
    stacked = stack([output("short", [[0.1, 0], [0.2, 0]]), output("long", [[0.5, 0]] * 4)])
    np.testing.assert_allclose(stacked.halves[HALF][0, :, 0], [0.1, 0.2, 0.2, 0.2])
    assert "by up to 2 rows" in stacked.notes[0]


def test_lengths_too_far_apart_are_refused() -> None:
    with pytest.raises(InputError, match="a has 2 rows and b has 8 at 1 Hz, more than 5 s apart"):
        stack([output("a", [[0, 0]] * 2), output("b", [[0, 0]] * 8)])


def test_a_missing_half_names_the_model_and_the_half() -> None:
    both = output("both", [[0, 0]], halves=(HALF, OTHER))
    with pytest.raises(InputError, match="one has no probabilities of league/season/a, half 2,"):
        stack([both, output("one", [[0, 0]])])


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        pytest.param(("Goal", "Foul"), "they differ in Corner, Foul", id="another action"),
        pytest.param(("Corner", "Goal"), "their order differs", id="another order"),
    ],
)
def test_other_actions_are_refused(actions: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InputError, match=f"different actions \\({reason}"):
        stack([output("a", [[0, 0]]), output("b", [[0, 0]], actions=actions)])


def test_no_model_is_no_ensemble() -> None:
    with pytest.raises(InputError, match="at least one model"):
        stack([])
