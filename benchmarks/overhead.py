"""What a sweep takes beyond its trainings: one `hmtas tune model`, and the same trainings without.

    python benchmarks/overhead.py [--quick] [--json]

The sweep is the command itself, in a process of its own: 16 trials of about 20 s of one core, two
at a time, none of them stopped, nothing trained again, on a small synthetic season. Timed is all of
it, from the start of the command to its end: Ray's start, proposals, reports, MLflow, the table.
Then two processes train the configurations that its trials had, and predict the valid games as
those do: what is timed there is `fit` and `predict_run` alone, in processes that have loaded all
they need. Both sides share the two cores alike, so nothing is gained from a core left idle.

Keys: `wall_over_ideal`, seconds of the command over those of the trainings divided by two;
`at_full_size`, what that would be for 16 trials of 20 s, if the same seconds were taken beyond the
trainings: they hardly grow with the sweep, so that of a few short trials, as with `--quick`, only
this one means something. What the command's processes took of the processors is not told: Ray's
outlive it, and their times are lost.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from hmtas.config import Config
from hmtas.packing.pack import pack
from hmtas.presets import preset
from hmtas.runs.record import read_run
from hmtas.season.write import SeasonConfig, write_season
from hmtas.settings import parse_settings
from hmtas.terminal.console import show
from tune.study.record import read_study
from tune.study.settings import sweep_base

CONCURRENT = 2
TRIALS, SECONDS = 16, 20.0  # the full size
TARGET = 1.25
NAME = "overhead"
SEASON = SeasonConfig(
    train=30, valid=6, test=0, minutes=15, streams={"tpn": 16, "vtn": 12, "vggish": 8}
)
# Small, so that an epoch is short; of one cost, whatever gamma and learning rate are proposed.
FIXED: dict[str, str] = {
    **{"seq_len": "3", "width": "16", "num_heads": "2", "num_layers": "1", "widening": "2"},
    **{"stream_dropout": "0.2", "batch_size": "256", "windows_share": "0.5", "patience": "999"},
}


class Cost(NamedTuple):
    """What something took."""

    wall_s: float
    processor_s: float


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a trial, on one core")
    parser.add_argument("--quick", action="store_true", help="4 trials of 4 s: within a minute")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args(given)
    trials, seconds = (4, 4.0) if arguments.quick else (arguments.trials, arguments.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch), trials, seconds)
    if arguments.json:
        print(json.dumps(found))


def measure(folder: Path, trials: int, seconds: float) -> dict[str, float]:
    """Run both sides, and show them."""
    os.environ["OMP_NUM_THREADS"] = "1"
    write_season(folder / "games", SEASON)
    store = folder / "store"
    pack(folder / "games", store)
    epochs = epochs_in(seconds, store, folder)
    sweep_s, marks = run_sweep(folder, store, trials, epochs)
    study = read_study(folder / NAME)
    runs = [folder / NAME / row.run for row in study.trials]
    lost = [row.id for row in study.trials if row.status != "done" or row.epochs != epochs]
    if lost or len(runs) != trials:
        sys.exit(f"error: {len(runs)} trials, of which {lost} did not train {epochs} epochs")
    configs = [read_run(run).config for run in runs]
    costs = train_alone(store, configs, folder / "alone")
    pure = Cost(sum(c.wall_s for c in costs), sum(c.processor_s for c in costs))
    ideal_s = pure.wall_s / CONCURRENT
    table = Table(title=f"{trials} trials of {epochs} epochs, {CONCURRENT} at a time")
    for name in ("", "seconds", "processor seconds"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("trainings alone, a trial", *_numbers(*(x / trials for x in pure)))
    table.add_row(f"trainings alone, all / {CONCURRENT}", *_numbers(ideal_s, pure.processor_s / 2))
    table.add_row("the command", *_numbers(sweep_s))
    for name, passed in marks.items():
        table.add_row(f"  {name}", *_numbers(passed))
    show(table)
    full_s = max(ideal_s, TRIALS * SECONDS / CONCURRENT)
    found = {
        "wall_over_ideal": round(sweep_s / ideal_s, 3),
        "at_full_size": round(1 + (sweep_s - ideal_s) / full_s, 3),
    }
    for name, ratio in found.items():
        print(f"{name} {ratio:.2f}")
    met = "met" if found["at_full_size"] <= TARGET else "missed"
    print(f"target: at_full_size <= {TARGET}: {met}")
    return found


def _numbers(*values: float) -> list[str]:
    return [f"{value:.1f}" for value in values]


def words_of(store: Path, folder: Path, trials: int, epochs: int) -> list[str]:
    """The command that is timed."""
    words = ["tune", "model", str(store), "--name", NAME, "--out", str(folder), "--weights"]
    words += ["fixed", "--trials", str(trials), "--concurrent", str(CONCURRENT), "--top", "0"]
    words += ["--pruner", "none", "--max-epochs", str(epochs), "--experiment", NAME]
    return words + [word for name, value in FIXED.items() for word in ("--set", f"{name}={value}")]


def run_sweep(
    folder: Path, store: Path, trials: int, epochs: int
) -> tuple[float, dict[str, float]]:
    """Run the command; seconds it took, and how its seconds divide, by the lines it says."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    started = time.monotonic()
    command = [sys.executable, "-c", "from hmtas.cli import main; main()"]
    first, last, said = None, None, []
    with subprocess.Popen(
        command + words_of(store, folder, trials, epochs),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            passed = time.monotonic() - started
            if line.startswith(f"{trials} trials, "):
                first = passed
            if line.startswith(f"[{trials}/{trials}]"):
                last = passed
    wall_s = time.monotonic() - started
    if process.returncode != 0 or first is None or last is None:
        sys.exit(f"error: the sweep ended with {process.returncode}:\n{''.join(said)}")
    marks = {"until Ray is up": first, "trials": last - first, "after the last": wall_s - last}
    return wall_s, marks


def epochs_in(seconds: float, store: Path, folder: Path) -> int:
    """How many epochs of the base configuration take that many seconds of one core."""
    prepare(str(store), str(folder))
    cost = train(str(store), base_config(2), str(folder / "tried"))
    return max(1, round(2 * seconds / cost.processor_s))


def base_config(epochs: int) -> Config:
    """What the trials share."""
    return sweep_base(preset("m7")).updated(
        {**parse_settings([f"{k}={v}" for k, v in FIXED.items()]), "max_epochs": epochs}
    )


def train_alone(store: Path, configs: Iterable[Config], folder: Path) -> list[Cost]:
    """Train every configuration, as many at a time as the sweep did, without Ray or MLflow."""
    with ProcessPoolExecutor(
        CONCURRENT, get_context("spawn"), prepare, (str(store), str(folder))
    ) as pool:
        waiting = [
            pool.submit(train, str(store), config, str(folder / str(number)))
            for number, config in enumerate(configs)
        ]
        return [future.result() for future in waiting]


def prepare(store: str, folder: str) -> None:
    """Load all that a training needs: torch loads a part of itself at the first step."""
    import torch

    torch.set_num_threads(1)
    train(store, base_config(1), f"{folder}/first{os.getpid()}")


def train(store: str, config: Config, run: str) -> Cost:
    """One training and its predictions, in this process."""
    from hmtas.prediction.slide import predict_run
    from hmtas.store.local import EmbeddingStore
    from hmtas.training.loop import fit

    wall, processor = time.monotonic(), time.process_time()
    opened = EmbeddingStore.open(Path(store))
    fit(opened, config, Path(run), name="alone")
    predict_run(Path(run), opened, "valid")
    return Cost(time.monotonic() - wall, time.process_time() - processor)


if __name__ == "__main__":
    main()
