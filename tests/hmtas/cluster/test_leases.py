"""CPUs of a machine are lent once: no two hold the same, nobody waits forever."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from hmtas.cluster import leases
from hmtas.cluster.leases import NUM_CPUS, leased, say_lent
from hmtas.errors import InputError

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def _pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three CPUs, apart from those of other tests."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv(NUM_CPUS, "3")


def note(log: Path, num_cpus: int) -> None:
    """Take CPUs for a while, three times, and write when."""
    for _ in range(3):
        with leased(num_cpus):
            began = time.monotonic()
            time.sleep(0.05)
            ended = time.monotonic()
        with log.open("a") as file:
            file.write(f"{began} {num_cpus}\n{ended} {-num_cpus}\n")


def hold(ready: Path) -> None:
    with leased(2):
        ready.touch()
        time.sleep(60)


def wait(begun: Path, waited: Path) -> None:
    begun.touch()
    with leased(1) as waited_s:
        waited.write_text(str(waited_s))


def started(target: Callable[..., None], *arguments: object) -> SpawnProcess:
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    return process


def wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_no_more_are_lent_than_there_are(tmp_path: Path) -> None:
    log = tmp_path / "log"
    others = [started(note, log, num_cpus) for num_cpus in (1, 2, 3, 2, 1)]
    for process in others:
        process.join(60)
        assert process.exitcode == 0, "nobody waits forever"
    changes = sorted(tuple(map(float, line.split())) for line in log.read_text().splitlines())
    lent, most = 0.0, 0.0
    for _, change in changes:
        lent += change
        most = max(most, lent)
    assert len(changes) == 30
    assert most == 3, "together all, and never more"


def test_a_process_that_dies_gives_its_cpus_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = started(hold, tmp_path / "ready")
    wait_for(tmp_path / "ready")
    say_lent()
    assert "have 2 of its 3 CPUs" in capsys.readouterr().err
    with leased(1):
        pass  # what is left is free to take
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with leased(3):
        pass
    say_lent()
    assert capsys.readouterr().err == ""


def test_more_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    with leased(99):
        assert len(list(leases._folder().glob("[0-9]*.lock"))) == 3


def test_a_cluster_counts_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NUM_CPUS)
    with leased(2):
        say_lent()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["link", "dangling", "file"])
def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path, there: str) -> None:
    place = tmp_path / f"hmtas-cpus-{os.getuid()}"
    if there == "file":
        place.touch()
    else:
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / ("elsewhere" if there == "link" else "nowhere"))
    with pytest.raises(InputError, match="TMPDIR"), leased(1):
        pass


def test_the_wait_is_told(tmp_path: Path) -> None:
    with leased(3) as waited_s:
        assert waited_s < 1
        waiter = started(wait, tmp_path / "begun", tmp_path / "waited")
        wait_for(tmp_path / "begun")
        time.sleep(1)
    waiter.join(30)
    assert float((tmp_path / "waited").read_text()) >= 1
