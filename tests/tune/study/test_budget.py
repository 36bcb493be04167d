"""The hours of a study count in all its drivers together."""

from pathlib import Path

import pytest

from hmtas.errors import InputError
from tune.study import budget
from tune.study.budget import FILE, Budget, out_of_time, read_budget, start_budget, stop_budget


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    clock = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])
    return clock


def test_time_is_out_after_the_hours(tmp_path: Path, now: list[float]) -> None:
    start_budget(tmp_path, hours=1)
    now[0] = 3599
    assert not out_of_time(tmp_path)
    now[0] = 3600
    assert out_of_time(tmp_path)
    assert stop_budget(tmp_path).left_s == 0


def test_a_driver_goes_on_where_the_killed_one_was(tmp_path: Path, now: list[float]) -> None:
    start_budget(tmp_path, hours=2)
    now[0] = 4000
    assert not out_of_time(tmp_path)  # writes what is spent; then the driver dies
    now[0] = 100000
    assert start_budget(tmp_path, None) == Budget(hours=2, spent_s=4000)
    now[0] += 3200
    assert out_of_time(tmp_path)
    stop_budget(tmp_path)
    start_budget(tmp_path, hours=3)
    assert not out_of_time(tmp_path), "more hours, in all"
    stop_budget(tmp_path)


def test_without_hours_time_is_never_out(tmp_path: Path, now: list[float]) -> None:
    start_budget(tmp_path, None)
    now[0] = 1e9
    assert not out_of_time(tmp_path)
    assert stop_budget(tmp_path) == Budget(spent_s=1e9)
    assert not out_of_time(tmp_path / "other")


def test_a_malformed_budget_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"hours": -1}')
    with pytest.raises(InputError, match="greater than 0"):
        read_budget(tmp_path)
