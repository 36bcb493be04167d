"""The space that is searched unless a user says otherwise, and how a user changes it."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

from pydantic import ValidationError

from hmtas.config import Config, setting_paths
from hmtas.errors import InputError, join_problems
from tune.space import BY_ACTION, POWER, SCALE, WINDOWS, Choice, Range, Space, value_at

Weights = Literal["rate", "per_action", "fixed"]

SEQ_LEN = "train.seq_len"
GAMMA = "train.gamma"
LEARNING_RATE = "train.learning_rate"
WIDTH = "model.width"
DROPOUT = "model.stream_dropout"
THRESHOLD = "spotting.threshold"
TIED: dict[str, tuple[str, ...]] = {
    DROPOUT: ("model.fusion_dropout", "model.head_dropout")  # one 0.4 in the thesis
}


def parse_weights(text: str) -> Weights:
    """Check the name of a form of class weights.

    Raises:
        InputError: If there is no such form.
    """
    if text not in get_args(Weights):
        raise InputError(f"--weights must be one of {', '.join(get_args(Weights))}, got {text!r}")
    return cast(Weights, text)


def build_space(
    base: Config,
    actions: Sequence[str],
    *,
    weights: Weights = "rate",
    search_windows: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Space:
    """The default space around a configuration, with a user's changes.

    Args:
        base: What the study starts from; the widths are half, once and twice its width.
        actions: The store's actions.
        weights: Class weights as two numbers (`rate`), one per action (`per_action`), or left as
            they are in `base` (`fixed`).
        search_windows: Also search the NMS window of each action, 7 to 20 s, and the threshold.
        overrides: Setting name to `{"low": ..., "high": ..., "log": ..., "step": ...}`, to a list
            of choices, or to one value that fixes it.

    Raises:
        InputError: If names or values of `overrides` are wrong; all of them at once.
    """
    dimensions: dict[str, Range | Choice] = {
        SEQ_LEN: Range(low=2, high=7, integer=True),
        GAMMA: Range(low=0.5, high=1.0),
        LEARNING_RATE: Range(low=1e-4, high=1e-2, log=True),
        WIDTH: Choice(choices=_widths(base)),
        DROPOUT: Range(low=0.0, high=0.6),
    }
    if not _allows(base, GAMMA, 0.5):  # without stream heads the whole loss is the fused one
        del dimensions[GAMMA]
    fixed: dict[str, Any] = {}
    if weights == "rate":
        dimensions[SCALE] = Range(low=1.0, high=30.0, log=True)
        dimensions[POWER] = Range(low=0.0, high=1.0)
    elif weights == "per_action":
        fixed[POWER] = None
        dimensions |= {f"{BY_ACTION}.{a}": Range(low=1.0, high=80.0, log=True) for a in actions}
    if search_windows:
        dimensions |= {f"{WINDOWS}.{a}": Range(low=7.0, high=20.0, step=1.0) for a in actions}
        dimensions[THRESHOLD] = Range(low=0.0, high=0.5)
    tied = dict(TIED)
    problems = []
    for name, wanted in (overrides or {}).items():
        try:
            path = _resolve(name, actions)
            entry = _read_entry(base, path, wanted, dimensions.get(path))
        except InputError as error:
            problems.append(str(error))
            continue
        tied = {head: tuple(t for t in tail if t != path) for head, tail in tied.items()}
        if isinstance(entry, Range | Choice):
            dimensions[path] = entry
            continue
        dimensions.pop(path, None)
        fixed |= dict.fromkeys((path, *tied.pop(path, ())), entry)
    if problems:
        raise InputError(f"bad space: {join_problems(problems)}")
    return Space(dimensions=dimensions, fixed=fixed, tied=tied)


def _allows(base: Config, path: str, value: Any) -> bool:
    try:
        base.updated({path: value})
    except InputError:
        return False
    return True


def _widths(base: Config) -> tuple[int, ...]:
    width, heads = base.model.width, base.model.num_heads
    fits = [
        w for w in (width // 2, width, 2 * width) if base.model.kind == "fcnn" or w % heads == 0
    ]
    return tuple(w for w in fits if w > 0)


def _resolve(name: str, actions: Sequence[str]) -> str:
    """The one setting path a name stands for, as in `Config.updated`, with known actions only."""
    for open_path in (BY_ACTION, WINDOWS):
        for prefix in (open_path, open_path.rpartition(".")[2]):
            if name.startswith(f"{prefix}."):
                action = name[len(prefix) + 1 :]
                if action not in actions:
                    raise InputError(
                        f"unknown action {action!r} in {name!r}{_hint(action, actions)}"
                    )
                return f"{open_path}.{action}"
    paths = [path for path in setting_paths() if path not in (BY_ACTION, WINDOWS)]
    found = [path for path in paths if path == name or path.endswith(f".{name}")]
    if len(found) > 1:
        raise InputError(f"{name!r} could be any of {', '.join(found)}")
    if not found:
        known = paths + [path.rpartition(".")[2] for path in paths]
        raise InputError(f"unknown setting {name!r}{_hint(name, known)}")
    return found[0]


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _read_entry(
    base: Config, path: str, wanted: Any, default: Range | Choice | None
) -> Range | Choice | Any:
    """One override: a dimension, or the value that fixes it; each of its ends must be valid."""
    entry = wanted
    try:
        if isinstance(wanted, list):
            entry = Choice(choices=tuple(wanted))
        elif isinstance(wanted, dict):
            like = default.model_dump() if isinstance(default, Range) else {}
            current = value_at(base, path)
            whole = isinstance(current, int) and not isinstance(current, bool)
            inherited = {"log": like.get("log", False), "integer": like.get("integer", whole)}
            entry = Range(**(inherited | wanted))
    except (ValidationError, TypeError) as error:
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InputError(f"{path}: {text}, got {wanted!r}") from None
    if isinstance(entry, Range):
        tried: tuple[Any, ...] = (entry.nearest(entry.low), entry.nearest(entry.high))
    else:
        tried = entry.choices if isinstance(entry, Choice) else (entry,)
    for value in tried:
        try:
            base.updated({path: value})
        except InputError as error:
            raise InputError(str(error).removeprefix("bad settings: ")) from None
    return entry
