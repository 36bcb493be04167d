"""Slide over a half: embeddings to probabilities (thesis Section 4.3)."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmtas.config import Config, Precision
from hmtas.model.checkpoint import check_compatible, load_model
from hmtas.model.network import Logits, SpottingModel, WindowModel
from hmtas.model.steps import Rates, StepModel, rates_of
from hmtas.model.threads import torch_threads
from hmtas.model.windows import window_rows
from hmtas.prediction.shared_windows import SharedWindows
from hmtas.prediction.steps import WholeHalf, moved
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
    """A trained model, ready for halves; make a new one when the weights change.

    What overlapping windows share is computed once (`hmtas.prediction.shared_windows`); a model
    that labels steps takes a half as a whole (`hmtas.prediction.steps`).

    Args:
        model: In evaluation mode, on `device`.
        widths: Streams of the model to their widths, in its order.
        config: Configuration of the run.
        rate_hz: Rows per second of the store that it was trained on.
        device: Where to compute.
        precision: Precision of the matrix products.
    """

    def __init__(
        self,
        model: SpottingModel,
        widths: Mapping[str, int],
        config: Config,
        *,
        rate_hz: float = 1.0,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
    ) -> None:
        self.widths = dict(widths)
        self.device = torch.device(device)
        self.rates = Rates(rate_hz, rate_hz)
        self.half: WholeHalf | None = None
        self.windows: SharedWindows | None = None
        if isinstance(model, StepModel):
            self.rates = rates_of(config.model, rate_hz)
            margin = round(config.train.context.margin_s * rate_hz)
            self.half, self.seq_len = WholeHalf(model, precision), 2 * margin + 1
        else:
            assert isinstance(model, WindowModel)
            self.seq_len = config.train.seq_len
            self.windows = SharedWindows(model, self.seq_len, precision)
            is_small = self.windows.shares and self.device.type == "cpu"
            self.at_once = WINDOWS_AT_ONCE_CPU[precision] if is_small else WINDOWS_AT_ONCE

    def logits(self, half: Half) -> Logits:
        """Logits (T * k, C) and (T * k, E, C) of every row of a half, on the CPU; k are its steps.

        A missing stream is masked in the model.
        """
        present = [name in half.streams for name in self.widths]
        present_E = None if all(present) else torch.tensor(present, device=self.device)
        x = {name: _rows(half, name, width).to(self.device) for name, width in self.widths.items()}
        if self.half is not None:
            padded = {name: pad_rows(value, self.seq_len).float() for name, value in x.items()}
            return self.half.logits(padded, present_E, self.seq_len).map(Tensor.cpu)
        windows = self.windows
        assert windows is not None
        rows = windows.project(
            {name: value.float() for name, value in x.items()},
            None if present_E is None else present_E.expand(half.num_rows, -1),
        )
        rows = {name: pad_rows(value, self.seq_len) for name, value in rows.items()}
        parts = [
            windows.encode({name: value[part] for name, value in rows.items()}, present_E)
            for part in self._chunks(half.num_rows)
        ]
        return Logits.join(parts).map(Tensor.cpu)

    def probabilities(self, logits: Logits, half: Half) -> Probabilities:
        """Probabilities of a half at the output rate, displacements applied. Background is dropped.

        Raises:
            InputError: If a row of the half is not finite.
        """
        scores = logits.fused_BC[:, 1:].sigmoid()
        if not scores.isfinite().all():
            refuse_damage(half)
        values = moved(scores, logits.shift_BA, self.rates).numpy()
        return Probabilities(half=half.half, values=values, rate_hz=self.rates.output_hz)

    def predict(self, half: Half) -> Probabilities:
        """Probabilities of a half."""
        return self.probabilities(self.logits(half), half)

    def _chunks(self, num_windows: int) -> Iterator[slice]:
        """Rows of chunks that hold `at_once` windows each, the last one what is left."""
        for start in range(0, num_windows, self.at_once):
            stop = min(start + self.at_once, num_windows)
            yield slice(start, stop + self.seq_len - 1)


def pad_rows(rows_TD: Tensor, seq_len: int) -> Tensor:
    """Repeat the first and last row, so that the rows hold a window for each: (T + L - 1, D)."""
    windows = window_rows(len(rows_TD), seq_len)
    index = np.concatenate([windows[:, 0], windows[-1, 1:]])
    return rows_TD[torch.from_numpy(index).to(rows_TD.device)]


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
        record.config,
        rate_hz=record.rate_hz,
        device=device,
        precision=precision,
    )

    def predict(half: HalfId) -> Probabilities:
        found = predictor.predict(store.open_half(half))
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
