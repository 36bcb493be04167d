"""What a sweep of many trials takes of its driver: trials that train nothing, all else real.

    python benchmarks/scale.py [--trials 100,1000,10000] [--workers 256] [--mlflow URI] [--json]

Proposals (Optuna), the record, the pruner, MLflow's outbox, the copy for optuna-dashboard and the
report are those of `hmtas tune model`. Simulated is what lies between them: 256 workers, each of
which reports an epoch in turn, in place of Ray Tune's. A trial's score follows from its point and
chance. What a worker itself writes, its run folder, is not counted.

Shown for each size: milliseconds of the driver's main thread a trial, by what takes them; processor
milliseconds of its other threads (outbox, copy); its memory; seconds to resume the study from
its folder, to answer `hmtas tune status`, and to draw the report, and the report's size.

Keys, with the number of trials at their end: `ms_per_trial`, of the last tenth of the trials;
`ms_per_trial_without_sampler`; `resume_s`; `status_s`; `report_s`; `report_mb`; `driver_mb`, at the
end; `driver_kb_per_trial`, what it grew by; `mlflow_runs_sent_share`, of the
trials, when the last of them ended.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune import register_trainable
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from rich.table import Table

from benchmarks.synthetic_store import write_store
from hmtas import __version__
from hmtas.model.work import DataShape
from hmtas.presets import preset
from hmtas.runs.record import EpochRecord, RunRecord, predictions_path, write_run
from hmtas.terminal.console import show
from tune.report.page import write_report
from tune.search.mirror import mirrored
from tune.search.mlflow import MlflowCallback, start_tracking
from tune.search.progress import StudyCallback
from tune.search.proposals import StudySearch
from tune.search.pruning import ended_reports, make_pruner
from tune.space.contexts import Season
from tune.space.default import build_space
from tune.study.ledger import Ledger, open_ledger
from tune.study.options import LOOSE, TIGHT
from tune.study.record import StudyRecord, read_study, write_study
from tune.study.settings import StudySettings, sweep_base

TRAINABLE = "trains nothing"
EPOCHS = 3  # of a trial that is not stopped
SIZES = (100, 1_000, 10_000)
SHARE = 0.1  # the last trials, whose cost is that of so many
TARGETS = {"ms_per_trial_without_sampler": 10.0, "resume_s": 60.0, "status_s": 2.0,
           "report_mb": 5.0, "driver_kb_per_trial": 20.0}  # fmt: skip


class Watch:
    """Seconds of the main thread, by what takes them."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - began


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default=",".join(map(str, SIZES)), help="sizes, with commas")
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--mlflow", default="", help="tracking URI; a new sqlite file otherwise")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # a folder: one size, in there
    arguments = parser.parse_args(given)
    sizes = [int(size) for size in arguments.trials.split(",")]
    if arguments.one:
        print(json.dumps(measure(arguments.one, sizes[0], arguments.workers)))
        return
    found = {size: in_own_process(size, arguments) for size in sizes}
    show_table(found)
    if arguments.json:
        print(json.dumps({f"{key}_{n}": v for n, one in found.items() for key, v in one.items()}))


