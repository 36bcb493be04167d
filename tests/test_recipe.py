"""A recipe runs every command once, goes on where it stopped, and never removes what is not its."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.recipe import Step, run_recipe


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
        run_recipe(steps(out, [*pack, "--splits", "nowhere.json"]), out, env={})
    assert "nowhere.json" in capfd.readouterr().err
    assert run_recipe(steps(out, pack), out, env={})
    said = capfd.readouterr().err
    assert "[2/2] Pack" in said
    assert "[1/2]" not in said
    assert (out / "store" / "store.json").is_file()
    assert not run_recipe(steps(out, pack), out, env={})
    assert run_recipe(steps(out, pack), out, env={}, fresh=True)
    assert "[1/2] Generate" in capfd.readouterr().err


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(InputError, match=str(tmp_path)):
            run_recipe(steps(tmp_path, []), tmp_path, env={}, fresh=fresh)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
