"""Spots and events for the tests of the metric: by hand, and seeded ones that touch every rule."""

import numpy as np

from hmtas.metric.counts import Histograms
from hmtas.records import Events, HalfId, Spots

HALF = HalfId("league/season/game", 1)
Games = tuple[dict[HalfId, Spots], dict[HalfId, Events]]


def spots(*rows: tuple[float, int, float], half: HalfId = HALF) -> Spots:
    columns = np.array(rows, dtype=float).reshape(-1, 3).T
    return Spots(
        half=half, time_s=columns[0], action=columns[1].astype(np.int64), confidence=columns[2]
    )


def events(*rows: tuple[float, int, bool], half: HalfId = HALF) -> Events:
    columns = np.array(rows, dtype=float).reshape(-1, 3).T
    return Events(
        half=half,
        time_s=columns[0],
        action=columns[1].astype(np.int64),
        visible=columns[2].astype(np.bool_),
    )


def drawn(counts: Histograms, times_G: np.ndarray) -> Histograms:
    """The season in which each game was played this often, in copies of its halves."""
    which = np.repeat(np.arange(len(counts.halves)), times_G[counts.game_of_half].astype(int))
    hit_bins = [counts.hit_bin[counts.hit_half == h] for h in which]
    return Histograms(
        halves=tuple(HalfId(f"copy {n}", 1) for n in range(len(which))),
        tolerances_s=counts.tolerances_s,
        detections=counts.detections[which],
        hit_half=np.repeat(np.arange(len(which)), [len(bins) for bins in hit_bins]),
        hit_bin=np.concatenate(hit_bins),
        num_events=counts.num_events[which],
    )


def random_games(seed: int, num_games: int, num_actions: int, length_s: float = 60) -> Games:
    """Seeded spots and events that touch every rule: ties, shared cells, unshown, empty halves."""
    generator = np.random.default_rng(seed)
    spot: dict[HalfId, Spots] = {}
    event: dict[HalfId, Events] = {}
    for game in range(num_games):
        for number in (1, 2):
            half = HalfId(f"league/season/game {game}", number)
            n, m = generator.integers(0, 40), generator.integers(0, 15)
            confidence = generator.choice([0, 1, 0.5, *generator.random(6)], n)
            spot[half] = Spots(
                half=half,
                time_s=generator.integers(0, int(length_s * 1000), n) / 1000,
                action=generator.integers(0, num_actions, n),
                confidence=np.asarray(confidence, dtype=float),
            )
            event[half] = Events(
                half=half,
                time_s=np.sort(generator.integers(0, int(length_s * 1000), m)) / 1000,
                action=generator.integers(0, max(1, num_actions - game % 2), m),
                visible=generator.random(m) < 0.7,
            )
    return spot, event