def in_own_process(size: int, arguments: argparse.Namespace) -> dict[str, float]:
    """One size, by a driver of its own: memory is that of one study."""
    with tempfile.TemporaryDirectory() as scratch:
        uri = arguments.mlflow or f"sqlite:///{scratch}/mlflow.db"
        options = ["--trials", size, "--workers", arguments.workers, "--one", scratch]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", *map(str, options)],
            env=os.environ | {"MLFLOW_TRACKING_URI": uri},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"error: {size} trials ended with {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(scratch: Path, size: int, workers: int) -> dict[str, float]:
    """Drive a study of so many trials, resume it, and show it."""
    folder = scratch / "sweep"
    settings = make_settings(scratch, size + workers)  # workers are busy to the end
    record = StudyRecord(
        name="sweep", version=__version__, created="2026-01-01T00:00:00+00:00", settings=settings
    )
    write_study(folder, record)
    found: dict[str, float] = {}
    with mirrored(folder), open_ledger(folder) as ledger:
        outbox = start_tracking(folder, record)
        driver = Driver(folder, ledger, workers, MlflowCallback(outbox))
        driver.run(size - round(SHARE * size))
        before, driver.watch = resident_mb(), Watch()
        began, threads_s = time.perf_counter(), other_threads_s()
        driver.run(size)
        spent = driver.watch.spent
        num = round(SHARE * size)
        found |= {f"ms_{what}": 1000 * s / num for what, s in sorted(spent.items())}
        found["ms_per_trial"] = 1000 * sum(spent.values()) / num
        found["ms_per_trial_without_sampler"] = found["ms_per_trial"] - found["ms_sampler"]
        found["ms_other_threads"] = 1000 * (other_threads_s() - threads_s) / num
        found["trials_per_s"] = num / (time.perf_counter() - began)
        found["driver_mb"] = resident_mb()
        found["driver_kb_per_trial"] = 1000 * (found["driver_mb"] - before) / num
        sent = sum((folder / row.run / "mlflow.json").is_file() for row in ledger.record.trials)
        found["mlflow_runs_sent_share"] = sent / size
        outbox.leave()
    with timed(found, "resume_s"), open_ledger(folder):
        StudySearch(folder, workers)
        ended_reports(folder, settings.base.train.stop_on, driver.pruner.cost)
    write_study(folder, read_study(folder).model_copy(update={"status": "done"}))
    with timed(found, "report_s"):
        page = write_report(folder)
    found["report_mb"] = page.stat().st_size / 1e6
    command = [sys.executable, "-c", "from hmtas.cli import main; main()", "tune", "status"]
    with timed(found, "status_s"):
        subprocess.run([*command, str(folder)], stdout=subprocess.DEVNULL, check=True)
    return {key: round(value, 3) for key, value in found.items()}


class Driver:
    """A study's driver, with simulated workers in place of Ray Tune's."""

    def __init__(self, folder: Path, ledger: Ledger, workers: int, mlflow: MlflowCallback) -> None:
        self.folder, self.ledger, self.workers = folder, ledger, workers
        settings = ledger.head.settings
        store = settings.open_store(folder)
        shape = DataShape(store.streams, len(store.actions), store.rate_hz)
        register_trainable(TRAINABLE, lambda config: None)
        self.search = StudySearch(folder, workers)
        self.search.add_configurations(
            SimpleNamespace(
                spec={
                    "run": TRAINABLE, "storage": None, "config": {}, "max_failures": 0,
                    "resources_per_trial": None, "trial_dirname_creator": None,
                }
            )
        )  # fmt: skip
        asked = self.search.ask_tell.ask
        self.search.ask_tell.ask = self._timed("sampler", asked)  # type: ignore[method-assign]
        self.pruner = make_pruner(settings, folder, shape)
        self.callbacks = (StudyCallback(folder), mlflow)
        self.watch = Watch()
        self.rng = np.random.default_rng(0)
        self.live: deque[Trial] = deque()
        self.template = run_template(settings, store.checksum)

    def run(self, until: int) -> None:
        """Go on until so many trials have ended."""
        while self.ledger.num_ended < until:
            if len(self.live) < self.workers and self._begin():
                continue
            self._report(self.live.popleft())

    def _begin(self) -> bool:
        with self.watch.on("proposals"):
            before = self.watch.spent.get("sampler", 0.0)
            trial = self.search.next_trial()
        self.watch.spent["proposals"] -= self.watch.spent.get("sampler", 0.0) - before
        if trial is None:
            return False
        trial.status = Trial.RUNNING
        with self.watch.on("callbacks"):
            for callback in self.callbacks:
                callback.on_trial_start(0, [], trial)
        self.live.append(trial)
        return True

    def _report(self, trial: Trial) -> None:
        epoch = 1 + (trial.last_result or {}).get("epoch", 0)
        score = self._work(trial, epoch)
        result = {"epoch": epoch, TIGHT: score, LOOSE: 1.5 * score, "train_loss": 1.0,
                  "time_total_s": 30.0 * epoch}  # fmt: skip
        trial.run_metadata.last_result = result
        with self.watch.on("callbacks"):
            for callback in self.callbacks:
                callback.on_trial_result(0, [], trial, result)
        with self.watch.on("pruner"):
            decision = self.pruner.on_trial_result(None, trial, result)  # type: ignore[arg-type]
        if epoch < EPOCHS and decision == TrialScheduler.CONTINUE:
            self.live.append(trial)
            return
        if epoch == EPOCHS:
            path = predictions_path(self.folder / "trials" / trial.trial_id, "valid")
            path.parent.mkdir(exist_ok=True)
            path.touch()
        trial.status = Trial.TERMINATED
        with self.watch.on("ends"):
            self.search.on_trial_complete(trial.trial_id, result)
        with self.watch.on("callbacks"):
            for callback in self.callbacks:
                callback.on_trial_complete(0, [], trial)

    def _work(self, trial: Trial, epoch: int) -> float:
        """What a worker does: a score, and the run folder."""
        numbers = [v for v in trial.config.values() if isinstance(v, float)]
        skill = 0.3 * float(np.exp(-np.var([hash(v) % 97 / 97 for v in numbers] or [0])))
        score = round(skill * (1 - 0.5**epoch) + 0.01 * float(self.rng.standard_normal()), 6)
        record = EpochRecord(epoch=epoch, train_loss=1.0, tight=max(score, 0.0), loose=1.5 * skill,
                             seconds=30.0, windows=1000)  # fmt: skip
        run = self.folder / "trials" / trial.trial_id
        history = tuple(
            record.model_copy(update={"epoch": number}) for number in range(1, epoch + 1)
        )
        status = "done" if epoch == EPOCHS else "running"
        update = {"name": run.name, "history": history, "best_epoch": epoch, "status": status}
        run.mkdir(parents=True, exist_ok=True)
        write_run(run, self.template.model_copy(update=update))
        return max(score, 0.0)

    def _timed(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*given: Any) -> Any:
            with self.watch.on(what):
                return call(*given)

        return timed_call


