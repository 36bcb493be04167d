"""A season of another sport: actions of its own, events every few seconds, two rows a second."""

from pathlib import Path

import numpy as np

from hmtas.packing.pack import pack
from hmtas.store.local import EmbeddingStore
from tests.support.store_tree import label, save, save_labels, save_splits

ACTIONS = (
    "near-court player serves from the deuce side",
    "far-court player serves from the advantage side",
    "near-court player hits a backhand/volley",
    "far-court player hits a forehand. or a smash",
    "ball bounces",
    "point ends",
)
SPLITS = {"train": 4, "valid": 4, "test": 2}
RATE_HZ = 2.0


def make_rallies(
    root: Path, actions: tuple[str, ...] = ACTIONS, *, seconds: int = 120, never: str | None = None
) -> EmbeddingStore:
    """A packed season; an event of any action every 0.75 to 2 s, seen in one feature of its own.

    Args:
        root: Where to write.
        actions: Those of the store.
        seconds: Length of a half.
        never: An action of them that does not happen.
    """
    rng = np.random.default_rng(0)
    happen = [a for a, name in enumerate(actions) if name != never]
    splits = {
        split: [f"league/season/{split} {i}" for i in range(number)]
        for split, number in SPLITS.items()
    }
    for game in (game for games in splits.values() for game in games):
        annotations = []
        for half in (1, 2):
            time_s = np.cumsum(rng.uniform(0.75, 2, 2 * seconds))
            time_s = time_s[time_s < seconds - 1]
            kinds = rng.choice(happen, len(time_s))
            rows = 0.3 * rng.standard_normal((round(seconds * RATE_HZ), len(actions) + 2))
            np.add.at(rows, ((time_s * RATE_HZ).round().astype(int), kinds), 4.0)
            save(root / "games", game, half, "court", rows.astype(np.float32))
            annotations += [label(half, t, actions[a]) for t, a in zip(time_s, kinds, strict=True)]
        save_labels(root / "games", game, annotations)
    save_splits(root / "games", splits)
    pack(root / "games", root / "store", actions=actions, rate_hz=RATE_HZ)
    return EmbeddingStore.open(root / "store")
