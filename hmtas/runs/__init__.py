"""A run folder: one fitted model or ensemble, its record and its stored probabilities."""

from hmtas.runs.probabilities import (
    Provenance,
    StoredProbabilities,
    read_probabilities,
    write_probabilities,
)
from hmtas.runs.record import EpochRecord, RunRecord, read_run, write_run

__all__ = [
    "EpochRecord",
    "Provenance",
    "RunRecord",
    "StoredProbabilities",
    "read_probabilities",
    "read_run",
    "write_probabilities",
    "write_run",
]
