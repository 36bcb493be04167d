"""Slide over a half: embeddings to probabilities (thesis Section 4.3)."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmtas.config import Precision
from hmtas.model.checkpoint import check_compatible, load_model
from hmtas.model.network import Logits, SpottingModel
from hmtas.model.threads import torch_threads
from hmtas.model.windows import window_rows
from hmtas.prediction.shared_windows import SharedWindows
from hmtas.records import HalfId, Probabilities
from hmtas.runs.probabilities import read_probabilities, store_predictions
from hmtas.runs.record import WEIGHTS, predictions_path, read_run
from hmtas.store.halves import Half, refuse_damage
from hmtas.store.local import EmbeddingStore

# On a CPU few enough that the hidden layer stays in the cache. With `attention="batch"` the number
# changes the result, so it is the same everywhere.
WINDOWS_AT_ONCE_CPU: dict[Precision, int] = {"fp32": 256, "bf16": 512}
WINDOWS_AT_ONCE = 2048


class Predictor:
    """A trained model, ready to slide over halves; make a new one when the weights change.

    What overlapping windows share is computed once; see `hmtas.prediction.shared_windows`.

    Args:
        model: In evaluation mode, on `device`.
        widths: Streams of the model to their widths, in its order.
        seq_len: L.
        device: Where to compute.
        precision: Precision of the matrix products.
    """

    def __init__(
        self,
        model: SpottingModel,
        widths: Mapping[str, int],
        seq_len: int,
        *,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        self.windows = SharedWindows(model, seq_len, precision)
        self.widths = dict(widths)
        self.device = torch.device(device)
        is_small = self.windows.shares and self.device.type == "cpu"
        self.at_once = WINDOWS_AT_ONCE_CPU[precision] if is_small else WINDOWS_AT_ONCE

    def logits(self, half: Half) -> Logits:
        """Logits (T, C) and (T, E, C) of the window of every row of a half, on the CPU.

        A missing stream is masked in the model.
        """
        present = [name in half.streams for name in self.widths]
        present_E = None if all(present) else torch.tensor(present, device=self.device)
        x = {
            name: _rows(half, name, width).to(self.device).float()
            for name, width in self.widths.items()
        }
        rows = self.windows.project(
            x, None if present_E is None else present_E.expand(half.num_rows, -1)
        )
        rows = {name: pad_rows(value, self.windows.seq_len) for name, value in rows.items()}
        parts = [
            self.windows.encode({name: value[part] for name, value in rows.items()}, present_E)
            for part in self._chunks(half.num_rows)
        ]
        return Logits(
            torch.cat([part.fused_BC for part in parts]).cpu(),
            torch.cat([part.streams_BEC for part in parts]).cpu(),
        )

    def _chunks(self, num_windows: int) -> Iterator[slice]:
        """Rows of chunks that hold `at_once` windows each, the last one what is left."""
        for start in range(0, num_windows, self.at_once):
            stop = min(start + self.at_once, num_windows)
            yield slice(start, stop + self.windows.seq_len - 1)


def pad_rows(rows_TD: Tensor, seq_len: int) -> Tensor:
    """Repeat the first and last row, so that the rows hold a window for each: (T + L - 1, D)."""
    windows = window_rows(len(rows_TD), seq_len)
    index = np.concatenate([windows[:, 0], windows[-1, 1:]])
    return rows_TD[torch.from_numpy(index).to(rows_TD.device)]


def predict_half(predictor: Predictor, half: Half, *, rate_hz: float = 1.0) -> Probabilities:
    """Probabilities of every row of a half. Background is dropped."""
    return to_probabilities(predictor.logits(half), half, rate_hz)


def to_probabilities(logits: Logits, half: Half, rate_hz: float) -> Probabilities:
    """Probabilities of every row of the half that the logits are of.

    Raises:
        InputError: If a row of the half is not finite.
    """
    values: np.ndarray = logits.fused_BC[:, 1:].sigmoid().numpy()
    if not np.isfinite(values).all():
        refuse_damage(half)
    return Probabilities(half=half.half, values=values, rate_hz=rate_hz)


def predict_run(
    run: Path,
    store: EmbeddingStore,
    split: str,
    *,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    on_half: Callable[[], None] = lambda: None,
) -> Path:
    """Predict a split with the trained model of a run and store the probabilities there.

    Returns:
        The file written, `RUN/predictions/<split>.arrow`.

    Raises:
        InputError: If the model does not fit the store, or the split does not exist.
    """
    record = read_run(run)
    check_compatible(record, store, str(run))
    halves = store.halves_of(store.some_games(split))
    predictor = Predictor(
        load_model(run).to(device),
        record.streams,
        record.config.train.seq_len,
        device=device,
        precision=precision,
    )

    def predict(half: HalfId) -> Probabilities:
        found = predict_half(predictor, store.open_half(half), rate_hz=store.rate_hz)
        on_half()
        return found

    with halves_at_once(device) as pool:
        predicted = list(pool.map(predict, halves))
    return store_predictions(
        run,
        record,
        split,
        predicted,
        store=store.place,
        store_checksum=store.checksum,
        precision=precision,
    )


@contextlib.contextmanager
def halves_at_once(device: torch.device | str) -> Iterator[ThreadPoolExecutor]:
    """On a CPU a thread per core, each with a half: the products are too small to be shared."""
    with torch_threads(1) as threads:
        at_once = threads if torch.device(device).type == "cpu" else 1
        with ThreadPoolExecutor(at_once) as pool:
            yield pool


def predicted(
    run: Path, store: EmbeddingStore, split: str, precision: Precision = "fp32"
) -> Path | None:
    """The stored probabilities of a split, if the present weights made them for this store."""
    path = predictions_path(run, split)
    if not path.is_file() or path.stat().st_mtime < (run / WEIGHTS).stat().st_mtime:
        return None
    provenance = read_probabilities(path).provenance
    if provenance.store_checksum != store.checksum or provenance.precision != precision:
        return None
    return path


def _rows(half: Half, name: str, width: int) -> Tensor:
    """One stream of a half, (T, F); zeros where it is missing."""
    if name not in half.streams:
        return torch.zeros(half.num_rows, width, dtype=torch.float16)
    # Copied: the mapped rows are read-only, which torch does not know.
    return torch.from_numpy(half.streams[name].copy())
