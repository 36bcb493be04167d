"""Are two run folders the same? Their records, epochs, probabilities and scores, value by value."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from hmtas.records import HalfId
from hmtas.runs.record import EpochRecord, RunRecord, predictions_path

Kind = Literal["bits", "scores", "different"]
TOLERANCE = 1e-4  # far below what two seeds differ by, far above the rounding of one step


class Compared(NamedTuple):
    """One value of a run beside that of its second making.

    Attributes:
        what: Such as `train_loss` or `probabilities, valid`.
        place: Where in it, such as `epoch 3`.
        before: Value of the first making.
        again: Of the second.
        difference: Its size; infinite where it has none (other games, an epoch that is missing).
        exact: The same to the last bit.
    """

    what: str
    place: str
    before: Any
    again: Any
    difference: float
    exact: bool


class Sameness(NamedTuple):
    """What all comparisons say together.

    Attributes:
        kind: `bits`, `scores` (every number within the tolerance) or `different`.
        largest: The largest difference.
        first: The first value beyond the tolerance, in the order in which a run makes them.
    """

    kind: Kind
    largest: float
    first: Compared | None

    @property
    def verdict(self) -> str:
        """In one line."""
        if self.kind == "bits":
            return "the same, bit for bit"
        if self.first is None:
            if self.largest == 0:
                return "the same scores, every one, but not every bit"
            return f"the same scores to 1e{math.ceil(math.log10(self.largest))}"
        before, again = shown(self.first.before, self.first.again)
        place = f"{self.first.place}, " if self.first.place else ""
        return (
            f"not the same: first difference at {place}{self.first.what} {before} against {again}"
        )


def judge(compared: Sequence[Compared], tolerance: float = TOLERANCE) -> Sameness:
    """Put all comparisons together.

    Args:
        compared: In the order in which a run makes the values.
        tolerance: Largest difference that still counts as the same.
    """
    first = next((one for one in compared if one.difference > tolerance), None)
    largest = max((one.difference for one in compared), default=0.0)
    if first is not None:
        return Sameness("different", largest, first)
    return Sameness("bits" if all(one.exact for one in compared) else "scores", largest, None)


def compare_records(before: RunRecord, again: RunRecord, num_epochs: int) -> list[Compared]:
    """What two records say: games, size, every epoch, and the weights of the best one.

    Args:
        before: Of the first making.
        again: Of the second.
        num_epochs: Epochs that were made again; the best epoch and the weights only count if they
            are among them.
    """
    found: list[Compared] = []
    for name in ("streams", "actions", "fitted_games", "stopped_games"):
        one, other = getattr(before, name), getattr(again, name)
        found.append(_whole(name, f"{len(one)} of them", f"{len(other)} of them", one == other))
    found += compare_documents("", _size_of(before), _size_of(again))
    for epoch in range(1, num_epochs + 1):
        one, other = _epoch(before.history, epoch), _epoch(again.history, epoch)
        if other is None:
            found.append(Compared("epochs", f"epoch {epoch}", "there", "missing", math.inf, False))
        else:
            # What a record of an older version does not say cannot differ.
            known = {name: value for name, value in (one or {}).items() if value not in (None, {})}
            found += compare_documents(f"epoch {epoch}", known, {n: other[n] for n in known})
    if has_last_word(before, num_epochs):
        pair = before.best_epoch, again.best_epoch
        found.append(Compared("best_epoch", "", *pair, 0.0, pair[0] == pair[1]))
        if before.weights_sha256 is not None:
            sums = before.weights_sha256, again.weights_sha256 or "none"
            found.append(
                Compared("weights", "", sums[0][:12], sums[1][:12], 0.0, sums[0] == sums[1])
            )
    return found


def has_last_word(before: RunRecord, num_epochs: int) -> bool:
    """Are weights and probabilities of the first `num_epochs` epochs those of the whole run?"""
    return (before.best_epoch or 0) <= num_epochs


def compare_probabilities(run: Path, again: Path, split: str) -> Compared:
    """The largest difference of the stored probabilities of a split."""
    from hmtas.runs.probabilities import read_probabilities

    what = f"probabilities, {split}"
    one, other = (read_probabilities(predictions_path(path, split)).halves for path in (run, again))
    if list(one) != list(other) or any(
        one[half].values.shape != other[half].values.shape for half in one
    ):
        return _whole(what, f"{len(one)} halves", f"{len(other)} halves", False)
    worst = Compared(what, "", None, None, 0.0, True)
    for half, rows in one.items():
        if rows.values.tobytes() != other[half].values.tobytes():
            here = _largest(what, half, rows.values, other[half].values)
            if worst.exact or here.difference > worst.difference:
                worst = here
    return worst


def _largest(what: str, half: HalfId, one_TA: np.ndarray, other_TA: np.ndarray) -> Compared:
    difference_TA = np.nan_to_num(np.abs(one_TA.astype(np.float64) - other_TA), nan=np.inf)
    row, action = np.unravel_index(difference_TA.argmax(), difference_TA.shape)
    return Compared(
        what,
        f"{half}, row {row}, action {action}",
        float(one_TA[row, action]),
        float(other_TA[row, action]),
        float(difference_TA[row, action]),
        False,
    )


def compare_documents(
    place: str, before: Any, again: Any, *, what: str | None = None
) -> list[Compared]:
    """Compare two JSON documents leaf by leaf.

    Args:
        place: Where they are from; the path of a leaf in them is added.
        before: The first document.
        again: The second.
        what: Name of all of it; the outermost names of the documents unless given.
    """
    one, other = dict(_leaves(before)), dict(_leaves(again))
    found = []
    for path in dict.fromkeys((*one, *other)):
        name, rest = (path[0], path[1:]) if what is None else (what, path)
        where = ", ".join(part for part in (place, ".".join(rest)) if part)
        pair = one.get(path, "missing"), other.get(path, "missing")
        exact = pair[0] == pair[1] and type(pair[0]) is type(pair[1])
        difference = 0.0 if exact else _distance(*pair)
        found.append(Compared(name, where, *pair, difference, exact))
    return found


def _leaves(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and value of everything in a document that holds nothing itself."""
    parts: Iterable[tuple[Any, Any]]
    if isinstance(document, Mapping):
        parts = document.items()
    elif isinstance(document, list | tuple):
        parts = enumerate(document, start=1)
    else:
        yield path, document
        return
    for name, value in parts:
        yield from _leaves(value, (*path, str(name)))


