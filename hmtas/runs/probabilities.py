"""Stored probabilities: one Arrow file per run and split, with where they came from.

Ensembles and NMS windows work on these files, never on models: a file is a few tens of megabytes
and is mapped, not read. The provenance says which games the model has seen, so that whoever fits
something on the file can refuse to fit it on games it must not touch.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from hmtas.config import Precision
from hmtas.errors import InputError
from hmtas.files import atomic_path
from hmtas.place import home_of
from hmtas.records import HalfId, Probabilities
from hmtas.refusals import raise_if_refused
from hmtas.runs.record import RunRecord, predictions_path, store_now
from hmtas.validation import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
_KEY = b"hmtas.probabilities"


class Provenance(Frozen):
    """Where probabilities came from."""

    run: str  # name of the run that predicted them
    kind: Literal["model", "ensemble"] = "model"
    split: str
    store: str  # path or address
    store_checksum: str  # at the time of the prediction
    home: str | None = None  # folder of the file when it was written; None once it is read
    actions: tuple[str, ...]  # names of the columns
    rate_hz: float
    seq_len: int | None = None  # rows of a window of the model, if it has windows
    precision: Precision = "fp32"  # of matrix products; fp32 in files that do not say
    fitted_games: tuple[str, ...]  # games whose labels the parameters were fitted on
    stopped_games: tuple[str, ...] = ()  # games whose labels chose the epoch
    cross_fitted: bool = False  # did parameters fitted on other games predict each game?
    created: str  # ISO 8601


class StoredProbabilities(NamedTuple):
    """The content of one file."""

    provenance: Provenance
    halves: dict[HalfId, Probabilities]  # as written; values are read-only views of the file

    @property
    def games(self) -> tuple[str, ...]:
        """The games covered, in the order they were written."""
        return tuple(dict.fromkeys(half.game for half in self.halves))


def store_predictions(
    run: Path, record: RunRecord, split: str, predicted: Sequence[Probabilities], **about: Any
) -> Path:
    """Store what a run predicts for a split in RUN/predictions/<split>.arrow.

    Args:
        run: Run folder.
        record: Its record.
        split: Split that was predicted.
        predicted: One for each half.
        about: Fields of `Provenance` that the record lacks or that differ from it, such as
            the store where it is not the one that the run was made on.

    Returns:
        The file written.
    """
    of_record = record.model_dump(
        include={"kind", "store", "store_checksum", "actions", "fitted_games", "stopped_games"}
    )
    provenance = {
        **of_record,
        "run": record.name,
        "split": split,
        "rate_hz": predicted[0].rate_hz if predicted else record.rate_hz,
        "seq_len": record.config.used().get("train.seq_len") if record.kind == "model" else None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
    }
    path = predictions_path(run, split)
    write_probabilities(path, predicted, Provenance.model_validate(provenance))
    return path


def write_probabilities(
    path: Path, halves: Iterable[Probabilities], provenance: Provenance
) -> None:
    """Write the probabilities of one run over one split, atomically.

    Raises:
        ValueError: If a half comes twice, or has other columns or another rate than `provenance`.
    """
    import pyarrow as pa

    stored = list(halves)
    num_actions = len(provenance.actions)
    if len({item.half for item in stored}) < len(stored):
        raise ValueError("the probabilities of a half were given twice")
    for item in stored:
        if item.values.shape[1] != num_actions or item.rate_hz != provenance.rate_hz:
            raise ValueError(
                f"{item.half}: {item.values.shape[1]} columns at {item.rate_hz} Hz do not fit "
                f"{num_actions} actions at {provenance.rate_hz} Hz"
            )
    document = {
        "version": VERSION,
        "provenance": {**provenance.model_dump(mode="json"), "home": home_of(path.parent)},
        "halves": [[*item.half, len(item.values)] for item in stored],
    }
    document["sha256"] = _checksum(document, [item.values for item in stored])
    field = pa.field("probability", pa.list_(pa.float32(), num_actions), nullable=False)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    schema = pa.schema([field], metadata={_KEY: text.encode()})
    with atomic_path(path) as scratch, pa.ipc.new_file(str(scratch), schema) as writer:
        for item in stored:
            flat = pa.array(np.ascontiguousarray(item.values).reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, num_actions)
            writer.write_batch(pa.record_batch([column], schema=schema))


def read_probabilities(path: Path) -> StoredProbabilities:
    """Map a file of probabilities and check its checksum; its store is where it lies now.

    Raises:
        InputError: If the file is missing, damaged, or of another version.
    """
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        document = json.loads((reader.schema.metadata or {})[_KEY])
        version = document["version"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of probabilities; run `hmtas predict`") from None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise_if_refused(error, path)
        raise _damaged(path, error) from None
    if version != VERSION:
        raise InputError(
            f"{path}: probabilities of schema version {version}, this program reads {VERSION}; "
            "predict again"
        )
    try:
        expected = document.pop("sha256")
        provenance = Provenance.model_validate(document["provenance"])
        values = [
            _values(reader.get_batch(index), rows, len(provenance.actions))
            for index, (_, _, rows) in enumerate(document["halves"])
        ]
        if _checksum(document, values) != expected:
            raise ValueError("its checksum does not match")
        halves = [
            Probabilities(half=HalfId(game, half), values=rows, rate_hz=provenance.rate_hz)
            for (game, half, _), rows in zip(document["halves"], values, strict=True)
        ]
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise_if_refused(error, path)
        raise _damaged(path, error) from None
    store = store_now(provenance.store, provenance.store_checksum, provenance.home, path.parent)
    provenance = provenance.model_copy(update={"store": store, "home": None})
    return StoredProbabilities(provenance, {item.half: item for item in halves})


def find_probabilities(path: Path) -> StoredProbabilities | None:
    """As `read_probabilities`; None where the file is missing or damaged."""
    try:
        return read_probabilities(path)
    except InputError:
        return None


def _values(batch: "pa.RecordBatch", rows: int, num_actions: int) -> np.ndarray:
    """Values of one half, (T, A) float32, without a copy."""
    if batch.num_rows != rows:
        raise ValueError(f"{batch.num_rows} rows instead of {rows}")
    flat = batch.column(0).flatten().to_numpy(zero_copy_only=True)
    values: np.ndarray = flat.reshape(rows, num_actions)
    return values


def _checksum(document: dict[str, Any], values: Sequence[np.ndarray]) -> str:
    """SHA-256 of the description and of every value."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(text.encode())
    for rows in values:
        digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{path}: not a sound file of probabilities ({reason}); "
        "was it cut short or changed? Predict again"
    )
