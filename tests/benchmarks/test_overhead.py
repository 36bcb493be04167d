"""The benchmark of a sweep's overhead times the whole command, and the trainings of its trials."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.paths import ROOT

FILE = ROOT / "benchmarks" / "overhead.py"


@pytest.fixture
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("overhead_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stubbed(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Four trials of 5 epochs in 30 s, whose trainings took 8 s and 6 s of a processor each."""
    rows = [SimpleNamespace(id=name, run=name, status="done", epochs=5) for name in "abcd"]
    marks = {"until Ray is up": 10.0, "trials": 18.0, "after the last": 2.0}
    stubs: dict[str, Any] = {
        "rows": rows,
        "write_season": lambda *_: None,
        "pack": lambda *_: None,
        "epochs_in": lambda *_: 5,
        "run_sweep": lambda *_: (30.0, marks),
        "read_study": lambda _: SimpleNamespace(trials=rows),
        "read_run": lambda run: SimpleNamespace(config=run.name),
        "train_alone": lambda _, configs, folder: [benchmark.Cost(8.0, 6.0) for _ in configs],
    }
    for name, stub in stubs.items():
        monkeypatch.setattr(benchmark, name, stub, raising=name != "rows")
    return benchmark


def test_ratios_by_hand(
    stubbed: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = stubbed.measure(tmp_path, 4, 8.0)
    # 14 s beyond the 16 s of two trainings at a time, and so beyond the 160 s of the full size.
    assert found == {"wall_over_ideal": round(30 / 16, 3), "at_full_size": round(174 / 160, 3)}
    assert "at_full_size <= 1.25: met" in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"status": "failed"}, {"epochs": 4}])
def test_a_trial_that_did_less_is_an_error(
    stubbed: ModuleType, tmp_path: Path, change: dict[str, Any]
) -> None:
    vars(stubbed.rows[2]).update(change)
    with pytest.raises(SystemExit, match=r"\['c'\] did not train 5 epochs"):
        stubbed.measure(tmp_path, 4, 8.0)


def test_a_trial_that_is_missing_is_an_error(stubbed: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="4 trials"):
        stubbed.measure(tmp_path, 5, 8.0)


@pytest.mark.slow
@pytest.mark.ray
def test_the_last_line_has_every_number() -> None:
    command = [sys.executable, str(FILE), "--trials", "2", "--seconds", "0.1", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert list(found) == ["wall_over_ideal", "at_full_size"]
    # Trials of a moment: nearly all of the command is what it takes beyond them.
    assert found["wall_over_ideal"] > 2
