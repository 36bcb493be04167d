"""A store of random embeddings, written straight to its files: fast, of any number of games."""

from pathlib import Path

import numpy as np

from hmtas.files import atomic_path, sha256_file
from hmtas.formats.actions import ACTIONS
from hmtas.formats.embeddings import THESIS_STREAMS as THESIS
from hmtas.records import Events, HalfId
from hmtas.store.halves import labels_bytes, write_half
from hmtas.store.index import LABELS_FILE, SCHEMA_VERSION, Index, write_index
from hmtas.store.local import EmbeddingStore

# Wide enough for the rows of 50 games to fill more than one block of the loader.
SMALL = dict.fromkeys(THESIS, 170)
SPLIT = "train"
EVENTS = 110  # of a half


def write_store(
    path: Path, num_games: int, num_rows: int, streams: dict[str, int]
) -> EmbeddingStore:
    """Write `num_games` games of two halves of `num_rows` rows, all in one split."""
    rng = np.random.default_rng(0)
    rows = {name: rng.standard_normal((num_rows, w)).astype("f2") for name, w in streams.items()}
    games = tuple(f"league/season/{number:04}" for number in range(num_games))
    halves, events = [], {}
    for half in (HalfId(game, number) for game in games for number in (1, 2)):
        halves.append(write_half(path, half, rows, {"schema_version": SCHEMA_VERSION}))
        events[half] = Events(
            half=half,
            time_s=np.sort(rng.uniform(0, num_rows, EVENTS)),
            action=rng.integers(len(ACTIONS), size=EVENTS),
            visible=np.ones(EVENTS, dtype=np.bool_),
        )
    with atomic_path(path / LABELS_FILE) as scratch:
        scratch.write_bytes(labels_bytes([item.half for item in halves], events))
    index = Index(
        rate_hz=1.0,
        slack_s=0.0,
        actions=ACTIONS,
        streams=tuple(streams.items()),
        splits={SPLIT: games},
        labelled_games=games,
        labels_sha256=sha256_file(path / LABELS_FILE),
        halves=tuple(halves),
    )
    write_index(path, index)
    return EmbeddingStore.open(path)
