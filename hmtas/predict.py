"""Slide over a half: embeddings to probabilities (thesis Section 4.3)."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmtas.checkpoint import check_compatible, load_model
from hmtas.model import Logits, SpottingModel
from hmtas.probabilities import Provenance, read_probabilities, write_probabilities
from hmtas.records import HalfId, Probabilities
from hmtas.runs import WEIGHTS, predictions_path, read_run
from hmtas.store import EmbeddingStore
from hmtas.store_files import Half
from hmtas.windows import window_rows

WINDOWS_AT_ONCE = 2048


@torch.no_grad()
def predict_logits(
    model: SpottingModel,
    half: Half,
    widths: Mapping[str, int],
    seq_len: int,
    device: torch.device | str = "cpu",
) -> Logits:
    """Logits of the window of every row of a half.

    The projection of a row is computed once, not once for each of the L windows that hold it.

    Args:
        model: In evaluation mode, on `device`.
        half: Embeddings; a missing stream is masked in the model.
        widths: Streams of the model to their widths, in its order.
        seq_len: L.
        device: Where to compute.

    Returns:
        Logits (T, C) and (T, E, C), on the CPU.
    """
    x = {name: _rows(half, name, width).to(device).float() for name, width in widths.items()}
    present_E = torch.tensor([name in half.streams for name in widths], device=device)
    masked = None if bool(present_E.all()) else present_E
    rows = model.project(x, None if masked is None else masked.expand(half.num_rows, -1))
    index = torch.from_numpy(window_rows(half.num_rows, seq_len)).to(device)
    parts = [
        model.encode(
            {name: value[part] for name, value in rows.items()},
            None if masked is None else masked.expand(len(part), -1),
        )
        for part in torch.split(index, WINDOWS_AT_ONCE)
    ]
    return Logits(
        torch.cat([part.fused_BC for part in parts]).float().cpu(),
        torch.cat([part.streams_BEC for part in parts]).float().cpu(),
    )


def predict_half(
    model: SpottingModel,
    half: Half,
    widths: Mapping[str, int],
    seq_len: int,
    *,
    rate_hz: float = 1.0,
    device: torch.device | str = "cpu",
) -> Probabilities:
    """Probabilities of every row of a half; see `predict_logits`. Background is dropped."""
    logits = predict_logits(model, half, widths, seq_len, device)
    values: np.ndarray = logits.fused_BC[:, 1:].sigmoid().numpy()
    return Probabilities(half=half.half, values=values, rate_hz=rate_hz)


def predict_run(
    run: Path,
    store: EmbeddingStore,
    split: str,
    *,
    device: torch.device | str = "cpu",
    on_half: Callable[[], None] | None = None,
) -> Path:
    """Predict a split with the trained model of a run and store the probabilities there.

    Returns:
        The file written, `RUN/predictions/<split>.arrow`.

    Raises:
        InputError: If the model does not fit the store, or the split does not exist.
    """
    record = read_run(run)
    check_compatible(record, store, str(run))
    halves = store.halves_of(store.games(split))
    model = load_model(run).to(device)

    def predict(half: HalfId) -> Probabilities:
        found = predict_half(
            model,
            store.open_half(half),
            record.streams,
            record.config.train.seq_len,
            rate_hz=store.rate_hz,
            device=device,
        )
        if on_half is not None:
            on_half()
        return found

    with _halves_at_once(device) as pool:
        predicted = list(pool.map(predict, halves))
    path = predictions_path(run, split)
    provenance = Provenance(
        run=record.name,
        split=split,
        store=store.place,
        store_checksum=store.checksum,
        actions=store.actions,
        rate_hz=store.rate_hz,
        seq_len=record.config.train.seq_len,
        fitted_games=record.fitted_games,
        stopped_games=record.stopped_games,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_probabilities(path, predicted, provenance)
    return path


@contextlib.contextmanager
def _halves_at_once(device: torch.device | str) -> Iterator[ThreadPoolExecutor]:
    """On a CPU a thread per core, each with a half: the products are too small to be shared."""
    threads = torch.get_num_threads()
    at_once = threads if torch.device(device).type == "cpu" else 1
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(at_once) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def predicted(run: Path, store: EmbeddingStore, split: str) -> Path | None:
    """The stored probabilities of a split, if the present weights made them for this store."""
    path = predictions_path(run, split)
    if not path.is_file() or path.stat().st_mtime < (run / WEIGHTS).stat().st_mtime:
        return None
    if read_probabilities(path).provenance.store_checksum != store.checksum:
        return None
    return path


def _rows(half: Half, name: str, width: int) -> Tensor:
    """One stream of a half, (T, F); zeros where it is missing."""
    if name not in half.streams:
        return torch.zeros(half.num_rows, width, dtype=torch.float16)
    # Copied: the mapped rows are read-only, which torch does not know.
    return torch.from_numpy(half.streams[name].copy())
