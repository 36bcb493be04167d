"""SoccerNet's own evaluator, called with `Spots` and `Events`."""

import importlib
import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from hmtas.metric.matching import NUM_CELLS
from hmtas.records import Events, HalfId, Score, Spots

NAMES = ("average_map", "per_action", "visible", "per_action_visible", "unshown",
         "per_action_unshown")  # fmt: skip

needs_soccernet = pytest.mark.skipif(
    importlib.util.find_spec("SoccerNet") is None, reason="SoccerNet is not installed"
)


def evaluator() -> Any:
    """The module, without its progress bars."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("SoccerNet.Evaluation.ActionSpotting")
    module.tqdm = lambda steps: steps  # type: ignore[attr-defined]
    return module


def official(
    spot: Mapping[HalfId, Spots],
    event: Mapping[HalfId, Events],
    num_actions: int,
    tolerances_s: Sequence[float],
    num_cells: int = NUM_CELLS,
    *,
    grid_hz: int = 2,
) -> dict[str, Any]:
    """The six outputs of `average_mAP`, from vectors as it makes them, shorter if asked."""
    targets, detections, closests = [], [], []
    for half in sorted(event):
        target = np.zeros((num_cells, num_actions))
        detection = np.full((num_cells, num_actions), -1.0)
        labels, found = event[half], spot[half]
        for time_s, action, visible in zip(
            labels.time_s, labels.action, labels.visible, strict=True
        ):
            target[min(int(grid_hz * time_s), num_cells - 1), action] = 1 if visible else -1
        for time_s, action, value in zip(found.time_s, found.action, found.confidence, strict=True):
            detection[min(int(grid_hz * time_s), num_cells - 1), action] = value
        targets.append(target)
        detections.append(detection)
        closests.append(closest(target))
    with np.errstate(all="ignore"):
        outputs = evaluator().average_mAP(
            targets, detections, closests, grid_hz, np.array(tolerances_s)
        )
    return {name: np.asarray(value).tolist() for name, value in zip(NAMES, outputs, strict=True)}


def closest(target: np.ndarray) -> np.ndarray:
    """As `evaluate` has it inline, line by line."""
    nearest = np.zeros(target.shape) - 1
    for c in range(target.shape[1]):
        indexes = np.where(target[:, c] != 0)[0].tolist()
        if not indexes:
            continue
        indexes.insert(0, -indexes[0])
        indexes.append(2 * nearest.shape[0])
        for i in range(1, len(indexes) - 1):
            start = max(0, (indexes[i - 1] + indexes[i]) // 2)
            stop = min(nearest.shape[0], (indexes[i] + indexes[i + 1]) // 2)
            nearest[start:stop, c] = target[indexes[i], c]
    return nearest


def evaluate(labels: Any, results: Any, actions: Sequence[str], metric: str) -> dict[str, Any]:
    """The six outputs of `evaluate` on files: folders or zips, every game below `labels`."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files open
        found = evaluator().evaluate(
            str(labels),
            str(results),
            metric=metric,
            dataset=None,
            EVENT_DICTIONARY={action: a for a, action in enumerate(actions)},
        )
    keys = ("a_mAP", "a_mAP_per_class", "a_mAP_visible", "a_mAP_per_class_visible",
            "a_mAP_unshown", "a_mAP_per_class_unshown")  # fmt: skip
    return {name: np.asarray(found[key]).tolist() for name, key in zip(NAMES, keys, strict=True)}


def assert_official(result: Score, expected: Mapping[str, Any]) -> None:
    """All six outputs equal to 1e-12; the evaluator has 0 where we have nan."""
    for name in NAMES:
        ours = np.nan_to_num(getattr(result, name), nan=0.0)
        np.testing.assert_allclose(ours, expected[name], rtol=0, atol=1e-12, err_msg=name)
