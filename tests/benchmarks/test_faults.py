"""Sweeps with faults drawn by a seed end as undisturbed; what goes wrong would be found."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import State, make_store, run_schedules
from tests.support.tracked import copy_database
from tune.study.rows import TrialRow


@pytest.mark.slow
@pytest.mark.ray
def test_two_schedules_of_faults(
    local_ray: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "set by the schedules")
    store = make_store(tmp_path)
    copy_database(tmp_path_factory, tmp_path)
    database = tmp_path / "mlflow.db"
    assert run_schedules(tmp_path / "sweeps", store, local_ray, database, num=2, seed=0) == []


def state(*epochs: float, status: str = "done", written: int = 1) -> State:
    row = {"id": "a", "status": status, "settings": {}, "run": "trials/a", "epochs": len(epochs)}
    histories: list[dict[str, Any]] = [{"seconds": seconds} for seconds in epochs]
    weights = {"a": written} if status == "done" else {}
    return State((TrialRow.model_validate(row),), {"a": histories}, weights)


@pytest.mark.parametrize(
    ("before", "after", "damaged", "found"),
    [
        (state(1, 2, status="running"), state(1, 2, 3), {}, []),
        (state(1, 2, status="running"), state(1, 5, 3), {}, ["trained complete epochs again"]),
        (state(1, 2, status="running"), state(1, 5, 3), {"a": 1}, []),
        (state(1, status="running"), state(4, 5, 3), {"a": 2}, []),
        (
            state(1, 2, status="running"),
            state(4, 5, 3),
            {"a": 1},
            ["trained complete epochs again"],
        ),
        (state(1, 2), state(1, 2, written=7), {}, ["was run twice to its end"]),
        (state(1, 2), state(1, 2, 3), {}, ["had ended and changed"]),
        (state(1), State((), {}, {}), {}, ["is lost"]),
    ],
)
def test_what_is_lost_or_done_again_is_found(
    before: State, after: State, damaged: dict[str, int], found: list[str]
) -> None:
    assert before.lost(after, damaged) == [f"trial a {problem}" for problem in found]
