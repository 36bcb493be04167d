"""Two sweeps at once on one machine, each with a Ray of its own, end as one does alone."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hmtas.runs.record import RECORD, predictions_path, read_run
from hmtas.store.local import EmbeddingStore
from tests.support.tracked import copy_database
from tune.study.record import TRIALS, read_study

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NUM_TRIALS, NUM_EPOCHS = 2, 8


@contextlib.contextmanager
def started(store: EmbeddingStore, out: Path, mlflow: str) -> Iterator[subprocess.Popen[str]]:
    """A sweep of some trials, one after the other, each of which takes all CPUs."""
    words = [sys.executable, "-m", "hmtas", "tune", "model", str(store.path), "--out", str(out)]
    words += ["--name", "s", "--preset", "smoke", "--trials", str(NUM_TRIALS), "--concurrent", "1"]
    words += ["--cpus", str(os.cpu_count()), "--max-epochs", str(NUM_EPOCHS), "--top", "0"]
    words += ["--pruner", "none", "--set", "width=8", "--set", "num_heads=2"]
    words += ["--set", f"patience={NUM_EPOCHS}"]
    environment = {name: value for name, value in os.environ.items() if "RAY_ADDRESS" not in name}
    with subprocess.Popen(
        words,
        env=environment | {"MLFLOW_TRACKING_URI": mlflow},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sweep:
        try:
            yield sweep
        finally:
            sweep.kill()  # which has ended, unless the test failed


def num_training(*outs: Path) -> int:
    """Trainings that have begun and are not predicted with yet."""
    runs = [run for out in outs for run in (out / "s" / TRIALS).glob("*/")]
    return sum(
        (run / RECORD).is_file() and not predictions_path(run, "valid").is_file() for run in runs
    )


def result(out: Path) -> list[dict[str, Any]]:
    """What each trial found, and the weights it ended with."""
    rows = read_study(out / "s").trials
    return [
        row.model_dump(include={"id", "status", "settings", "best_tight", "epochs"})
        | {"weights": read_run(out / "s" / row.run).weights_sha256}
        for row in rows
    ]


def test_both_end_as_one_alone_and_no_cpu_is_given_out_twice(
    store: EmbeddingStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mlflow = copy_database(tmp_path_factory, tmp_path / "mlflow")
    alone, one, two = (tmp_path / name for name in ("alone", "one", "two"))
    with started(store, one, mlflow) as first, started(store, two, mlflow) as second:
        sweeps = (first, second)
        most, until = 0, time.monotonic() + 200
        while any(sweep.poll() is None for sweep in sweeps):
            most = max(most, num_training(one, two))
            assert time.monotonic() < until
            time.sleep(0.01)
        printed = [sweep.communicate()[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], printed
    assert most == 1, "each of them takes all CPUs"
    with started(store, alone, mlflow) as third:
        said, _ = third.communicate(timeout=100)
    assert third.returncode == 0, said
    assert len(result(alone)) == NUM_TRIALS
    assert result(one) == result(two) == result(alone)
