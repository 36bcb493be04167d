"""Weights and training states on disk: safetensors, written atomically, no pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hmtas.errors import InputError
from hmtas.files import atomic_path, sha256_file
from hmtas.model import SpottingModel, build_model
from hmtas.runs import WEIGHTS, RunRecord, read_run
from hmtas.store import EmbeddingStore

CHECKPOINT = "checkpoint.safetensors"
_META = "hmtas"


def save_weights(path: Path, model: nn.Module) -> str:
    """Write a model's parameters and buffers; returns the SHA-256 of the file."""
    with atomic_path(path) as scratch:
        save_file(_on_cpu(model.state_dict()), scratch)
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
            f"{path}: its checksum is not the one in {run / 'run.json'}; "
            "damaged, or copied from another run?"
        )
    model = build_model(record.streams, len(record.actions) + 1, record.config.model)
    model.load_state_dict(load_file(path))
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
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, meta: Mapping[str, Any]
) -> None:
    """Write everything that a training needs to go on after this epoch.

    The optimizer's hyperparameters come from the configuration and are not stored.

    Args:
        path: File to write.
        model: Its parameters and buffers.
        optimizer: Its per-parameter state.
        meta: JSON: position and best so far.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    with atomic_path(path) as scratch:
        save_file(_on_cpu(tensors), scratch, metadata={_META: json.dumps(meta)})


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """Restore what `save_checkpoint` wrote; returns its `meta`.

    Raises:
        InputError: If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()[_META])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: damaged checkpoint ({error}); remove it to start this run again"
        ) from None
    model.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return meta


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
