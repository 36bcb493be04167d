"""Which runs are one model: by what was trained, not by where it lies or what it is called.

Weights that are equal byte for byte are one model. A linear model keeps none and an ensemble has
none of its own: there, and wherever else, predictions that are equal bit by bit are one model.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from hmtas.records import HalfId
from hmtas.runs.probabilities import StoredProbabilities
from hmtas.runs.record import RunRecord


def find_copies(
    models: Iterable[tuple[RunRecord, StoredProbabilities | None]],
) -> dict[int, int]:
    """Models that are one of those before them, by index, each with the first of its kind.

    The probabilities are of one split; None where a model has not predicted it.
    """
    copies: dict[int, int] = {}
    by_weights: dict[tuple[str, str], int] = {}
    by_values: dict[tuple[HalfId, str], list[tuple[int, StoredProbabilities]]] = {}
    for m, (record, stored) in enumerate(models):
        # The same weights say other things of other embeddings.
        store = record.store_checksum if stored is None else stored.provenance.store_checksum
        weights = (record.weights_sha256, store) if record.weights_sha256 else None
        alike = by_values.setdefault(_first_half(stored), []) if stored and stored.halves else []
        first = None if weights is None else by_weights.get(weights)
        if first is None and stored is not None:
            first = next((o for o, other in alike if _says_the_same(other, stored)), None)
        if first is not None:
            copies[m] = first
            continue
        if weights is not None:
            by_weights[weights] = m
        if stored is not None:
            alike.append((m, stored))
    return copies


def _first_half(stored: StoredProbabilities) -> tuple[HalfId, str]:
    """What tells most models apart without reading all of them."""
    half = min(stored.halves)  # their order says nothing
    values = np.ascontiguousarray(stored.halves[half].values)
    return half, hashlib.sha256(values.data).hexdigest()


def _says_the_same(one: StoredProbabilities, other: StoredProbabilities) -> bool:
    return one.halves.keys() == other.halves.keys() and all(
        np.array_equal(part.values, other.halves[half].values) for half, part in one.halves.items()
    )
