"""Names of settings: as they are typed, where they stand, what they are called elsewhere."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from hmtas.errors import InputError, did_you_mean, join_problems


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` words of the command line; a value is JSON, else plain text."""
    settings: dict[str, Any] = {}
    problems = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            problems.append(f"{assignment!r} must read like name=value")
            continue
        try:
            settings[name.strip()] = json.loads(text)
        except json.JSONDecodeError:
            settings[name.strip()] = text
    if problems:
        raise InputError(f"bad settings: {join_problems(problems)}")
    return settings


_KEYED_BY_ACTION = ("by_action", "windows_s")  # keyed by the store's actions, not by us


def short_names(path: str) -> list[str]:
    """What may stand for a path: itself, and its ends, such as `class_weights.by_action`."""
    parts = path.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def locate(name: str, paths: Sequence[str]) -> tuple[str, str]:
    """The place of a setting among all paths.

    It is ("train", "seq_len") for `train.seq_len` or `seq_len`.

    Settings keyed by action accept any action: a store may have others than SoccerNet's.

    Raises:
        InputError: If no setting, or more than one, has this name.
    """
    for path in paths:
        for prefix in short_names(path) if path.endswith(_KEYED_BY_ACTION) else ():
            if name.startswith(f"{prefix}."):
                return path, name[len(prefix) + 1 :]
    found = [path for path in paths if path == name or path.endswith(f".{name}")]
    if len(found) > 1:
        raise InputError(f"{name!r} could be any of {', '.join(found)}")
    if not found:
        raise InputError(f"unknown setting {name!r}{_setting_meant(name, paths)}")
    parent, _, key = found[0].rpartition(".")
    return parent, key


# What settings are called elsewhere, without case and "_" or "-", and what they may be here.
ELSEWHERE = {
    "lr": ("learning_rate",),
    "wd": ("weight_decay",),
    "l2": ("weight_decay",),
    "bs": ("batch_size",),
    "batch": ("batch_size",),
    "epochs": ("max_epochs",),
    "numepochs": ("max_epochs",),
    "nepochs": ("max_epochs",),
    "earlystopping": ("patience",),
    "context": ("context_s",),
    "reach": ("reach_s",),
    "receptivefield": ("reach_s",),
    "dilation": ("reach_s",),
    "radius": ("radius_s",),
    "labelradius": ("radius_s",),
    "hz": ("output_rate_hz",),
    "rate": ("output_rate_hz", "learning_rate"),
    "fps": ("output_rate_hz",),
    "margin": ("margin_s",),
    "ema": ("ema_decay",),
    "swa": ("ema_decay",),
    "clip": ("clip_norm",),
    "gradclip": ("clip_norm",),
    "warmup": ("warmup_epochs",),
    "focal": ("focal_exponent",),
    "focalgamma": ("focal_exponent",),
    "scheduler": ("schedule",),
    "window": ("seq_len", "default_window_s"),
    "windowlength": ("seq_len",),
    "windowsize": ("seq_len",),
    "length": ("seq_len",),
    "l": ("seq_len",),
    "nmswindow": ("default_window_s", "windows_s.ACTION"),
    "nmswindows": ("default_window_s", "windows_s.ACTION"),
    "dropout": ("stream_dropout", "fusion_dropout", "head_dropout", "encoder_dropout"),
    "heads": ("num_heads",),
    "nheads": ("num_heads",),
    "layers": ("num_layers",),
    "nlayers": ("num_layers",),
    "depth": ("num_layers",),
    "hidden": ("width",),
    "hiddensize": ("width",),
    "hiddendim": ("width",),
    "dmodel": ("width",),
    "dim": ("width",),
    "mixup": ("mixup_alpha",),
    "alpha": ("mixup_alpha",),
    "weights": ("by_action.ACTION", "power", "scale"),
    "classweights": ("by_action.ACTION", "power", "scale"),
    "streams": ("exclude_streams",),
    "amp": ("precision",),
    "fp16": ("precision",),
    "bf16": ("precision",),
    "dtype": ("precision",),
}


def _setting_meant(name: str, paths: Iterable[str]) -> str:
    """What to add to an error about an unknown setting: its name here, if that is known."""
    leaf = name.rpartition(".")[2]
    found = ELSEWHERE.get(leaf.lower().replace("_", "").replace("-", ""))
    if found:
        return f", did you mean {' or '.join(map(repr, found))}?"
    known = [*paths, *(path.rpartition(".")[2] for path in paths)]
    return did_you_mean(name, known) or did_you_mean(leaf.lower(), known)
