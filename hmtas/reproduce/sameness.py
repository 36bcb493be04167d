"""Are two run folders the same? Their records, epochs, probabilities and scores, value by value."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import RunRecord, predictions_path

Kind = Literal["bits", "scores", "different"]
TOLERANCE = 1e-4  # far below what two seeds differ by, far above the rounding of one step


class Compared(NamedTuple):
    """One value of a run beside that of its second making."""

    what: str  # such as `train_loss` or `probabilities, valid`
    place: str  # where in it, such as `epoch 3`
    before: Any
    again: Any
    difference: float  # its size; infinite where it has none (other games, a missing epoch)
    exact: bool  # the same to the last bit


class Sameness(NamedTuple):
    """What all comparisons say together."""

    kind: Kind  # scores: every number is within the tolerance
    largest: float
    first: Compared | None  # beyond the tolerance, in the order in which a run makes values

    @property
    def verdict(self) -> str:
        """The verdict in one line."""
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
    """Put all comparisons together, in the order in which a run makes the values."""
    first = next((one for one in compared if one.difference > tolerance), None)
    largest = max((one.difference for one in compared), default=0.0)
    if first is not None:
        return Sameness("different", largest, first)
    return Sameness("bits" if all(one.exact for one in compared) else "scores", largest, None)


def worst_of_each(compared: Iterable[Compared]) -> list[tuple[Compared, int]]:
    """For each thing compared, the value that differs most, and how many values it has."""
    groups: dict[str, list[Compared]] = {}
    for one in compared:
        groups.setdefault(one.what, []).append(one)
    return [
        (max(group, key=lambda one: (one.difference, not one.exact)), len(group))
        for group in groups.values()
    ]


def compare_records(before: RunRecord, again: RunRecord, num_epochs: int) -> list[Compared]:
    """What two records say: games, size, every epoch, and the weights of the best one.

    The best epoch and the weights only count if they are among the `num_epochs` made again.
    """
    found: list[Compared] = []
    for name in ("streams", "actions", "fitted_games", "stopped_games"):
        one, other = getattr(before, name), getattr(again, name)
        found.append(_whole(name, f"{len(one)} of them", f"{len(other)} of them", one == other))
    found += compare_documents("", _outcome(before), _outcome(again))
    epochs = {entry.epoch: entry for entry in again.history}
    for entry in before.history[:num_epochs]:
        place = f"epoch {entry.epoch}"
        if entry.epoch not in epochs:
            found.append(Compared("epochs", place, "there", "missing", math.inf, False))
            continue
        # What a record of an older version does not say cannot differ; times always do.
        known = entry.model_dump(mode="json", exclude_defaults=True, exclude={"epoch", "seconds"})
        made = epochs[entry.epoch].model_dump(mode="json", include=set(known))
        found += compare_documents(place, known, made)
    if has_last_word(before, num_epochs):
        pairs: dict[str, tuple[Any, Any]] = {"best_epoch": (before.best_epoch, again.best_epoch)}
        if before.weights_sha256 is not None:
            pairs["weights"] = (before.weights_sha256[:12], (again.weights_sha256 or "none")[:12])
        found += [
            Compared(what, "", *pair, 0.0, pair[0] == pair[1]) for what, pair in pairs.items()
        ]
    return found


def has_last_word(before: RunRecord, num_epochs: int) -> bool:
    """Are weights and probabilities of the first `num_epochs` epochs those of the whole run?"""
    return (before.best_epoch or 0) <= num_epochs


def compare_probabilities(run: Path, again: Path, split: str) -> Compared:
    """The largest difference of the stored probabilities of a split."""
    what = f"probabilities, {split}"
    one, other = (read_probabilities(predictions_path(path, split)).halves for path in (run, again))
    shapes, others = ({half: part.values.shape for half, part in x.items()} for x in (one, other))
    if shapes != others:
        return _whole(what, f"{len(one)} halves", f"{len(other)} halves", False)
    worst = Compared(what, "", None, None, 0.0, True)
    for half, part in one.items():
        one_TA, other_TA = part.values, other[half].values
        if one_TA.tobytes() == other_TA.tobytes():
            continue
        difference_TA = np.nan_to_num(np.abs(one_TA.astype(np.float64) - other_TA), nan=np.inf)
        row, action = (int(i) for i in np.unravel_index(difference_TA.argmax(), one_TA.shape))
        pair = float(one_TA[row, action]), float(other_TA[row, action])
        largest = float(difference_TA[row, action])
        if worst.exact or largest > worst.difference:
            worst = Compared(what, f"{half}, row {row}, action {action}", *pair, largest, False)
    return worst


def compare_documents(
    place: str, before: Any, again: Any, *, what: str | None = None
) -> list[Compared]:
    """Compare two JSON documents leaf by leaf; the path of a leaf is added to `place`.

    Values are named `what`, or by the outermost names of the documents.
    """
    one, other = dict(_leaves(before)), dict(_leaves(again))
    found = []
    for path in dict.fromkeys((*one, *other)):
        name, rest = (path[0], path[1:]) if what is None else (what, path)
        where = ", ".join(part for part in (place, ".".join(rest)) if part)
        pair = one.get(path, "missing"), other.get(path, "missing")
        exact = pair[0] == pair[1] and type(pair[0]) is type(pair[1])
        are_numbers = all(type(value) in (int, float) for value in pair)
        difference = 0.0 if exact else abs(pair[0] - pair[1]) if are_numbers else math.inf
        found.append(Compared(name, where, *pair, float(difference), exact))
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


def _whole(what: str, before: str, again: str, exact: bool) -> Compared:
    if not exact and before == again:
        again = f"{again}, but others"
    return Compared(what, "", before, again, 0.0 if exact else math.inf, exact)


def _outcome(record: RunRecord) -> dict[str, Any]:
    """The size of a model; of an ensemble its weights and folds too."""
    # Where the members of an ensemble lie depends on where it lies itself.
    inner = {"members": {"__all__": {"run"}}}
    ensemble = record.ensemble and record.ensemble.model_dump(mode="json", exclude=inner)
    return {"num_parameters": record.num_parameters, **(ensemble or {})}


def shown(before: Any, again: Any) -> tuple[str, str]:
    """Two values with as many digits as tell them apart."""
    if not (isinstance(before, float) and isinstance(again, float)):
        return str(before), str(again)
    for digits in (4, 6, 9):
        pair = f"{before:.{digits}f}", f"{again:.{digits}f}"
        if pair[0] != pair[1]:
            return pair
    return repr(before), repr(again)
