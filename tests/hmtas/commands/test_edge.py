"""Defends: nothing gets past the command line as a traceback, unless one is asked for."""

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hmtas.cli import main
from tests.support.blocked import unreadable
from tests.support.members import SPLITS, model, write_store
from tests.support.paths import ROOT
from tests.support.store_tree import packed, tree

Fails = Callable[..., str]
A = "l/s/a"


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must fail, and give its one line."""

    def run(*words: object, code: int = 2, whole: bool = False) -> str:
        monkeypatch.setattr("sys.argv", ["hmtas", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == code
        said = capsys.readouterr().err
        assert ("Traceback" in said) == ("--debug" in words)
        (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
        return said if whole else line

    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("edge")
    return model(root / "run", write_store(root, SPLITS), seed=0, radius_s=3.0)


def ascii_only(*words: str) -> str:
    """Run Python in a process that knows ASCII alone; its stdout."""
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    return done.stdout.decode("ascii")


@pytest.mark.parametrize("name", ["splits.json", f"{A}/Labels-v2.json", f"{A}/1_tpn.npy"])
def test_a_season_that_may_not_be_read(name: str, tmp_path: Path, fails: Fails) -> None:
    games = tree(tmp_path / "games")
    with unreadable(games / name):
        line = fails("pack", games, tmp_path / "store")
    assert f"{games / name}: permission denied; does it belong to another user?" in line
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", [A, "l/s"])
def test_a_game_that_may_not_be_read(name: str, tmp_path: Path, fails: Fails) -> None:
    games = tree(tmp_path / "games")
    with unreadable(games / name):
        line = fails("pack", games, tmp_path / "store")
    assert f"{games / A}: permission denied" in line
    assert "misspelt" not in line


@pytest.mark.parametrize("name", ["store.json", "labels.arrow"])
def test_a_store_that_may_not_be_read(name: str, tmp_path: Path, fails: Fails) -> None:
    store = packed(tmp_path)[0]
    with unreadable(store / name):
        line = fails("baseline", store, "--out", tmp_path / "run")
    assert f"{name}: permission denied" in line


@pytest.mark.parametrize("name", ["run.json", "predictions/valid.arrow", "predictions"])
def test_a_run_that_may_not_be_read(name: str, run: Path, fails: Fails) -> None:
    with unreadable(run / name):
        assert f"{run / name}: permission denied" in fails("score", run, "--split", "valid")


def test_a_terminal_without_the_character(run: Path) -> None:
    show = r"show(Table(heads=('n', '\u2014 \u2026'), rows=(('1', 'Atl\xe9tico'),)))"
    program = (
        "from hmtas.terminal.console import emit, say, show, prepare_streams as begin\n"
        f"from hmtas.terminal.table import Table\nbegin(); {show}; "
        r"say('\xe9'); emit({'\xe9': '\xf1'})"
    )
    *table, document = ascii_only("-c", program).splitlines()
    assert any("Atl\\xe9tico" in line for line in table)
    assert json.loads(document) == {"é": "ñ"}
    shown = ascii_only("-m", "hmtas", "score", str(run), "--split", "valid")
    assert "Average-mAP" in shown


def test_a_name_that_the_system_s_encoding_cannot_hold(run: Path, tmp_path: Path) -> None:
    there = shutil.copytree(run, tmp_path / "Atlético")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        ascii_only("-m", "hmtas", "score", str(there), "--split", "valid")
    assert caught.value.returncode == 2
    line = caught.value.stderr.decode().splitlines()[-1]
    assert line.startswith("error: the encoding of this system, ascii, or of this terminal cannot")
    assert "set PYTHONUTF8=1" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_results_that_cannot_be_written(run: Path) -> None:
    with (
        Path("/dev/full").open("w") as full,
        pytest.raises(subprocess.CalledProcessError) as caught,
    ):
        subprocess.run(
            [sys.executable, "-m", "hmtas", "score", str(run), "--split", "valid", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=True,
            cwd=ROOT,
        )
    assert caught.value.returncode == 2
    assert caught.value.stderr.decode().splitlines()[-1] == (
        "error: no space left on device; free some space and run the same command again"
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "2>/dev/full"])
def test_a_closed_or_full_terminal_does_not_spoil_the_work(closed: str, tmp_path: Path) -> None:
    games = tree(tmp_path / "games")
    line = f"{shlex.quote(sys.executable)} -m hmtas pack {games} {tmp_path / 'store'} {closed}"
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == (2 if "full" in closed else 0)
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "store" / "store.json").is_file() or "full" in closed


def test_a_link_that_leads_back_to_itself(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    line = fails("baseline", tmp_path / "loop", "--out", tmp_path / "run")
    assert "a link that leads back to itself" in line or "no store here" in line


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (("predict", "r", "--split", "valid", "--split", "test"), "--split"),
        (("predict", "r", "--split=valid", "--device", "cpu", "--split", "test"), "--split"),
        (("ensemble", "fit", "a", "b", "--out", "c", "--split=x", "--split", "y"), "--split"),
    ],
)
def test_an_option_that_counts_once_and_is_given_twice_is_said(
    words: tuple[str, ...], flag: str, fails: Fails
) -> None:
    assert f"note: {flag} is given twice; only the last one counts" in fails(*words, whole=True)
    assert "given twice" not in fails(*words[:-2], whole=True)


def test_a_fault_of_ours_is_a_line_too(
    tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = packed(tmp_path)[0]
    monkeypatch.setattr("hmtas.store.local.read_index", lambda: None)  # which takes a path
    line = fails("baseline", store, "--out", tmp_path / "run", code=1)
    assert line.startswith("error: TypeError at hmtas/store/local.py:")
    assert "this is a fault of hmtas, please report it" in line
    try:
        assert fails("--debug", "baseline", store, "--out", tmp_path / "run", code=1) == line
    finally:
        logging.getLogger("hmtas").setLevel(logging.NOTSET)
