"""Rows of a stream of another rate are brought to the rate of the store.

Row j of a stream at r Hz is the moment j / r and stands for the interval [j / r, (j + 1) / r).
Every row of the store is a weighted mean of rows that follow each other, so a half can be made in
pieces, with the same result however it is cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, inf, isclose
from typing import Literal, cast, get_args

import numpy as np

from hmtas.errors import InputError, did_you_mean
from hmtas.formats.embeddings import SOCCERNET_HZ

Method = Literal["nearest", "linear", "mean"]
METHODS: tuple[Method, ...] = get_args(Method)
_ENOUGH = 1.5  # rows of a stream for a row of the store, from which their mean is taken
_ROUNDING = 1e-6  # of a row: less than that at the end is no data, but a rate with few digits


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How the rows of one stream become rows of the store."""

    stream: str
    rate_hz: float  # of its files
    store_hz: float
    method: Method
    known: str = ""  # where the rate comes from, unless it was given

    def __str__(self) -> str:
        known = f" ({self.known})" if self.known else ""
        return (
            f"{self.stream}: {self.rate_hz:g} Hz{known}, brought to {self.store_hz:g} Hz by "
            f"{self.method}"
        )

    @property
    def ratio(self) -> float:
        """Rows of the stream for a row of the store."""
        return self.rate_hz / self.store_hz

    def num_rows(self, num_rows: int) -> int:
        """Rows of the store whose interval holds some of `num_rows` rows; at least one."""
        return max(1, ceil(num_rows / self.ratio - _ROUNDING))

    def weights(self, start: int, stop: int, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """What rows `start` to `stop` of the store are made of.

        Returns:
            first: int64 (n,), the first row of the stream that counts, of `num_rows`.
            weights: float32 (n, K), of that row and those after it; the sum of each row is 1. It
                is 0 past the last row of the stream.
        """
        position = np.arange(start, stop) * self.ratio
        if self.method == "mean":
            first = np.minimum(np.floor(position).astype(np.int64), num_rows - 1)
            rows = first[:, None] + np.arange(ceil(self.ratio) + 1)
            begin = np.maximum(rows, position[:, None])
            end = np.minimum(rows + 1, position[:, None] + self.ratio)
            weights = np.where(rows < num_rows, np.maximum(end - begin, 0), 0)
        elif self.method == "linear":
            position = np.minimum(position, num_rows - 1)
            first = np.floor(position).astype(np.int64)
            after = position - first
            weights = np.stack([1 - after, after], axis=1)
        else:
            nearest = np.ceil(position - 0.5 - _ROUNDING).astype(np.int64)
            first = np.clip(nearest, 0, num_rows - 1)
            weights = np.ones((len(first), 1))
        return first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The rates of all streams, and how those of another than the store's are brought to it.

    Raises:
        InputError: If a stream's rate is not positive and finite, or a method is unknown.
    """

    plain_hz: float | None = None  # of the store and of every file; None if it was not given
    by_stream_hz: Mapping[str, float] = field(default_factory=dict)
    listed_hz: Mapping[str, float] = field(default_factory=dict)  # by the label files
    plain_method: str | None = None  # of every stream; None for what suits its rate
    method_by_stream: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, rate_hz in self.by_stream_hz.items():
            if not 0 < rate_hz < inf:
                raise InputError(
                    f"rate of stream {name!r} must be positive and finite, got {rate_hz:g} Hz"
                )
        for method in (self.plain_method, *self.method_by_stream.values()):
            if method is not None and method not in METHODS:
                raise InputError(
                    f"no method {method!r} to bring rows to another rate"
                    f"{did_you_mean(method, METHODS)}; there are {', '.join(METHODS)}"
                )

    @property
    def store_hz(self) -> float:
        """Rows per second of the store."""
        return 1.0 if self.plain_hz is None else self.plain_hz

    @property
    def named(self) -> tuple[str, ...]:
        """The streams that are named, once each."""
        return tuple(dict.fromkeys([*self.by_stream_hz, *self.method_by_stream]))

    def resampling(self, stream: str) -> Resampling | None:
        """How a stream is brought to the rate of the store; None if it has that rate."""
        rate_hz, known = self._rate_of(stream)
        if isclose(rate_hz, self.store_hz):
            return None
        suits = "mean" if rate_hz >= _ENOUGH * self.store_hz else "linear"
        method = self.method_by_stream.get(stream, self.plain_method) or suits
        return Resampling(
            stream=stream,
            rate_hz=rate_hz,
            store_hz=self.store_hz,
            method=cast(Method, method),
            known=known,
        )

    def _rate_of(self, stream: str) -> tuple[float, str]:
        """The rate of a stream, and where it comes from unless it was given."""
        given_hz = self.by_stream_hz.get(stream, self.plain_hz)
        if given_hz is not None:
            return given_hz, ""
        if stream in self.listed_hz:
            return self.listed_hz[stream], "as the label files say"
        if stream in SOCCERNET_HZ:
            return SOCCERNET_HZ[stream], "as SoccerNet's are"
        return self.store_hz, ""
