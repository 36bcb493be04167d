"""What a model is to say of each step of a half, and how far each step is from the next event.

The counterpart of `hmtas.model.windows` for models that label every step of a context; a step is
the moment `step / steps_hz`. Pure numpy.
"""

from collections.abc import Iterator

import numpy as np

from hmtas.config import ContextConfig
from hmtas.records import Events


def step_targets(
    events: Events, num_steps: int, num_actions: int, steps_hz: float, config: ContextConfig
) -> np.ndarray:
    """Targets of every step by its distance to the nearest event of each action.

    Within `radius_s`, both ends included, a hard target is 1; a triangular one falls from 1 at the
    event to 0 past the radius; a gaussian one has a standard deviation of half the radius.

    Returns:
        (steps, C) float32 in [0, 1]; column 0, the background, is what the largest target leaves.
    """
    target = np.zeros((num_steps, num_actions + 1), dtype=np.float32)
    for part, action, shift_s in _near(events, num_steps, steps_hz, config.radius_s):
        share = np.abs(shift_s) / config.radius_s
        if config.target == "hard":
            value = np.ones_like(share)
        elif config.target == "triangular":
            step = 1 / (steps_hz * config.radius_s)
            value = 1 - share / (1 + step)  # past the radius, so that every step within has some
        else:
            value = np.exp(-0.5 * (2 * share) ** 2)
        column = target[part, action + 1]
        np.maximum(column, value, out=column)
    target[:, 0] = 1 - target[:, 1:].max(axis=1)
    return target


def step_shifts(
    events: Events, num_steps: int, num_actions: int, steps_hz: float, radius_s: float
) -> np.ndarray:
    """Seconds from every step to the nearest event of each action.

    Returns:
        (steps, A) float32; negative where the event is past, nan where none is within `radius_s`.
    """
    shift_s = np.full((num_steps, num_actions), np.nan, dtype=np.float32)
    for part, action, found_s in _near(events, num_steps, steps_hz, radius_s):
        column = shift_s[part, action]
        nearer = ~(np.abs(column) <= np.abs(found_s))
        column[nearer] = found_s[nearer]
    return shift_s


def _near(
    events: Events, num_steps: int, steps_hz: float, radius_s: float
) -> Iterator[tuple[slice, int, np.ndarray]]:
    """For each event the steps within the radius, its action, and how far it is from each.

    One that is annotated past the last step counts for the last step.
    """
    for time_s, action in zip(events.time_s, events.action, strict=True):
        moment_s = min(time_s, (num_steps - 1) / steps_hz)
        first = max(0, int(np.ceil((moment_s - radius_s) * steps_hz - 1e-9)))
        stop = min(num_steps, int(np.floor((moment_s + radius_s) * steps_hz + 1e-9)) + 1)
        steps = np.arange(first, stop)
        yield slice(first, stop), int(action), moment_s - steps / steps_hz
