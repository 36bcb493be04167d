"""A recipe runs every command once, goes on where it stopped, and never removes what is not its."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.terminal.recipe import Step, run_recipe


def season(games: Path, *more: str) -> Sequence[str]:
    return ["season", str(games), "--train", "1", "--valid", "0", "--test", "0", "--minutes", "1",
            *more]  # fmt: skip


def steps(out: Path, second: Sequence[str]) -> list[Step]:
    return [
        Step("Generate", lambda: season(out / "games")),
        Step("Pack", lambda: second),
    ]


def test_a_recipe_goes_on_after_a_step_that_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    pack = ["pack", str(out / "games"), str(out / "store")]
    with pytest.raises(InputError, match="the step ended with exit code 2"):
        run_recipe(steps(out, [*pack, "--splits", "nowhere.json"]), out)
    assert "nowhere.json" in capfd.readouterr().err
    assert run_recipe(steps(out, pack), out)
    said = capfd.readouterr().err
    assert "[2/2] Pack" in said
    assert "[1/2]" not in said
    assert (out / "store" / "store.json").is_file()
    assert not run_recipe(steps(out, pack), out)
    assert run_recipe(steps(out, pack), out, fresh=True)
    assert "[1/2] Generate" in capfd.readouterr().err


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_step_ends_in_order_before_its_recipe_does(tmp_path: Path, asked: signal.Signals) -> None:
    out = tmp_path / "demo"
    with (tmp_path / "said").open("w") as said:
        recipe = subprocess.Popen(
            [sys.executable, "-m", "hmtas", "demo", str(out)],
            stderr=said,
            process_group=0,
        )
        wait_until((out / "games").is_dir)
        # A terminal asks all of a group; a batch system asks the one process that it started.
        (os.killpg if asked == signal.SIGINT else os.kill)(recipe.pid, asked)
        assert recipe.wait(60) == 128 + asked
    with pytest.raises(ProcessLookupError):
        os.killpg(recipe.pid, 0)  # nobody of the group is left
    assert "interrupted; the same command resumes at this step" in (tmp_path / "said").read_text()
    assert json.loads((out / "recipe.json").read_text()) == []


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(InputError, match=str(tmp_path)):
            run_recipe(steps(tmp_path, []), tmp_path, fresh=fresh)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