def _distance(before: Any, again: Any) -> float:
    both = (before, again)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in both):
        return abs(float(before) - float(again))
    return math.inf


def _whole(what: str, before: str, again: str, exact: bool) -> Compared:
    if not exact and before == again:
        again = f"{again}, but others"
    return Compared(what, "", before, again, 0.0 if exact else math.inf, exact)


def _size_of(record: RunRecord) -> dict[str, Any]:
    """What else decides a run's result; of an ensemble its weights and folds too."""
    size: dict[str, Any] = {"num_parameters": record.num_parameters}
    if record.ensemble is not None:
        # Where the members lie depends on where the ensemble does.
        exclude = {"members": {"__all__": {"run"}}}
        size |= record.ensemble.model_dump(mode="json", exclude=exclude)
    return size


def _epoch(history: Sequence[EpochRecord], epoch: int) -> dict[str, Any] | None:
    """What must come again of an epoch: everything but how long it took."""
    if epoch > len(history):
        return None
    return history[epoch - 1].model_dump(mode="json", exclude={"epoch", "seconds"})


def shown(before: Any, again: Any) -> tuple[str, str]:
    """Two values with as many digits as tell them apart."""
    if not (isinstance(before, float) and isinstance(again, float)):
        return str(before), str(again)
    for digits in (4, 6, 9):
        pair = f"{before:.{digits}f}", f"{again:.{digits}f}"
        if pair[0] != pair[1]:
            return pair
    return repr(before), repr(again)
