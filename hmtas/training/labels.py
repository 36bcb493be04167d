"""What a training makes of a half: how it is cut into samples, and what each of them is to say."""

from typing import NamedTuple, Protocol

import numpy as np

from hmtas.config import Config, ContextConfig
from hmtas.model.steps import Rates, rates_of
from hmtas.model.targets import step_shifts, step_targets
from hmtas.model.windows import window_targets
from hmtas.records import Events
from hmtas.training.chunks import SampleLayout


class Targets(NamedTuple):
    """Targets of a half of T rows with k labels each; k is 1 for windows."""

    classes: np.ndarray  # (T, k * C), bool, or float16 where they are soft
    shift_s: np.ndarray | None = None  # (T, k * A) float16, nan far from any event

    @property
    def num_bytes(self) -> int:
        """Memory that they take."""
        return self.classes.nbytes + (0 if self.shift_s is None else self.shift_s.nbytes)


class Labels(Protocol):
    """Of one kind of model."""

    @property
    def layout(self) -> SampleLayout:
        """How a half is cut."""

    def num_samples(self, batch_size: int) -> int:
        """Samples of a batch (`hmtas.config.TrainConfig.batch_size`)."""

    def targets(self, events: Events, num_rows: int, num_actions: int) -> Targets:
        """What is to be said of its rows."""


class WindowLabels(NamedTuple):
    """A label for the window of every row (thesis Section 5.3)."""

    seq_len: int  # L
    chunk_windows: int = 0
    rate_hz: float = 1.0

    @property
    def layout(self) -> SampleLayout:
        """Single windows, or chunks of consecutive ones."""
        return SampleLayout(self.seq_len, self.chunk_windows)

    def num_samples(self, batch_size: int) -> int:
        """Batches are counted in windows, and hold whole chunks."""
        return batch_size // self.layout.num_windows

    def targets(self, events: Events, num_rows: int, num_actions: int) -> Targets:
        """An action is in a window or not."""
        found = window_targets(events, num_rows, self.seq_len, num_actions, self.rate_hz)
        return Targets(found.astype(np.bool_))


class StepLabels(NamedTuple):
    """A label for every step of a context; its margins are there to be seen alone."""

    config: ContextConfig
    rates: Rates
    displacement: bool

    @property
    def layout(self) -> SampleLayout:
        """Contexts: as chunks of the windows that reach over a margin to each side."""
        margin = round(self.config.margin_s * self.rates.rows_hz)
        inner = round(self.config.context_s * self.rates.rows_hz) - 2 * margin
        return SampleLayout(2 * margin + 1, max(1, inner))

    def num_samples(self, batch_size: int) -> int:
        """Batches are counted in contexts."""
        return batch_size

    def targets(self, events: Events, num_rows: int, num_actions: int) -> Targets:
        """How near the events of each action are."""
        num_steps, steps_hz = num_rows * self.rates.steps_per_row, self.rates.steps_hz
        classes = step_targets(events, num_steps, num_actions, steps_hz, self.config)
        found = Targets(classes.astype(np.float16).reshape(num_rows, -1))
        if not self.displacement:
            return found
        radius_s = self.config.displacement_radius_s
        shift_s = step_shifts(events, num_steps, num_actions, steps_hz, radius_s)
        return found._replace(shift_s=shift_s.astype(np.float16).reshape(num_rows, -1))


def labels_of(config: Config, rate_hz: float) -> WindowLabels | StepLabels:
    """The labels of a configuration, on a store of so many rows a second."""
    if not config.model.labels_steps:
        return WindowLabels(config.train.seq_len, config.train.chunk_windows, rate_hz)
    rates = rates_of(config.model, rate_hz)
    return StepLabels(config.train.context, rates, config.model.displacement)
