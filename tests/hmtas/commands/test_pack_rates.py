"""`hmtas pack` takes rates and methods by stream, says what looks wrong first, and what it did."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hmtas.cli import main
from hmtas.store.local import EmbeddingStore
from tests.support.store_tree import SMALL, rows, save, tree

Said = tuple[str, str]  # stdout and stderr
Pack = Callable[..., Said]


@pytest.fixture
def games(tmp_path: Path) -> Path:
    """A season with vggish of 2 Hz."""
    games = tree(tmp_path / "games", SMALL)
    for names in SMALL.values():
        for game in names:
            for half in (1, 2):
                save(games, game, half, "vggish", rows(game, half, "vggish", 60))
    return games


@pytest.fixture
def pack(
    games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Pack:
    """Pack them."""

    def run(*words: str, code: int = 0) -> Said:
        monkeypatch.setattr(
            "sys.argv", ["hmtas", "pack", str(games), str(tmp_path / "store"), *words]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        found = capsys.readouterr()
        return found.out, found.err

    return run


def test_rates_and_methods_by_stream(pack: Pack, tmp_path: Path) -> None:
    out, _ = pack("--rate-hz", "vggish=2", "--resample", "vggish=nearest")
    assert "\nvggish: 2 Hz, brought to 1 Hz by nearest\n" in out
    store = EmbeddingStore.open(tmp_path / "store")
    found = next(iter(store.halves))
    np.testing.assert_array_equal(
        store.open_half(found).streams["vggish"],
        rows(*found, "vggish", 60)[::2].astype(np.float16),
    )
    out, err = pack("--rate-hz", "2", "--rate-hz", "tpn=1", "--resample", "linear")
    assert "tpn: 1 Hz, brought to 2 Hz by linear" in out
    assert "vggish:" not in out
    assert "wrote" in err
    assert EmbeddingStore.open(tmp_path / "store").rate_hz == 2


def test_the_file_of_five_streams_has_one_rate(pack: Pack, games: Path) -> None:
    fine = np.zeros((60, 8576), np.float16)
    for path in games.rglob("*_tpn.npy"):
        np.save(path.with_name(f"{path.name[0]}_baidu_soccer_embeddings.npy"), fine)
        path.unlink()
    out, _ = pack("--rate-hz", "baidu_soccer_embeddings=2", "--rate-hz", "vggish=2")
    assert out.count("2 Hz, brought to 1 Hz by mean") == 6


def test_warnings_are_said_before_a_half_is_packed_and_counted_after(
    pack: Pack, games: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in games.rglob("1_*.npy"):
        path.write_bytes(path.read_bytes() + bytes(9))
    with monkeypatch.context() as patch:
        patch.setattr("hmtas.commands.store.NUM_LISTED", 3)
        out, err = pack("--slack-s", "60")
    lines = [" ".join(line.split()) for line in err.splitlines()]
    said = [line for line in lines if line.startswith("warning: ")]
    assert re.match(r"warning: streams 'tpn' and 'vggish' differ alike in 4 of 4 halves", said[0])
    assert said[0].endswith("--rate-hz vggish=2")
    assert said[1].startswith(f"warning: {games}/l/s/a/1_tpn.npy: goes on after its array, by 9 b")
    assert said[3:] == ["warning: ... and 2 more; --json lists all"]
    assert lines.index(said[3]) < min(k for k, line in enumerate(lines) if "packing" in line)
    assert "5 warnings, said before packing" in out
    assert "all rows equal" not in out

    # Those of a season that is then refused are said, and nothing is written.
    values = np.load(games / "l/s/a/1_tpn.npy")
    values[3] = np.nan
    np.save(games / "l/s/a/1_tpn.npy", values)
    _, err = pack("--slack-s", "60", code=2)
    assert err.index("warning: ") < err.index("error: ")
    assert not (tmp_path / "store/store.json").exists()


def test_json_has_all_warnings_rates_and_streams_that_are_constant(pack: Pack, games: Path) -> None:
    for path in games.rglob("*_tpn.npy"):
        path.write_bytes(path.read_bytes() + bytes(9))
    values = np.ones((30, 8), np.float32)
    save(games, "l/s/c", 2, "tpn", values)
    values[7, 3] = 2  # first and last row are equal
    save(games, "l/s/c", 1, "vggish", values.repeat(2, axis=0)[:, :4])
    out, err = pack("--rate-hz", "vggish=2", "--json")
    document = json.loads(out)
    assert document["resampled"] == [
        {"stream": "vggish", "rate_hz": 2.0, "store_hz": 1.0, "method": "mean", "known": ""}
    ]
    assert len(document["warnings"]) == 3
    assert document["constant"] == [[["l/s/c", 2], "tpn"]]
    assert err.count("warning: ") == 3
    out, _ = pack("--rate-hz", "vggish=2", "--json")
    assert json.loads(out)["complete"]
