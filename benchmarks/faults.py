"""Faults, drawn by a seed, in small sweeps that must end as if nothing had happened.

    python benchmarks/faults.py [--quick] [--schedules 50] [--seed 0] [--json]

A schedule is a sweep of four trials whose driver's lives each meet a fault: the driver or a trial
is killed or asked to end, the disk of one of them is full, the store of a trial cannot be written,
its newest checkpoint is cut short or has a flipped bit; and MLflow is up, down or silent. Another
driver resumes it until the study is done. Then checked: every trial is there with its predictions;
none was run twice to its end; no complete epoch was trained again, or one, where its checkpoint was
damaged; at one trial at a time the study is the undisturbed one; MLflow has every trial and every
point of its curves once. All sweeps share a Ray of two CPUs.

Keys: `schedules`, `violations`, `minutes`.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from hmtas.files import read_json
from hmtas.model.checkpoint import CHECKPOINT
from hmtas.packing.pack import pack
from hmtas.runs.record import RECORD, WEIGHTS, predictions_path
from hmtas.season.write import SeasonConfig, write_season
from tune.study.record import RECORD as STUDY
from tune.study.record import StudyRecord, read_study
from tune.study.rows import TrialRow

TRIALS, EPOCHS = 4, 4
BATCH = 8  # so small that an epoch takes a good part of a second: faults are to meet one
NAME = "s"
LIMIT_S = 150.0  # of one driver's life
DOWN = "http://127.0.0.1:9"
FAULTS = (
    *("driver", "trial", "terminated", "interrupted", "truncated", "flipped"),
    *("full disk of a trial", "full disk of the driver", "storage"),
)
DAMAGE = ("truncated", "flipped")  # once the driver was killed
ENDED = ("done", "stopped")
# What a driver loads, once for all of them: most of the seconds that its start takes.
PRELOAD = [
    *("ray.tune", "optuna", "torch", "mlflow"),
    *("tune.commands.model", "tune.search.drive", "hmtas.tracking.run"),
]
_context = multiprocessing.get_context("forkserver")


def run_command(words: list[str], environment: dict[str, str], log: str) -> None:
    """What the process of a driver does."""
    with Path(log).open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    sys.argv = ["hmtas", *words]
    from hmtas.cli import main

    main()


@dataclass
class Sweep:
    """A small study, and who drives it now.

    Attributes:
        out: Where it lies.
        store: What it trains on.
        address: Of the Ray that it runs on.
        mlflow: Tracking URI.
        concurrent: Trials at once.
        extra: More words for the command that begins it.
    """

    out: Path
    store: Path
    address: str
    mlflow: str
    concurrent: int = 1
    extra: tuple[str, ...] = ()
    driver: BaseProcess = field(init=False)

    @property
    def folder(self) -> Path:
        return self.out / NAME

    @property
    def log(self) -> Path:
        return self.out / "driver.log"

    def start(self, *, mlflow: str | None = None, same_command: bool = False) -> None:
        """Start the study, or resume it."""
        words = ["tune", "resume", str(self.folder)]
        if same_command or not (self.folder / STUDY).is_file():
            words = ["tune", "model", str(self.store), "--name", NAME, "--out", str(self.out)]
            words += ["--trials", str(TRIALS), "--max-epochs", str(EPOCHS), "--preset", "smoke"]
            words += ["--concurrent", str(self.concurrent), "--address", self.address]
            words += ["--top", "0", "--set", "patience=9", "--set", "width=8"]
            words += ["--set", "num_heads=2", "--set", f"batch_size={BATCH}", "--grace-epochs", "2"]
            words += self.extra
        environment = {
            "MLFLOW_TRACKING_URI": mlflow or self.mlflow,
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
        }
        self.out.mkdir(parents=True, exist_ok=True)
        _context.set_forkserver_preload(PRELOAD)
        self.driver = _context.Process(target=run_command, args=(words, environment, str(self.log)))
        self.driver.start()

    def wait(self) -> int:
        """Until the driver ends; its exit code.

        Raises:
            TimeoutError: If it does not.
        """
        self.driver.join(LIMIT_S)
        code = self.driver.exitcode
        if code is None:
            self.driver.kill()
            self.driver.join()
            raise TimeoutError(f"the driver was not done after {LIMIT_S:.0f} s")
        return code

    def reach(self, trial: int, epoch: int) -> bool:
        """Wait until a trial has that many epochs; False if the driver ended before."""
        until = time.monotonic() + LIMIT_S
        while self.driver.is_alive() and time.monotonic() < until:
            rows = self.rows()
            if len(rows) > trial:
                row = rows[trial]
                if row.status not in ("waiting", "running") or len(self.history(row)) >= epoch:
                    return True
            time.sleep(0.02)
        return False

    def rows(self) -> tuple[TrialRow, ...]:
        """The trials so far."""
        return self.record().trials if (self.folder / STUDY).is_file() else ()

    def record(self) -> StudyRecord:
        """The study so far."""
        return read_study(self.folder)

    def history(self, row: TrialRow) -> list[dict[str, Any]]:
        """The epochs of a trial, with the time each took: one that is trained again differs."""
        path = self.folder / row.run / RECORD
        return list(read_json(path)["history"]) if path.is_file() else []

    def writers(self) -> dict[str, int]:
        """Which process trains which trial."""
        locks = {str(self.folder / "trials" / f".{row.id}.lock"): row.id for row in self.rows()}
        found = {}
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    for link in (process / "fd").iterdir():
                        with contextlib.suppress(OSError):
                            if trial := locks.get(str(link.readlink())):
                                found[trial] = int(process.name)
        return found

    def result(self) -> list[tuple[Any, ...]]:
        """What must not depend on faults."""
        return [
            (row.id, row.status, row.settings, row.best_tight, row.best_loose, row.epochs)
            for row in self.rows()
        ]


@dataclass
class State:
    """What was there when a driver had ended."""

    rows: tuple[TrialRow, ...]
    histories: dict[str, list[dict[str, Any]]]
    written: dict[str, int]  # when the weights of trials that were done were written

    @classmethod
    def of(cls, sweep: Sweep) -> "State":
        rows = sweep.rows()
        weights = {row.id: sweep.folder / row.run / WEIGHTS for row in rows if row.status == "done"}
        return cls(
            rows,
            {row.id: sweep.history(row) for row in rows},
            {name: path.stat().st_mtime_ns for name, path in weights.items()},
        )

    def lost(self, later: "State", damaged: Mapping[str, int]) -> list[str]:
        """What of it a later driver lost or did again.

        Args:
            later: What is there now.
            damaged: How often the newest checkpoint of a trial was: it may lose an epoch each time.
        """
        problems = []
        known = {row.id: row for row in later.rows}
        for row in self.rows:
            if row.id not in known:
                problems.append(f"trial {row.id} is lost")
                continue
            epochs = self.histories[row.id]
            complete = max(len(epochs) - damaged.get(row.id, 0), 0)
            kept = row.epochs if row.status in ENDED else complete
            if later.histories[row.id][:kept] != epochs[:kept]:
                problems.append(f"trial {row.id} trained complete epochs again")
            if later.written.get(row.id) != self.written.get(row.id, later.written.get(row.id)):
                problems.append(f"trial {row.id} was run twice to its end")
            if row.status in ENDED and known[row.id] != row:
                problems.append(f"trial {row.id} had ended and changed")
        return problems


def inject(fault: str, sweep: Sweep, rng: np.random.Generator) -> str | None:
    """Do it to a driver that has come to its moment, and wait for its end.

    Returns:
        The trial whose checkpoint was damaged, if one was.
    """
    if fault not in DAMAGE:
        time.sleep(rng.uniform(0, 0.5))
    pid = sweep.driver.pid
    assert pid is not None
    if fault == "trial":
        for writer in sweep.writers().values():
            _kill(writer, signal.SIGKILL)
    elif fault == "terminated":
        _kill(pid, signal.SIGTERM)
    elif fault == "interrupted":
        _kill(pid, signal.SIGINT)
    elif fault == "full disk of the driver":
        with contextlib.suppress(OSError):
            _limit(pid, (sweep.folder / STUDY).stat().st_size + 64)
    elif fault == "full disk of a trial":
        limited = set()
        until = time.monotonic() + 30
        while sweep.driver.is_alive() and time.monotonic() < until:
            for writer in set(sweep.writers().values()) - limited:
                _limit(writer, 10_000)
                limited.add(writer)
            time.sleep(0.05)
        for writer in limited:  # Ray keeps these processes for other work
            _limit(writer, resource.RLIM_INFINITY)
    elif fault == "storage":
        from tune.search.proposals import trial_id

        place = sweep.folder / "trials" / trial_id(sweep.record(), len(sweep.rows()))
        place.touch()  # where a folder is to be
        sweep.wait()
        place.unlink()
    else:
        _kill(pid, signal.SIGKILL)
    sweep.wait()
    return _damage(fault, sweep, rng) if fault in DAMAGE else None


def _kill(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def _limit(pid: int, num_bytes: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (num_bytes, hard))


def _damage(fault: str, sweep: Sweep, rng: np.random.Generator) -> str | None:
    """Cut the newest checkpoint of a trial short, or flip a bit of it."""
    until = time.monotonic() + 30
    while sweep.writers() and time.monotonic() < until:  # trials outlive their driver a little
        time.sleep(0.05)
    for row in sweep.rows():
        path = sweep.folder / row.run / CHECKPOINT
        if row.status in ("waiting", "running") and path.is_file():
            content = bytearray(path.read_bytes())
            place = int(rng.integers(len(content)))
            if fault == "flipped":
                content[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(content[:place] if fault == "truncated" else content)
            return row.id
    return None


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes calls and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def run_schedule(
    sweep: Sweep, rng: np.random.Generator, undisturbed: list[tuple[Any, ...]]
) -> tuple[list[str], list[str]]:
    """One sweep with its faults; what they were, and what went wrong."""
    story: list[str] = []
    problems: list[str] = []
    before = State((), {}, {})
    damaged: Counter[str] = Counter()
    try:
        with silent_server() as silent:
            for fault in [*rng.permutation(FAULTS)[: rng.integers(1, 3)], "none", "none", "none"]:
                up = (sweep.mlflow, "") if fault == "none" else (None, "")
                uri, word = up if up[0] or rng.random() < 0.6 else (DOWN, ", MLflow down")
                if uri == DOWN and rng.random() < 0.3:
                    uri, word = silent, ", MLflow silent"
                sweep.start(mlflow=uri, same_command=bool(rng.random() < 0.3))
                trial, epoch = int(rng.integers(TRIALS)), int(rng.integers(EPOCHS))
                epoch = 1 if fault in DAMAGE else epoch  # the first checkpoint, and time to hit it
                if fault != "none":
                    story.append(f"{fault} at trial {trial + 1}, epoch {epoch}{word}")
                    met = sweep.reach(trial, epoch)
                    harmed = inject(str(fault), sweep, rng) if met else None
                    damaged.update([harmed] if harmed else [])
                    if not met or (fault in DAMAGE and harmed is None):
                        story[-1] += " (missed)"
                code = sweep.wait()
                now = State.of(sweep)
                problems += before.lost(now, damaged)
                before = now
                if code == 0:
                    break
        problems += check_end(sweep)
        if sweep.concurrent == 1:
            pairs = zip_longest(undisturbed, sweep.result())
            problems += [f"{mine} undisturbed, now {now}" for mine, now in pairs if mine != now]
        problems += check_mlflow(sweep)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
    return story, problems


def check_end(sweep: Sweep) -> list[str]:
    """Is the study done, with every trial and its predictions?"""
    record = sweep.record()
    problems = [] if record.status == "done" else [f"the study is {record.status}"]
    if len({row.id for row in record.trials}) != TRIALS or len(record.trials) != TRIALS:
        problems.append(f"{len(record.trials)} trials instead of {TRIALS}")
    for row in record.trials:
        if row.status not in ENDED:
            problems.append(f"trial {row.id} is {row.status}: {row.error}")
        elif not predictions_path(sweep.folder / row.run, "valid").is_file():
            problems.append(f"trial {row.id} has no predictions")
    return problems


def check_mlflow(sweep: Sweep) -> list[str]:
    """Send what MLflow lacks; has it every trial, and every point of its curves, once?"""
    from hmtas.tracking.client import connect
    from tune.search.mlflow import send_study

    os.environ["MLFLOW_TRACKING_URI"] = sweep.mlflow
    record = sweep.record()
    send_study(sweep.folder, record)
    client = connect(sweep.mlflow)
    experiment = client.get_experiment_by_name(record.experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    problems = []
    names = Counter(run.info.run_name for run in children)
    if names != Counter(row.id for row in record.trials) or len(runs) != len(children) + 1:
        problems.append(f"MLflow has {len(runs) - len(children)} parents and trials {dict(names)}")
    for row in record.trials:
        for run in (run for run in children if run.info.run_name == row.id):
            steps = [m.step for m in client.get_metric_history(run.info.run_id, "train_loss")]
            if sorted(steps) != [epoch["epoch"] for epoch in sweep.history(row)]:
                problems.append(f"MLflow has epochs {sorted(steps)} of trial {row.id}")
    return problems


def make_store(root: Path) -> Path:
    """A packed season of halves of about two minutes."""
    streams = {"vtn": 4, "vggish": 2}
    write_season(root / "games", SeasonConfig(train=4, valid=2, test=2, minutes=2, streams=streams))
    pack(root / "games", root / "store")
    return root / "store"


def run_schedules(
    root: Path, store: Path, address: str, database: Path, *, num: int, seed: int, first: int = 0
) -> list[str]:
    """So many schedules, each with its line; what went wrong in them.

    Args:
        root: Scratch folder.
        store: From `make_store`.
        address: Of a Ray of two CPUs.
        database: An empty one of MLflow's, to copy: making one takes seconds.
        num: Of schedules.
        seed: Seed of the faults.
        first: Number of the first of them, to repeat one.
    """

    def make(name: str, concurrent: int = 1) -> Sweep:
        out = root / name
        out.mkdir(parents=True)
        shutil.copy(database, out / "mlflow.db")
        return Sweep(out, store, address, f"sqlite:///{out}/mlflow.db", concurrent)

    whole = make("undisturbed")
    whole.start()
    code = whole.wait()
    found = check_end(whole) if code == 0 else [whole.log.read_text()]
    violations = [f"undisturbed: {problem}" for problem in found]
    for i in range(first, first + num):
        started = time.monotonic()
        rng = np.random.default_rng([seed, i])
        sweep = make(f"schedule-{i}", concurrent=1 + int(i % 3 == 2))
        story, problems = run_schedule(sweep, rng, whole.result())
        violations += [f"schedule {i}: {problem}" for problem in problems]
        told = "; ".join(problems) if problems else "as it should be"
        print(
            f"{i:3} {time.monotonic() - started:5.1f} s, {sweep.concurrent} at a time; "
            f"{'; '.join(story)}: {told}",
            flush=True,
        )
        if not problems:
            shutil.rmtree(sweep.out)
    return violations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="3 schedules: some two minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="begin with this schedule")
    parser.add_argument("--keep", type=Path, help="keep the sweeps with violations in this folder")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    num = 3 if arguments.quick else arguments.schedules
    started = time.monotonic()
    from hmtas.cluster.session import ENVIRONMENT, OBJECT_STORE_BYTES
    from hmtas.tracking.client import connect

    os.environ.update({"OMP_NUM_THREADS": "1", **ENVIRONMENT})
    import ray

    with tempfile.TemporaryDirectory(prefix="hmtas-faults-") as scratch:
        root = arguments.keep or Path(scratch)
        store = make_store(Path(scratch))
        connect(f"sqlite:///{scratch}/empty.db")
        context = ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level="ERROR",
        )
        violations = run_schedules(
            root,
            store,
            str(context.address_info["address"]),
            Path(scratch) / "empty.db",
            num=num,
            seed=arguments.seed,
            first=arguments.first,
        )
        ray.shutdown()
    minutes = (time.monotonic() - started) / 60
    print(f"{num} schedules, {len(violations)} violations, {minutes:.1f} minutes")
    for violation in violations:
        print(violation)
    if arguments.json:
        result = {"schedules": num, "violations": len(violations)}
        print(json.dumps({**result, "minutes": round(minutes, 2)}))


if __name__ == "__main__":
    main()
