"""Small real things that several test files build on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmtas.config import Config
from hmtas.files import write_json
from hmtas.packing.pack import pack
from hmtas.presets import preset
from hmtas.season.write import SeasonConfig, write_season
from hmtas.store.local import EmbeddingStore

STREAMS = {"vtn": 4, "vggish": 2}


def make_store(
    root: Path, *, train: int = 4, valid: int = 2, test: int = 2, challenge: int = 0
) -> EmbeddingStore:
    """A packed season of halves of about two minutes."""
    season = SeasonConfig(
        train=train, valid=valid, test=test, challenge=challenge, minutes=2, streams=STREAMS
    )
    write_season(root / "games", season)
    pack(root / "games", root / "store")
    return EmbeddingStore.open(root / "store")


def make_counting_store(
    root: Path, num_rows: Sequence[int], goals_s: Sequence[int]
) -> EmbeddingStore:
    """Halves whose `row` counts 100 per half and 1 per row; second halves lack the audio.

    Args:
        root: Where to write.
        num_rows: Rows of the halves of some games, one after the other.
        goals_s: Seconds of the goals of every half.
    """
    games = [f"league/season/{i}" for i in range(len(num_rows) // 2)]
    goals = [{"gameTime": f"{h} - 00:0{s}", "label": "Goal"} for h in (1, 2) for s in goals_s]
    for number, count in enumerate(num_rows):
        folder, half = root / "games" / games[number // 2], 1 + number % 2
        folder.mkdir(parents=True, exist_ok=True)
        row = (100 * number + np.arange(count, dtype=np.float16))[:, None]
        np.save(folder / f"{half}_row.npy", row)
        if half == 1:
            np.save(folder / "1_audio.npy", np.ones((count, 1), np.float16))
        write_json(folder / "Labels-v2.json", {"annotations": goals})
    write_json(root / "games" / "splits.json", {"train": games})
    pack(root / "games", root / "store", actions=("Goal",))
    return EmbeddingStore.open(root / "store")


def make_config(**settings: object) -> Config:
    """A configuration that trains in a second."""
    small = {"width": 8, "num_heads": 2, "max_epochs": 2, "batch_size": 64}
    return preset("smoke").updated({**small, **settings})
