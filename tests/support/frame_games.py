"""Games for mAP by frames: spots close to events, ties, shared frames, halves without either."""

import numpy as np

from hmtas.records import Events, HalfId, Spots
from tests.support.metric_games import Games


def frame_games(seed: int, num_games: int, num_actions: int, fps: float) -> Games:
    """Seeded spots and events of a few seconds: most spots are within some frames of an event."""
    generator = np.random.default_rng(seed)
    spot: dict[HalfId, Spots] = {}
    event: dict[HalfId, Events] = {}
    for game in range(num_games):
        for number in (1, 2):
            half = HalfId(f"league/season/game {game}", number)
            m, extra = generator.integers(0, 12), generator.integers(0, 8)
            truth = np.sort(generator.integers(0, 150, m))
            action = generator.integers(0, num_actions, m)
            near = np.maximum(truth + generator.integers(-4, 5, m), 0)
            guessed = np.where(generator.random(m) < 0.8, action, (action + 1) % num_actions)
            event[half] = Events(
                half=half, time_s=truth / fps, action=action, visible=np.ones(m, dtype=np.bool_)
            )
            order = generator.permutation(m + extra)
            frame = np.concatenate([near, generator.integers(0, 150, extra)])[order]
            spot[half] = Spots(
                half=half,
                time_s=frame / fps,
                action=np.concatenate([guessed, generator.integers(0, num_actions, extra)])[order],
                confidence=generator.choice(
                    [0.0, 0.25, 0.5, 0.75, *generator.random(8)], m + extra
                ),
            )
    return spot, event
