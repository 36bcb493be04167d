"""Make a run again from its record, in another folder.

AGAIN/run.json, AGAIN/predictions/...   as in every run folder
AGAIN/reproduction.json                 which run this is the second making of, and what came of it

What a run needs is in its record: configuration, seed and games; the place and the checksum of the
store; how many processes and threads trained on which kind of device.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hmtas.config import SpottingConfig
from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import EpochRecord, RunRecord, predictions_path
from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import open_store

NOTE = "reproduction.json"
VERDICT = "verdict"  # in the note, once there is one
RADIUS_S = 3.0  # of linear models whose records do not say it


def splits_of(run: Path) -> list[str]:
    """Splits that a run has predicted."""
    return sorted(path.stem for path in (run / "predictions").glob("*.arrow"))


def claim(run: Path, record: RunRecord, again: Path) -> None:
    """Refuse a folder that is not to be written to; one that was interrupted may go on.

    Raises:
        InputError: If it is the run's own, or holds anything but an unfinished making of this run.
    """
    if again.resolve().is_relative_to(run.resolve()):
        raise InputError(f"--out {again}: lies in {run}, which is never written to")
    if not again.exists() or (again.is_dir() and not any(again.iterdir())):
        return
    note = read_json(again / NOTE) if (again / NOTE).is_file() else {}
    if note.get("created") != record.created or VERDICT in note:
        what = "a finished reproduction" if VERDICT in note else "something else"
        raise InputError(
            f"{again}: holds {what}; remove it or choose another --out, as only what is made "
            "anew can be compared"
        )


def mark(run: Path, record: RunRecord, again: Path, **more: Any) -> None:
    """Note in a folder what it is the second making of."""
    write_json(again / NOTE, {"run": str(run), "created": record.created, **more})


def open_same_store(run: Path, place: str, checksum: str) -> EmbeddingStore:
    """The store that a run was made on.

    Raises:
        InputError: If it is not there, or not the same.
    """
    store = open_store(place)
    if store.checksum != checksum:
        raise InputError(
            f"{store.place}: its checksum is {store.checksum[:12]}, and {run} was made on "
            f"{checksum[:12]}; packed again since? --store names another place of the same store"
        )
    return store


def check_repeatable(run: Path, record: RunRecord, epochs: int | None) -> None:
    """Refuse what there is nothing of to compare.

    Raises:
        InputError: If no epoch has ended, or more are asked for than there are.
    """
    if record.is_linear or record.ensemble is not None:
        if epochs is not None:
            raise InputError(f"--epochs {epochs}: {run} ({record.name}) was not trained in epochs")
    elif not record.history:
        raise InputError(f"{run}: no epoch of this run has ended; there is nothing to compare")
    elif epochs is not None and epochs > len(record.history):
        raise InputError(f"--epochs {epochs}: {run} has {len(record.history)}")


def fit_linear_again(run: Path, record: RunRecord, again: Path, store: EmbeddingStore) -> None:
    """Fit a linear model and predict the splits that were predicted."""
    from hmtas.training.linear import run_baseline

    spotting = record.config.spotting
    run_baseline(
        store,
        again,
        splits_of(run),
        streams=tuple(record.streams),
        radius_s=RADIUS_S if record.radius_s is None else record.radius_s,
        nms_window_s=None if spotting == SpottingConfig() else spotting.default_window_s,
    )


def train_again(
    record: RunRecord,
    again: Path,
    store: EmbeddingStore,
    *,
    device: str,
    epochs: int,
    on_epoch: Callable[[EpochRecord], None] = lambda entry: None,
) -> RunRecord:
    """Train a model for so many epochs, with the processes and threads of the first time."""
    common: dict[str, Any] = {"name": record.name, "preset": record.preset, "stop_after": epochs}
    if record.num_workers > 1:
        from hmtas.cluster.workers import train

        return train(
            store.place,
            record.config,
            again,
            num_workers=record.num_workers,
            use_gpu=device.startswith("cuda"),
            on_epoch=on_epoch,
            **common,
        )
    from hmtas.training.loop import fit

    threads = record.environment.threads if record.environment else None
    with _threads(threads):
        return fit(
            store,
            record.config,
            again,
            device=device,
            report=lambda entry, best: on_epoch(entry),
            **common,
        )


def predict_again(
    run: Path, again: Path, stores: Mapping[str, EmbeddingStore], *, device: str
) -> None:
    """Predict splits with the weights of the second making, each as the first one did.

    Args:
        run: The first making.
        again: The second.
        stores: Split to the store it was predicted on.
        device: Where to compute.
    """
    from hmtas.prediction.slide import predict_run

    for split, store in stores.items():
        precision = read_probabilities(predictions_path(run, split)).provenance.precision
        predict_run(again, store, split, device=device, precision=precision)


def device_of(record: RunRecord) -> str:
    """The kind of device a run was trained on, if there is one here; else the CPU."""
    import torch

    recorded = record.environment.device if record.environment else "cuda"
    return "cuda" if recorded == "cuda" and torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Sums over more threads are other sums, in the last bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
