"""Two makings of a run are the same where every number is, and the first that is not is named."""

import math

import pytest

from hmtas.reproduce.sameness import Compared, compare_documents, judge, shown


def at(difference: float, place: str = "epoch 1", *, exact: bool | None = None) -> Compared:
    is_exact = difference == 0 if exact is None else exact
    return Compared("tight", place, 0.5, 0.5 + difference, difference, is_exact)


@pytest.mark.parametrize(
    ("compared", "kind", "words"),
    [
        pytest.param([at(0), at(0)], "bits", "the same, bit for bit", id="bits"),
        pytest.param([at(0), at(1e-4)], "scores", "the same scores to 1e-4", id="at the tolerance"),
        pytest.param([at(2e-9)], "scores", "the same scores to 1e-8", id="rounding"),
        pytest.param([at(0, exact=False)], "scores", "not every bit", id="other bits alone"),
        pytest.param([at(1.1e-4)], "different", "epoch 1, tight 0.5000 against 0.5001", id="more"),
        pytest.param([at(1e-6), at(0.01, "epoch 2"), at(0.5, "epoch 3")], "different",
                     "first difference at epoch 2, tight 0.5000 against 0.5100", id="the first"),
        pytest.param([at(math.inf)], "different", "not the same", id="no number"),
        pytest.param([], "bits", "the same", id="nothing"),
    ],
)  # fmt: skip
def test_the_verdict(compared: list[Compared], kind: str, words: str) -> None:
    found = judge(compared)
    assert found.kind == kind
    assert words in found.verdict


def test_documents_are_compared_leaf_by_leaf() -> None:
    before = {"tight": {"Goal": 0.5, "Foul": None}, "games": ["a", "b"], "same": True}
    again = {"tight": {"Goal": 0.25, "Foul": 0.1}, "games": ["a", "c"], "same": True, "new": 1}
    found = {(c.what, c.place): c.difference for c in compare_documents("valid", before, again)}
    assert found == {
        ("tight", "valid, Goal"): 0.25,
        ("tight", "valid, Foul"): math.inf,
        ("games", "valid, 1"): 0.0,
        ("games", "valid, 2"): math.inf,
        ("same", "valid"): 0.0,
        ("new", "valid"): math.inf,
    }


def test_a_truth_value_is_no_number() -> None:
    (found,) = compare_documents("", {"x": True}, {"x": 1})
    assert found.difference == math.inf


@pytest.mark.parametrize(
    ("before", "again", "expected"),
    [
        pytest.param(0.12341, 0.12402, ("0.1234", "0.1240"), id="four digits"),
        pytest.param(0.1234001, 0.1234021, ("0.123400", "0.123402"), id="six digits"),
        pytest.param("abc", None, ("abc", "None"), id="no numbers"),
    ],
)
def test_values_are_shown_with_the_digits_that_tell_them_apart(
    before: object, again: object, expected: tuple[str, str]
) -> None:
    assert shown(before, again) == expected
