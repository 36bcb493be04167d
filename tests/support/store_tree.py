"""Tiny SoccerNet trees for the tests of the store."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.packing.pack import PackReport, pack

NUM_ROWS = 30
WIDTHS = {"tpn": 8, "vggish": 4}
GAMES = {"train": ["l/s/a", "l/s/b"], "valid": ["l/s/c"], "test": ["l/s/d"], "challenge": ["l/s/e"]}
SMALL = {"train": ["l/s/a"], "valid": ["l/s/c"]}


def rows(game: str, half: int, stream: str, num_rows: int = NUM_ROWS) -> np.ndarray:
    seed = [*game.encode(), half, *stream.encode()]
    width = WIDTHS.get(stream, 6)
    return np.random.default_rng(seed).standard_normal((num_rows, width), dtype=np.float32)


def save(root: Path, game: str, half: int, stream: str, values: np.ndarray) -> Path:
    path = root / game / f"{half}_{stream}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def label(half: int, seconds: float, action: str = "Goal", **more: str) -> dict[str, str]:
    whole = int(seconds)
    return {
        "gameTime": f"{half} - {whole // 60:02}:{whole % 60:02}",
        "label": action,
        "position": str(round(1000 * seconds)),
        **more,
    }


def save_labels(root: Path, game: str, annotations: Sequence[Mapping[str, str]]) -> None:
    (root / game).mkdir(parents=True, exist_ok=True)
    (root / game / "Labels-v2.json").write_text(json.dumps({"annotations": annotations}))


def save_splits(root: Path, splits: Mapping[str, Sequence[str]]) -> None:
    (root / "splits.json").write_text(json.dumps(splits))


def tree(root: Path, splits: Mapping[str, Sequence[str]] = GAMES) -> Path:
    """A sound season: two streams, two labels in half 1 and one in half 2 of each game."""
    root.mkdir(parents=True, exist_ok=True)
    for split, games in splits.items():
        for game in games:
            for half in (1, 2):
                for stream in WIDTHS:
                    save(root, game, half, stream, rows(game, half, stream))
            if split != "challenge":
                hidden = label(1, 3.4, "Foul", visibility="not shown")
                save_labels(root, game, [label(1, 12.5), hidden, label(2, 7, "Corner")])
    save_splits(root, splits)
    return root


def packed(tmp_path: Path) -> tuple[Path, PackReport]:
    """A store of that season."""
    store = tmp_path / "store"
    return store, pack(tree(tmp_path / "games"), store)


def refused(games: Path, store: Path, message: str, **options: object) -> None:
    """Packing is refused with one line that matches, and leaves nothing behind."""
    with pytest.raises(InputError, match=message) as caught:
        pack(games, store, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not store.exists()
