"""Labels that leaked into a model's input, which its record cannot say.

A record says which games a model was fitted on, not that labels were copied into a stream. Two
things give that away:
    a feature of a stream that is nearly the labels of an action (its correlation with them);
    an action that a model spots nearly without error, which no video and no commentary allows:
    tight average precisions of the best published models lie below 0.9.
"""

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hmtas.model.windows import near_events
from hmtas.records import Score
from hmtas.store.local import EmbeddingStore

FEWEST_EVENTS = 10  # with fewer of an action, chance can look like knowledge
MOST_CORRELATION = 0.9
MOST_PRECISION = 0.95
MOST_GAMES = 20  # to read of a store that may hold 100 GB; a leak is in all of them
RADIUS_ROWS = 2  # labels may have been spread over the rows beside the event


def too_good(names: Sequence[str], scores: Sequence[Score], actions: Sequence[str]) -> list[str]:
    """Models whose tight score of an action is nearly perfect, the worst action of each."""
    found = []
    for name, score in zip(names, scores, strict=True):
        enough_A = score.num_events >= FEWEST_EVENTS
        value_A = np.where(enough_A, np.nan_to_num(score.per_action), 0.0)
        a = int(value_A.argmax())
        if value_A[a] >= MOST_PRECISION:
            found.append(
                f"{name} has an average precision of {value_A[a]:.3f} on "
                f"{score.num_events[a]} events of {actions[a]!r}, tight"
            )
    return found


def leaking_features(
    store: EmbeddingStore,
    games: Sequence[str],
    streams: Sequence[str],
    *,
    on_game: Callable[[], None],
) -> list[str]:
    """Features that are nearly the labels of an action, the worst feature of each stream.

    Up to `MOST_GAMES` of the games are looked at, evenly taken; streams that the store lacks are
    passed over.
    """
    looked_at = list(games)[:: max(1, len(games) // MOST_GAMES)][:MOST_GAMES]
    events = store.events_of(looked_at)
    sums: dict[str, _Sums] = {}
    for game in looked_at:
        for half in store.halves_of([game]):
            opened = store.open_half(half)
            for name in streams:
                if name in opened.streams:
                    rows_TF = np.asarray(opened.streams[name], dtype=np.float32)
                    labels = [
                        near_events(
                            events[half], len(rows_TF), radius, len(store.actions), store.rate_hz
                        )
                        for radius in range(RADIUS_ROWS + 1)
                    ]
                    added = _Sums.of(rows_TF, np.stack(labels))
                    sums[name] = added if name not in sums else sums[name].plus(added)
        on_game()
    found = []
    for name, of_stream in sums.items():
        worst = of_stream.worst(store.actions)
        if worst is not None:
            feature, action, value = worst
            found.append(
                f"feature {feature} of stream {name!r} has a correlation of {value:.3f} with the "
                f"labels of {action!r}"
            )
    return found


class _Sums(NamedTuple):
    """What correlations of F features with labels of A actions are made of; S spreads of labels."""

    num_rows: float
    x_F: np.ndarray
    xx_F: np.ndarray
    y_SA: np.ndarray
    events_A: np.ndarray
    xy_SAF: np.ndarray

    @classmethod
    def of(cls, rows_TF: np.ndarray, labels_STA: np.ndarray) -> "_Sums":
        wide_TF = np.nan_to_num(rows_TF)
        return cls(
            float(len(rows_TF)),
            wide_TF.sum(axis=0, dtype=np.float64),
            np.square(wide_TF).sum(axis=0, dtype=np.float64),
            labels_STA.sum(axis=1, dtype=np.float64),
            labels_STA[0].sum(axis=0, dtype=np.float64),
            np.einsum("sta,tf->saf", labels_STA, wide_TF, optimize=True).astype(np.float64),
        )

    def plus(self, other: "_Sums") -> "_Sums":
        return _Sums(*map(operator.add, self, other))

    def worst(self, actions: Sequence[str]) -> tuple[int, str, float] | None:
        """The feature, action and correlation that is highest, if too high."""
        covariance = self.xy_SAF / self.num_rows - (
            self.y_SA[..., None] / self.num_rows * self.x_F / self.num_rows
        )
        var_F = self.xx_F / self.num_rows - (self.x_F / self.num_rows) ** 2
        var_SA = self.y_SA / self.num_rows * (1 - self.y_SA / self.num_rows)
        spread = np.sqrt(np.maximum(var_F, 0) * np.maximum(var_SA, 0)[..., None])
        with np.errstate(invalid="ignore", divide="ignore"):
            value_SAF = np.where(spread > 0, np.abs(covariance) / spread, 0.0)
        value_SAF[:, self.events_A < FEWEST_EVENTS] = 0.0
        _, a, f = (int(i) for i in np.unravel_index(int(value_SAF.argmax()), value_SAF.shape))
        value = float(value_SAF.max())
        return (f, actions[a], value) if value >= MOST_CORRELATION else None
