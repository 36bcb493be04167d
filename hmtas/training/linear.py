"""A linear model on the rows of a store: what every other model has to beat.

Ridge regression of "is the action within a few seconds of this row" on all streams side by side,
one output per action. It is solved from sums over the train rows, so that every row counts,
memory does not grow with the number of games, and nothing is drawn at random. The official metric
reads confidences at 200 even thresholds, so the outputs are spread over [0, 1]: the value of a
row is 1 - log(rank) / log(rows), its rank taken among the train rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hmtas import __version__
from hmtas.config import Config
from hmtas.errors import InputError, did_you_mean
from hmtas.model.windows import near_events
from hmtas.records import HalfId, Probabilities
from hmtas.runs.environment import this_environment
from hmtas.runs.probabilities import store_predictions
from hmtas.runs.record import RECORD, RunRecord, read_run, write_run
from hmtas.store.halves import Half, refuse_damage
from hmtas.store.local import EmbeddingStore
from hmtas.training.on_store import on_store

NAME = "linear"
MAX_FEATURES = 4096  # the sums take its square, 8 bytes each, and its cube to solve
RIDGE = 1e-3  # relative to the variance of a standardised feature
NUM_KNOTS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearModel:
    """Ridge regression on the rows of several streams, F features in all."""

    # Side by side, name to width; one more feature each says if it is there
    streams: dict[str, int]
    weight: np.ndarray  # (F, A) float64
    offset: np.ndarray  # (A,) float64
    knots: np.ndarray  # (`NUM_KNOTS`, A) float64, outputs on train rows, ascending
    spread: np.ndarray  # (`NUM_KNOTS`,) value in [0, 1] of each knot

    def predict(self, half: Half, rate_hz: float = 1.0) -> Probabilities:
        """Confidences of every row of a half, spread over [0, 1]; ranks, not rates."""
        x = _features(half, self.streams)
        if not np.isfinite(x).all():
            refuse_damage(half)
        output = x @ self.weight + self.offset
        values = np.stack(
            [
                np.interp(output[:, a], self.knots[:, a], self.spread)
                for a in range(len(self.offset))
            ],
            axis=1,
        )
        return Probabilities(half=half.half, values=values.astype(np.float32), rate_hz=rate_hz)


def _features(half: Half, streams: Mapping[str, int]) -> np.ndarray:
    """(T, F) float32; a missing stream is zeros, its last feature says whether it is there."""
    parts = []
    for name, width in streams.items():
        rows = half.streams.get(name)
        part = np.zeros((half.num_rows, width + 1), np.float32)
        if rows is not None:
            part[:, :width] = rows
            part[:, width] = 1
        parts.append(part)
    return np.concatenate(parts, axis=1)


def fit_linear(
    store: EmbeddingStore,
    games: Sequence[str],
    streams: Mapping[str, int],
    *,
    radius_s: float = 3.0,
    on_half: Callable[[], None] = lambda: None,
) -> LinearModel:
    """Fit on every row of some games; each half is read twice, and `on_half` called each time.

    Rows at most `radius_s` from an event are positive for its action.
    """
    halves = store.halves_of(games)
    num_features = sum(streams.values()) + len(streams)
    num_actions, radius = len(store.actions), round(radius_s * store.rate_hz)
    square = np.zeros((num_features, num_features))
    cross = np.zeros((num_features, num_actions))
    total_x, total_y, num_rows = np.zeros(num_features), np.zeros(num_actions), 0
    for half in halves:
        opened = store.open_half(half)
        x = _features(opened, streams)
        if not np.isfinite(x).all():
            refuse_damage(opened)
        y = near_events(store.events(half), len(x), radius, num_actions, store.rate_hz)
        square += x.T @ x
        cross += x.T @ y
        total_x += x.sum(axis=0, dtype=np.float64)
        total_y += y.sum(axis=0)
        num_rows += len(x)
        on_half()
    mean_x, mean_y = total_x / num_rows, total_y / num_rows
    covariance = square / num_rows - np.outer(mean_x, mean_x)
    variance = np.diag(covariance)
    # A feature that never changes has no variance but rounding: its weight becomes 0.
    scale = np.where(variance > 1e-8, 1 / np.sqrt(np.maximum(variance, 1e-8)), 0.0)
    normal = covariance * np.outer(scale, scale) + RIDGE * np.eye(num_features)
    right = (cross / num_rows - np.outer(mean_x, mean_y)) * scale[:, None]
    weight = np.linalg.solve(normal, right) * scale[:, None]
    offset = mean_y - mean_x @ weight
    outputs = []
    for half in halves:
        outputs.append((_features(store.open_half(half), streams) @ weight).astype(np.float32))
        on_half()
    knots, spread = _spread(np.concatenate(outputs) + offset)
    return LinearModel(
        streams=dict(streams), weight=weight, offset=offset, knots=knots, spread=spread
    )


def _spread(output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots of the map from an output to 1 - log(rank) / log(rows); see the head of the file."""
    num_rows = len(output)
    rank = np.unique(np.geomspace(1, num_rows, NUM_KNOTS).round().astype(np.int64))[::-1]
    knots = np.sort(output, axis=0)[num_rows - rank]
    return knots.astype(np.float64), 1 - np.log(rank) / np.log(max(num_rows, 2))


