"""Labels and embeddings that cannot be packed are one line and exit code 2, and leave no store."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.cli import main
from hmtas.formats.recognise import FORMATS
from tests.support.label_files import DOCUMENTS as LABELS
from tests.support.label_files import FPS, GAMES, TABLE, file_of, put_labels, text_of
from tests.support.mutated import mutations
from tests.support.store_tree import label, save, save_labels

NUMBER = 20  # damaged files of each format
Pack = Callable[..., tuple[int, str]]
A = GAMES[0]


@pytest.fixture
def hmtas_pack(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pack:
    """Run `hmtas pack`; its exit code, and the error if there is one."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hmtas", "pack", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(lines) == (code != 0)
        return code, "".join(lines)

    return run


@pytest.fixture
def season(tmp_path: Path) -> Path:
    """Embeddings of two games, two halves each, 30 s at 1 Hz, and splits."""
    root = tmp_path / "season"
    for n, game in enumerate(GAMES):
        for half in (1, 2):
            rows = np.random.default_rng([n, half]).standard_normal((30, 4), dtype=np.float32)
            save(root, game, half, "tpn", rows)
    (tmp_path / "splits.json").write_text(json.dumps({"train": [A], "challenge": [GAMES[1]]}))
    return root


def check_absent(store: Path) -> None:
    assert not store.exists() or not any(store.iterdir())


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_labels_are_packed_or_refused_in_one_line(
    kind: str, season: Path, tmp_path: Path, hmtas_pack: Pack
) -> None:
    path = file_of(season, kind)
    options = ["--splits", tmp_path / "splits.json", "--spot-at", "start", "--fps", FPS]
    options += ["--format", kind, "--allow-missing-halves"]
    put_labels(season, kind)
    assert hmtas_pack(season, tmp_path / "sound", *options) == (0, "")
    codes = []
    for number, content in enumerate(mutations(LABELS[kind], kind, NUMBER, seed=19)):
        path.write_bytes(content)
        store = tmp_path / f"store{number}"
        code, line = hmtas_pack(season, store, *options)
        assert code in (0, 2), line
        codes.append(code)
        if code == 2:
            check_absent(store)
            assert line.startswith("error: ")
        assert not list(store.rglob("*.part"))
        assert (store / "store.json").exists() == (code == 0)
    assert 2 in codes


def spoil_name(season: Path) -> None:
    save_labels(season, A, [label(1, 5, "goal")])


def spoil_team(season: Path) -> None:
    save_labels(season, A, [label(1, 5, team="left"), label(2, 7)])


def spoil_part(season: Path) -> None:
    (season / A / "2_tpn.npy").unlink()


def spoil_label_of_part(season: Path) -> None:
    save_labels(season, A, [label(3, 5)])


def spoil_splits(season: Path) -> None:
    splits = {"val": [A], "valid": [GAMES[1]]}
    (season / "splits.json").write_text(json.dumps(splits))


def spoil_two_formats(season: Path) -> None:
    (season / "labels.csv").write_text(text_of(TABLE, "csv"))


def nothing(season: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        (spoil_name, [], ("'goal' and 'Goal' differ", "--rename goal=Goal")),
        (nothing, ["--rename", "goal=Goal"], ("--rename 'goal'", "did you mean 'Goal'?")),
        (nothing, ["--rename", "Goal"], ("--rename 'Goal'", "OLD=NEW")),
        (nothing, ["--rename", "Goal=Tor"], ("Tor", "unknown action")),
        (spoil_team, ["--by-team"], ("'Goal' has no team", "--by-team")),
        (nothing, ["--actions", "nowhere.txt"], ("no such file of actions",)),
        (nothing, ["--format", "osl-v1"], ("no file of format osl-v1", "looked for")),
        (nothing, ["--fps", "0"], ("fps",)),
        (spoil_part, [], (f"{A}, half 2", "--allow-missing-halves")),
        (spoil_label_of_part, [], (f"{A}, half 3", "--allow-missing-halves")),
        (spoil_splits, [], ("'valid' is there under two names",)),
        (spoil_two_formats, [], ("--format soccernet-v2 or --format csv",)),
    ],
)
def test_a_season_that_does_not_tell_is_refused(
    spoil: Callable[[Path], None],
    options: list[str],
    words: tuple[str, ...],
    *,
    season: Path,
    tmp_path: Path,
    hmtas_pack: Pack,
) -> None:
    save_labels(season, A, [label(1, 5), label(2, 7)])
    (season / "splits.json").write_text((tmp_path / "splits.json").read_text())
    spoil(season)
    code, line = hmtas_pack(season, tmp_path / "store", *options)
    assert code == 2
    assert [word for word in words if word not in line] == []
    check_absent(tmp_path / "store")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([{"video": A, "fps": -1, "events": [{"frame": 5, "label": "x"}]}], ("fps is -1", "--fps")),
        ({"database": {A: {"annotations": []}}}, ("--spot-at start, middle or end",)),
        ({"data": [{"id": A}, {"id": f"{A}.mp4"}]}, (f"'{A}' is in", "which of the two")),
        ({"videos": [{"path": A, "annotations": [{"label": "x"}]}]}, ("neither position nor",)),
        ({"games": []}, ("its format is not known", "'games'", "looked for")),
        ([], ("its format is not known", "a list", "looked for")),
    ],
)  # fmt: skip
def test_a_file_that_does_not_tell_is_refused(
    document: Any, words: tuple[str, ...], season: Path, tmp_path: Path, hmtas_pack: Pack
) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(document))
    code, line = hmtas_pack(path, tmp_path / "store", "--features", season)
    assert code == 2
    assert [word for word in words if word not in line] == []
    check_absent(tmp_path / "store")
