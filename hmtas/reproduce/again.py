"""Make a run again from its record, in another folder.

AGAIN/run.json, AGAIN/predictions/...   as in every run folder
AGAIN/reproduction.json                 the run that it reproduces, and the verdict

What a run needs is in its record: configuration, seed and games; the place and the checksum of the
store; how many processes and threads trained on which kind of device.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.files import is_free, read_json, write_json
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import EpochRecord, RunRecord, predicted_splits, predictions_path
from hmtas.store.local import EmbeddingStore
from hmtas.store.recorded import open_recorded

NOTE = "reproduction.json"
VERDICT = "verdict"  # in the note, once there is one
RADIUS_S = 3.0  # of linear models whose records do not say it


def check_repeatable(run: Path, record: RunRecord, again: Path, epochs: int | None) -> None:
    """Refuse a run with nothing to compare, and a folder that must not be written to.

    Raises:
        InputError: If no epoch has ended, more are asked for than there are, or `again` lies in the
            run or holds anything but an unfinished reproduction of it, which resumes.
    """
    if not record.in_epochs:
        if epochs is not None:
            raise InputError(f"--epochs {epochs}: {run} ({record.name}) was not trained in epochs")
    elif not record.history:
        raise InputError(f"{run}: no epoch of this run has ended; there is nothing to compare")
    elif epochs is not None and epochs > len(record.history):
        raise InputError(f"--epochs {epochs}: {run} has {len(record.history)}")
    if again.resolve().is_relative_to(run.resolve()):
        raise InputError(f"--out {again}: lies in {run}, which is never written to")
    note = read_json(again / NOTE) if (again / NOTE).is_file() else {}
    if VERDICT in note or not (is_free(again) or note.get("created") == record.created):
        what = "a finished reproduction" if VERDICT in note else "something else"
        raise InputError(
            f"{again}: holds {what}; remove it or choose another --out, as only what is made "
            "anew can be compared"
        )


def mark(run: Path, record: RunRecord, again: Path, **more: Any) -> None:
    """Note in a folder which run it reproduces."""
    write_json(again / NOTE, {"run": str(run.absolute()), "created": record.created, **more})


def stores_of(run: Path, store: EmbeddingStore) -> dict[str, EmbeddingStore]:
    """Each split that a run has predicted, and the store it was predicted on.

    Raises:
        InputError: If one was predicted on another store than `store`, which is not there.
    """
    stores = {}
    for split in predicted_splits(run):
        made_on = read_probabilities(predictions_path(run, split)).provenance
        if made_on.store_checksum == store.checksum:
            stores[split] = store
        else:
            stores[split] = open_recorded(run, made_on.store, made_on.store_checksum)
    return stores


def make_again(
    run: Path,
    record: RunRecord,
    again: Path,
    store: EmbeddingStore,
    stores: Mapping[str, EmbeddingStore],
    *,
    epochs: int,
    device: str | None = None,
    on_epoch: Callable[[EpochRecord], None],
) -> None:
    """Fit a model again, with the processes and threads of the first time, and predict splits.

    Each split is predicted on the store that it was predicted on before. The device is by default
    of the kind of the first time if there is one here, else the CPU.
    """
    if record.is_linear:
        from hmtas.training.linear import run_baseline
        from hmtas.training.on_store import on_store

        spotting, usual = record.config.spotting, on_store(Config(), store).spotting
        run_baseline(
            store,
            again,
            list(stores),
            streams=tuple(record.streams),
            radius_s=RADIUS_S if record.radius_s is None else record.radius_s,
            nms_window_s=None if spotting == usual else spotting.default_window_s,
        )
        return
    import torch

    from hmtas.prediction.slide import predict_run

    if device is None:
        on_gpu = record.environment is None or record.environment.device == "cuda"
        device = "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    if record.num_workers > 1:
        from hmtas.cluster.workers import train

        train(
            store.place, record.config, again, name=record.name, preset=record.preset,
            num_workers=record.num_workers, use_gpu=device.startswith("cuda"),
            stop_after=epochs, on_epoch=on_epoch,
        )  # fmt: skip
    else:
        from hmtas.model.threads import torch_threads
        from hmtas.training.loop import fit

        with torch_threads(record.environment.threads if record.environment else None):
            fit(
                store, record.config, again, name=record.name, preset=record.preset,
                device=device, stop_after=epochs, report=on_epoch,
            )  # fmt: skip
    for split, predicted_on in stores.items():
        precision = read_probabilities(predictions_path(run, split)).provenance.precision
        predict_run(again, predicted_on, split, device=device, precision=precision)
