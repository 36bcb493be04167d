"""Small real things that several test files build on."""

from pathlib import Path

from hmtas.config import Config
from hmtas.presets import preset
from hmtas.season.write import SeasonConfig, write_season
from hmtas.store.local import EmbeddingStore
from hmtas.store.pack import pack

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


def make_config(**settings: object) -> Config:
    """A configuration that trains in a second."""
    small = {"width": 8, "num_heads": 2, "max_epochs": 2, "batch_size": 64}
    return preset("smoke").updated({**small, **settings})