def make_settings(scratch: Path, size: int) -> StudySettings:
    """A sweep over the default space, as `hmtas tune model` makes it, on a small store."""
    store = write_store(scratch / "store", 4, 600, {"tpn": 16, "vggish": 8})
    base = sweep_base(preset("m7")).updated({"max_epochs": EPOCHS})
    season = Season(rate_hz=1.0, longest_half_s=2700.0, train_s=1e6)
    return StudySettings(
        store=str(store.path),
        store_checksum=store.checksum,
        preset="m7",
        base=base,
        space=build_space(base, store.actions, season=season),
        num_trials=size,
        grace_epochs=1,
    )


def run_template(settings: StudySettings, checksum: str) -> RunRecord:
    """The record of a trial's run, but for what is its own."""
    return RunRecord(
        name="",
        version=__version__,
        created="2026-01-01T00:00:00+00:00",
        config=settings.base,
        store=settings.store,
        store_checksum=checksum,
        streams={"tpn": 16},
        actions=("Goal",),
        rate_hz=1.0,
        fitted_games=("a",),
    )


@contextmanager
def timed(found: dict[str, float], key: str) -> Iterator[None]:
    """Note the seconds of a block."""
    began = time.perf_counter()
    yield
    found[key] = time.perf_counter() - began


def other_threads_s() -> float:
    """Processor seconds of this process beside those of the main thread."""
    return time.process_time() - time.thread_time()


def resident_mb() -> float:
    """Memory of this process; where the system does not tell, the most it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def show_table(found: dict[int, dict[str, float]]) -> None:
    """A row for each number, a column for each size; aims at the largest."""
    table = Table(title="A driver of trials that train nothing")
    table.add_column("")
    for size in found:
        table.add_column(f"{size:,} trials", justify="right")
    table.add_column("aim", justify="right")
    for key in next(iter(found.values())):
        aim = f"<= {TARGETS[key]:g}" if key in TARGETS else ""
        table.add_row(key, *(f"{one[key]:,.2f}" for one in found.values()), aim)
    show(table)


if __name__ == "__main__":
    main()
