"""Align several models' probabilities into one (M, T, A) array per half. Numpy only.

Halves are laid on top of each other when they are asked for: hundreds of models stay in their
mapped files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hmtas.errors import InputError
from hmtas.records import HalfId, Probabilities
from hmtas.terminal.text import counted

SLACK_S = 5.0  # by how much the lengths that two models give to one half may differ


class ModelOutput(NamedTuple):
    """What one model says of some halves."""

    name: str
    actions: tuple[str, ...]
    halves: Mapping[HalfId, Probabilities]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Several models' probabilities on one grid of rows."""

    outputs: tuple[ModelOutput, ...]  # M models, in the order of the first axis
    rate_hz: float  # the finest of the models' rates
    num_rows: dict[HalfId, int]  # in order
    notes: tuple[str, ...] = ()  # what had to be aligned, in words; empty where the models agreed

    @property
    def models(self) -> tuple[str, ...]:
        """M names."""
        return tuple(output.name for output in self.outputs)

    @property
    def actions(self) -> tuple[str, ...]:
        """A names, in the order of the last axis."""
        return self.outputs[0].actions

    @property
    def games(self) -> tuple[str, ...]:
        """The games, sorted."""
        return tuple(sorted({half.game for half in self.num_rows}))

    @property
    def halves(self) -> Mapping[HalfId, np.ndarray]:
        """Half to float32 (M, T, A) in [0, 1], laid together anew at each look."""
        return _Made(tuple(self.num_rows), self._rows)

    def of_games(self, games: Sequence[str]) -> Mapping[HalfId, np.ndarray]:
        """The halves of some games."""
        wanted = set(games)
        return _Made(tuple(half for half in self.num_rows if half.game in wanted), self._rows)

    def of_model(self, name: str) -> Mapping[HalfId, np.ndarray]:
        """Half to float32 (T, A) of one model."""
        output = self.outputs[self.models.index(name)]
        return _Made(tuple(self.num_rows), lambda half: self._row(output, half))

    def probabilities(self, halves: Mapping[HalfId, np.ndarray]) -> dict[HalfId, Probabilities]:
        """Rows (T, A) on the grid of the models, as records."""
        return {
            half: Probabilities(half=half, values=rows, rate_hz=self.rate_hz)
            for half, rows in halves.items()
        }

    def _rows(self, half: HalfId) -> np.ndarray:
        return np.stack([self._row(output, half) for output in self.outputs])

    def _row(self, output: ModelOutput, half: HalfId) -> np.ndarray:
        """Rows of one model at the moments 0, 1 / rate_hz, ...: (T, A)."""
        part, moments = output.halves[half], np.arange(self.num_rows[half])
        nearest = np.floor(moments * (part.rate_hz / self.rate_hz) + 0.5).astype(np.int64)
        rows: np.ndarray = part.values[np.minimum(nearest, len(part.values) - 1)]
        return rows


class _Made(Mapping[HalfId, np.ndarray]):
    """Arrays that are made when they are asked for."""

    def __init__(self, halves: tuple[HalfId, ...], make: Callable[[HalfId], np.ndarray]) -> None:
        self._halves, self._make = dict.fromkeys(halves), make

    def __getitem__(self, half: HalfId) -> np.ndarray:
        if half not in self._halves:
            raise KeyError(half)
        return self._make(half)

    def __iter__(self) -> Iterator[HalfId]:
        return iter(self._halves)

    def __len__(self) -> int:
        return len(self._halves)


def stack(outputs: Sequence[ModelOutput]) -> Stack:
    """Lay the rows of the same moments on top of each other, models in the given order.

    Models of different rates meet on the finest of them: a row takes each model's nearest row in
    time. Where a model's half is shorter by at most `SLACK_S`, its last row repeats.

    Raises:
        InputError: If the actions differ, there is no half or one is missing in a model, or
            lengths differ by more than `SLACK_S`.
    """
    if not outputs:
        raise InputError("an ensemble needs at least one model, got none")
    _check_actions(outputs)
    _check_halves(outputs)
    if not outputs[0].halves:
        raise InputError(f"{outputs[0].name}: its probabilities hold no game; had the split none?")
    rates = {part.rate_hz for output in outputs for part in output.halves.values()}
    rate_hz = max(rates)
    num_rows: dict[HalfId, int] = {}
    extended: dict[HalfId, int] = {}
    for half in sorted(outputs[0].halves):
        parts = [output.halves[half] for output in outputs]
        counts = [round(len(part.values) * rate_hz / part.rate_hz) for part in parts]
        most, fewest = max(counts), min(counts)
        if most - fewest > SLACK_S * rate_hz:
            longest, shortest = outputs[counts.index(most)], outputs[counts.index(fewest)]
            raise InputError(
                f"{half}: {shortest.name} has {fewest} rows and {longest.name} has {most} at "
                f"{rate_hz:g} Hz, more than {SLACK_S:g} s apart; were they predicted on different "
                "videos?"
            )
        if most > fewest:
            extended[half] = most - fewest
        num_rows[half] = most
    return Stack(
        outputs=tuple(outputs),
        rate_hz=rate_hz,
        num_rows=num_rows,
        notes=_notes(rates, rate_hz, extended),
    )


def _check_actions(outputs: Sequence[ModelOutput]) -> None:
    first = outputs[0]
    for output in outputs[1:]:
        if output.actions != first.actions:
            differing = sorted(set(first.actions) ^ set(output.actions))
            how = f"they differ in {', '.join(differing)}" if differing else "their order differs"
            raise InputError(
                f"{output.name} and {first.name} predict different actions ({how}); "
                "only models of the same actions can be combined"
            )


def _check_halves(outputs: Sequence[ModelOutput]) -> None:
    every = set().union(*(output.halves for output in outputs))
    for output in outputs:
        missing = sorted(every - set(output.halves))
        if missing:
            named = "; ".join(str(half) for half in missing[:3])
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise InputError(
                f"{output.name} has no probabilities of {named}{more}, which another model has; "
                "predict the same split with every model"
            )


def _notes(rates: set[float], rate_hz: float, extended: Mapping[HalfId, int]) -> tuple[str, ...]:
    notes = []
    if len(rates) > 1:
        listed = ", ".join(f"{rate:g}" for rate in sorted(rates))
        notes.append(f"models of {listed} Hz were aligned by time at {rate_hz:g} Hz")
    if extended:
        notes.append(
            f"lengths of {counted(len(extended), 'half')} differ by up to "
            f"{counted(max(extended.values()), 'row')}; the last row of the shorter model repeats"
        )
    return tuple(notes)
