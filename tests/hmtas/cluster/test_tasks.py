"""Ray tasks run a few at a time, and one that fails does not take the others with it."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hmtas.cluster.tasks import run_tasks
from hmtas.errors import InputError
from hmtas.refusals import describe_error

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
OPTIONS = {"num_cpus": 0, "max_retries": 0}


def work(folder: Path, name: str) -> None:
    """Leave a mark while it runs; each name fails in its own way."""
    (folder / f"{name}.running").touch()
    if name == "mistake":
        raise InputError("this is wrong\nand more")
    if name == "bug":
        raise KeyError("missing")
    if name == "death":
        os._exit(1)
    time.sleep(0.2)
    (folder / f"{name}.running").unlink()
    (folder / f"{name}.done").touch()


def test_at_most_so_many_run_at_once_and_errors_are_collected(tmp_path: Path) -> None:
    names = ["a", "mistake", "b", "bug", "death", "c"]
    seen: list[Sequence[str]] = []
    ended: dict[str, Exception | None] = {}
    errors = run_tasks(
        work,
        {name: (tmp_path, name) for name in names},
        at_once=2,
        options=OPTIONS,
        on_poll=seen.append,
        on_end=lambda name, error: ended.update({name: error}),
    )
    assert max(len(running) for running in seen) == 2
    assert {name for name, error in ended.items() if error is None} == {"a", "b", "c"}
    assert {path.stem for path in tmp_path.glob("*.done")} == {"a", "b", "c"}
    assert set(errors) == {"mistake", "bug", "death"}
    assert isinstance(errors["mistake"], InputError)
    assert describe_error(errors["mistake"]) == "this is wrong"
    assert describe_error(errors["bug"]) == "KeyError: 'missing'"
    assert describe_error(errors["death"]).startswith("WorkerCrashedError: ")


def test_who_polls_can_end_the_wait(tmp_path: Path) -> None:
    def stop(running: Sequence[str]) -> None:
        if running:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(work, {"a": (tmp_path, "a")}, at_once=1, options=OPTIONS, on_poll=stop)