def run_baseline(
    store: EmbeddingStore,
    out: Path,
    splits: Sequence[str],
    *,
    streams: Sequence[str] | None = None,
    radius_s: float = 3.0,
    nms_window_s: float | None = None,
    on_half: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Fit on the train games, predict some splits, write an ordinary run folder.

    `nms_window_s` is the suppression window of every action that the run's configuration asks
    for when it is scored; None keeps those of the thesis, or of the store where it has others.

    Returns:
        The files of probabilities written.

    Raises:
        InputError: If a split or stream does not exist, no train game has labels or events, or
            the streams are too wide for the sums, or if `out` holds another run: its windows and
            scores would pass for those of this one.
    """
    used = _choose_streams(store, streams)
    for split in splits:
        store.some_games(split)
    games = tuple(game for game in store.games("train") if store.has_labels(game))
    if not games:
        raise InputError(f"{store.place}: no game of split 'train' has labels; nothing to fit on")
    if not store.has_events(games):
        raise InputError(
            f"{store.place}: the labels of split 'train' hold no event; nothing to fit on"
        )
    excluded = tuple(name for name in store.streams if name not in used)
    config = on_store(_config(excluded, store.actions, nms_window_s), store)
    _refuse_another(out, store, config, radius_s)
    model = fit_linear(store, games, used, radius_s=radius_s, on_half=on_half)
    record = RunRecord(
        name=NAME,
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=config,
        store=store.place,
        store_checksum=store.checksum,
        streams=used,
        actions=store.actions,
        rate_hz=store.rate_hz,
        num_parameters=model.weight.size + model.offset.size,
        environment=this_environment(),
        radius_s=radius_s,
        fitted_games=games,
    )

    def predict(half: HalfId) -> Probabilities:
        found = model.predict(store.open_half(half), store.rate_hz)
        on_half()
        return found

    paths = []
    for split in splits:
        predicted = [predict(half) for half in store.halves_of(store.games(split))]
        paths.append(store_predictions(out, record, split, predicted))
    write_run(out, record)
    return paths


def _refuse_another(out: Path, store: EmbeddingStore, config: Config, radius_s: float) -> None:
    if not (out / RECORD).is_file():
        return
    begun = read_run(out)
    same = begun.store_checksum == store.checksum
    if not same or (begun.config, begun.radius_s) != (config, radius_s):
        raise InputError(
            f"{out}: holds a run of {'other flags' if same else 'another store'} "
            f"({begun.name!r}); choose another folder or remove this one"
        )


def _config(
    excluded: tuple[str, ...], actions: Sequence[str], nms_window_s: float | None
) -> Config:
    settings = {"train.seq_len": 1, "model.exclude_streams": excluded}
    if nms_window_s is None:
        return Config().updated(settings)
    windows_s = {f"spotting.windows_s.{action}": nms_window_s for action in actions}
    return Config().updated({**settings, "spotting.default_window_s": nms_window_s, **windows_s})


def num_steps(store: EmbeddingStore, splits: Sequence[str]) -> int:
    """How often `run_baseline` calls `on_half`."""
    train = [game for game in store.games("train") if store.has_labels(game)]
    predicted = [game for split in splits for game in store.games(split)]
    return 2 * len(store.halves_of(train)) + len(store.halves_of(predicted))


def _choose_streams(store: EmbeddingStore, wanted: Sequence[str] | None) -> dict[str, int]:
    names = list(store.streams) if wanted is None else list(wanted)
    unknown = [name for name in names if name not in store.streams]
    if unknown or not names:
        raise InputError(
            f"{store.place}: no stream {', '.join(unknown) or 'named'}; "
            f"this store has {', '.join(store.streams)}"
            f"{did_you_mean(unknown[0], store.streams) if unknown else ''}"
        )
    used = {name: store.streams[name] for name in names}
    if sum(used.values()) > MAX_FEATURES:
        raise InputError(
            f"the linear model takes at most {MAX_FEATURES} features, but the streams "
            f"{', '.join(f'{name} ({width})' for name, width in used.items())} have "
            f"{sum(used.values())}; choose some with --streams"
        )
    return used
