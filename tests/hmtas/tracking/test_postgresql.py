"""MLflow's store on PostgreSQL, where several drivers write at once; a real server."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError, TransientError
from hmtas.tracking.client import connect
from hmtas.tracking.parent import Outbox, Parent
from hmtas.tracking.table import read_table
from tests.support.postgres import PASSWORD, postgresql
from tests.support.tracked import make_run, write_score

pytestmark = pytest.mark.slow

NUM_RUNS = 6


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with postgresql() as found:
        connect(found)  # makes its tables
        yield found


@pytest.fixture(autouse=True)
def _tracked_there(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


def drive(folder: Path) -> None:
    """What the driver of a sweep does with MLflow."""
    outbox = Outbox(Parent(folder, "two drivers"))
    outbox.start()
    for n in range(NUM_RUNS):
        outbox.post(make_run(folder / "trials" / f"{folder.name}-{n}"))
        time.sleep(0.1)
    outbox.finish("hmtas tune sync")


def test_two_drivers_write_at_once(uri: str, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    drivers = [spawn.Process(target=drive, args=(tmp_path / name,)) for name in ("a", "b")]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join(120)
        assert driver.exitcode == 0
    names = [row.name for row in read_table("two drivers")]
    assert sorted(names) == [f"{name}-{n}" for name in "ab" for n in range(NUM_RUNS)]
    client = connect(uri)
    for row in read_table("two drivers"):
        points = client.get_metric_history(row.run_id, "train_loss")
        assert [(p.step, p.value) for p in points] == [(1, 1.0), (2, 0.5)], "each once"


def test_compare_reads_it_and_shows_no_password(tmp_path: Path) -> None:
    for name, tight in (("good", 0.5), ("better", 0.6)):
        write_score(make_run(tmp_path / name), "valid", tight, cross_fitted=True)
    words = ["sync", str(tmp_path / "good"), str(tmp_path / "better"), "--experiment", "scored"]
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(build(), ["compare", "--experiment", "scored"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.index("better") < shown.output.index("good")
    written = [p.read_text() for p in tmp_path.rglob("*.json")]
    assert not any(PASSWORD in text for text in [done.output, shown.output, *written])


def test_a_wrong_password_is_one_line(uri: str) -> None:
    with pytest.raises(InputError, match="password authentication failed") as raised:
        connect(uri.replace(PASSWORD, "wrong"))
    assert "\n" not in str(raised.value)
    assert "wrong" not in str(raised.value)


def test_a_server_that_is_down_is_one_line(uri: str) -> None:
    port = uri.rpartition(":")[2].partition("/")[0]
    with pytest.raises(TransientError, match="no database answers there"):
        connect(uri.replace(port, "1"))
    assert os.environ["MLFLOW_TRACKING_URI"] == uri
