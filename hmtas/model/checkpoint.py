"""Weights and training states on disk: safetensors, written atomically, no pickle."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hmtas.errors import DamagedCheckpointError, InputError, TransientError
from hmtas.files import atomic_path, sha256_file
from hmtas.model.build import build_model
from hmtas.model.network import SpottingModel
from hmtas.refusals import raise_if_refused
from hmtas.runs.record import RECORD, WEIGHTS, RunRecord, read_run
from hmtas.store.local import EmbeddingStore

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
_META = "hmtas"
_SHA256 = "sha256"


def save_weights(path: Path, model: nn.Module) -> str:
    """Write a model's parameters and buffers; returns the SHA-256 of the file."""
    with atomic_path(path) as scratch:
        _write(_on_cpu(model.state_dict()), scratch)
        return sha256_file(scratch)


def load_model(run: Path) -> SpottingModel:
    """The trained model of a run, in evaluation mode.

    Raises:
        InputError: If the run has no weights yet, or the file is damaged.
    """
    record = read_run(run)
    path = run / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: no such file; has the run finished its first epoch?")
    if record.weights_sha256 != sha256_file(path):
        raise InputError(
            f"{path}: its checksum is not the one in {run / RECORD}; "
            "damaged, or copied from another run?"
        )
    model = build_model(
        record.streams, len(record.actions) + 1, record.config.model, record.rate_hz
    )
    _load(model, load_file(path), path)
    return model.eval()


def check_compatible(record: RunRecord, store: EmbeddingStore, place: str) -> None:
    """Refuse a model for other streams, other actions or another rate than the store's.

    Raises:
        InputError: Naming every difference.
    """
    problems = []
    for name, width in record.streams.items():
        if name not in store.streams:
            problems.append(f"stream {name!r} is not in the store")
        elif store.streams[name] != width:
            problems.append(f"stream {name!r} is {width} wide, {store.streams[name]} in the store")
    if record.actions != store.actions:
        differing = set(record.actions) ^ set(store.actions)
        what = ", ".join(sorted(differing)) if differing else "their order"
        problems.append(f"the actions differ ({what})")
    if record.rate_hz != store.rate_hz:
        problems.append(f"it expects {record.rate_hz} rows per second, not {store.rate_hz}")
    if problems:
        raise InputError(
            f"{place}: the model does not fit the store {store.place}: {'; '.join(problems)}; "
            "was it trained on another store?"
        )


def save_checkpoint(
    run: Path,
    models: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    meta: Mapping[str, Any],
) -> None:
    """Write everything that a training needs to resume after this epoch; keep the previous one.

    `models` are the one in training, as "model", and what follows it, by name.

    The optimizer's hyperparameters come from the configuration and are not stored. Nor are states
    of random generators: everything random in an epoch follows from (seed, epoch, rank).

    `meta` is JSON: the position in the training, and the best epoch so far.
    """
    tensors = {
        f"{kind}.{name}": value
        for kind, model in models.items()
        for name, value in model.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors = _on_cpu(tensors)
    text = json.dumps(meta)
    metadata = {_META: text, _SHA256: _digest(tensors, text)}
    path = run / CHECKPOINT
    with atomic_path(path) as scratch:
        _write(tensors, scratch, metadata)
        if path.is_file():
            path.replace(run / PREVIOUS)


def load_checkpoint(
    run: Path, models: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[Any, str | None] | None:
    """Restore the newest state that `save_checkpoint` wrote, or the previous one if it is damaged.

    Returns:
        Its `meta`, and what is wrong with the newest state, if anything; None without any state.

    Raises:
        DamagedCheckpointError: If all states are damaged.
        InputError: If a state is of another model.
    """
    problem: str | None = None
    for path in (run / CHECKPOINT, run / PREVIOUS):
        if not path.is_file():
            continue
        try:
            meta, tensors = _read(path)
        except TransientError:
            raise  # it may be sound
        except InputError as error:
            problem = str(error)
            continue
        _restore(path, tensors, models, optimizer)
        return meta, problem
    if problem is None:
        return None
    raise DamagedCheckpointError(f"{problem}; remove {run} to start this run again")


def remove_checkpoints(run: Path) -> None:
    """Remove the states of a training that is done."""
    for name in (CHECKPOINT, PREVIOUS):
        (run / name).unlink(missing_ok=True)


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:  # it hides the system's errors, a full disk among them
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error)) from None


def _read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta = json.loads(metadata[_META])
        if metadata[_SHA256] != _digest(tensors, metadata[_META]):
            raise ValueError("its checksum does not match")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise_if_refused(error, path)
        raise InputError(f"{path}: damaged checkpoint ({error})") from None
    return meta, tensors


def _restore(
    path: Path,
    tensors: Mapping[str, Tensor],
    models: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> None:
    kinds = {name.partition(".")[0] for name in tensors} - {"optimizer"}
    if kinds != set(models):
        raise InputError(
            f"{path}: holds {', '.join(sorted(kinds))}, not {', '.join(sorted(models))}, as the "
            "record beside it describes (ema_decay); was it copied from another run?"
        )
    for kind, model in models.items():
        begin = f"{kind}."
        _load(model, {k[len(begin) :]: v for k, v in tensors.items() if k.startswith(begin)}, path)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _load(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Fill a model, if the tensors are those of its kind and size."""
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found != expected:
        other = min({*found.items()} ^ {*expected.items()})[0]
        raise InputError(
            f"{path}: holds the weights of another kind of model than the record beside it "
            f"describes ({other} is {found.get(other, 'missing')}, not "
            f"{expected.get(other, 'expected')}); was it copied from another run?"
        )
    model.load_state_dict(tensors)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of the tensors, by name, and of the text beside them."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        found.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        found.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
