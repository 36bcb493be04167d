"""Align several models' probabilities into one (M, T, A) array per half. Numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hmtas.errors import InputError
from hmtas.records import HalfId, Probabilities

SLACK_S = 5.0  # by how much the lengths that two models give to one half may differ


class ModelOutput(NamedTuple):
    """What one model says of some halves."""

    name: str
    actions: tuple[str, ...]
    halves: Mapping[HalfId, Probabilities]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Several models' probabilities on one grid of rows.

    Attributes:
        models: M names, in the order of the first axis.
        actions: A names, in the order of the last axis.
        rate_hz: Rows per second, the finest of the models' rates.
        halves: Half to float32 (M, T, A) in [0, 1].
        notes: What had to be aligned, in words; empty where the models agreed.
    """

    models: tuple[str, ...]
    actions: tuple[str, ...]
    rate_hz: float
    halves: dict[HalfId, np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def games(self) -> tuple[str, ...]:
        """The games, sorted."""
        return tuple(sorted({half.game for half in self.halves}))

    def of_games(self, games: Sequence[str]) -> dict[HalfId, np.ndarray]:
        """The halves of some games."""
        wanted = set(games)
        return {half: rows for half, rows in self.halves.items() if half.game in wanted}


def stack(outputs: Sequence[ModelOutput]) -> Stack:
    """Lay the rows of the same moments on top of each other.

    Models of different rates meet on the finest of them: a row takes each model's nearest row in
    time. Where a model's half is shorter by at most `SLACK_S`, its last row repeats.

    Args:
        outputs: At least one model; their order is the order of the first axis.

    Raises:
        InputError: If the actions differ, a half is missing in a model, or lengths differ by more
            than `SLACK_S`.
    """
    if not outputs:
        raise InputError("an ensemble needs at least one model, got none")
    _check_actions(outputs)
    _check_halves(outputs)
    order = sorted(outputs[0].halves)
    rates = {part.rate_hz for output in outputs for part in output.halves.values()}
    rate_hz = max(rates, default=1.0)
    halves = {}
    extended: dict[HalfId, int] = {}
    for half in order:
        parts = [output.halves[half] for output in outputs]
        counts = [_num_rows(part, rate_hz) for part in parts]
        num_rows, fewest = max(counts), min(counts)
        if num_rows - fewest > SLACK_S * rate_hz:
            longest, shortest = outputs[counts.index(num_rows)], outputs[counts.index(fewest)]
            raise InputError(
                f"{half}: {shortest.name} has {fewest} rows and {longest.name} has {num_rows} at "
                f"{rate_hz:g} Hz, more than {SLACK_S:g} s apart; were they predicted on different "
                "videos?"
            )
        if num_rows > fewest:
            extended[half] = num_rows - fewest
        halves[half] = np.stack([_on_grid(part, num_rows, rate_hz) for part in parts])
    return Stack(
        models=tuple(output.name for output in outputs),
        actions=outputs[0].actions,
        rate_hz=rate_hz,
        halves=halves,
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


def _num_rows(part: Probabilities, rate_hz: float) -> int:
    return round(len(part.values) * rate_hz / part.rate_hz)


def _on_grid(part: Probabilities, num_rows: int, rate_hz: float) -> np.ndarray:
    """Rows of one model at the moments 0, 1 / rate_hz, ...: (num_rows, A)."""
    nearest = np.floor(np.arange(num_rows) * (part.rate_hz / rate_hz) + 0.5).astype(np.int64)
    rows: np.ndarray = part.values[np.minimum(nearest, len(part.values) - 1)]
    return rows


def _notes(rates: set[float], rate_hz: float, extended: Mapping[HalfId, int]) -> tuple[str, ...]:
    notes = []
    if len(rates) > 1:
        listed = ", ".join(f"{rate:g}" for rate in sorted(rates))
        notes.append(f"models of {listed} Hz were aligned by time at {rate_hz:g} Hz")
    if extended:
        notes.append(
            f"lengths of {len(extended)} halves differ by up to {max(extended.values())} rows; "
            "the last row of the shorter model repeats"
        )
    return tuple(notes)
