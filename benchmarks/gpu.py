"""What a GPU reaches, in some eight minutes: steps, small models, prediction, a whole training.

    python benchmarks/gpu.py [--out FOLDER] [--only steps,small,...] [--json]

steps       training steps of m7 (4,096 windows) and m10 at thesis size, bf16: plain, compiled, and
            with CUDA graphs, beside the peak of large matrix products in the same run
profile     where a step's time goes, by kernel: FOLDER/profile-m7.txt, FOLDER/profile-m10.txt
small       steps of a model of width 64, one process and four side by side
predict     seconds of video per second, by windows at once
train       `fit` on a season of random embeddings: on the device, and read in blocks; and the
            thesis's training (300 games, 7 epochs) worked out from it
same        logits of a GPU beside those of a CPU; a training that was resumed beside one that was
            not; the memory that hmtas.training.memory foresees beside what a training took

On a CPU everything runs too, smaller, as a check of this script: its numbers mean nothing then.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from synthetic_store import write_store
from thesis_size import NUM_OUTPUTS, STREAMS, kernels_of, matmul_peak, thesis_model, timed

from hmtas.config import Config
from hmtas.model.work import DataShape, forward_flop
from hmtas.prediction.slide import Predictor
from hmtas.presets import preset
from hmtas.records import HalfId
from hmtas.runs.record import EpochRecord
from hmtas.store.halves import Half
from hmtas.training import dataset
from hmtas.training.batches import Batch
from hmtas.training.labels import labels_of
from hmtas.training.loop import fit
from hmtas.training.memory import training_bytes
from hmtas.training.stepping import Stepper, build_optimizer

MODES: dict[str, dict[str, object] | None] = {
    "plain": None,
    "compiled": {},
    "graphs": {"mode": "reduce-overhead"},
}
THESIS_GAMES, THESIS_EPOCHS = 300, 7
TOLERANCE = 1e-4  # of logits, fp32
AIMS = {
    "m7 best, rows/s": 200_000, "m7 best, share of peak": 0.25, "m10 best, share of peak": 0.30,
    "small best, rows/s": 60_000, "small, four over one": 2.5, "predict best, rows/s": 400_000,
    "streamed over resident": 0.8,
}  # fmt: skip
AT_MOST = {"thesis training, s": 75.0, "same, largest |logit|": TOLERANCE, "same, resumed": 0.0,
           "memory, taken over foreseen": 1.0}  # fmt: skip


class Sizes(NamedTuple):
    """How large things are."""

    rows: int  # that a step labels
    steps: int  # that are timed
    games: int  # of the season that is trained on
    half_rows: int
    modes: tuple[str, ...]  # ways to take a step
    model: dict[str, object]  # settings, beside those of the presets


LARGE = Sizes(4096, 40, 54, 2700, tuple(MODES), {"precision": "bf16"})
# What a compiler makes for a CPU is not the question, and some take minutes for bf16.
TINY = Sizes(32, 2, 4, 60, ("plain",), {"width": 16, "num_layers": 1, "num_heads": 2})


@dataclass(frozen=True)
class Setting:
    """The device, and where profiles go."""

    device: torch.device
    out: Path

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def sizes(self) -> Sizes:
        return LARGE if self.is_gpu else TINY

    def config(self, name: str, **changes: object) -> Config:
        """A preset, with the batch and model of this device."""
        return preset(name).updated({"batch_size": self.sizes.rows, **self.sizes.model, **changes})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of the profiles")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--one-small", choices=MODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    setting = Setting(torch.device(arguments.device), arguments.out)
    if arguments.one_small:
        print(json.dumps(small_rate(setting, arguments.one_small, seconds=10.0)))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, float] = {}
    for part in arguments.only.split(","):
        began = time.perf_counter()
        try:
            found |= PARTS[part](setting)
        except Exception as error:  # the others are worth their minutes
            print(f"{part} failed: {type(error).__name__}: {error}", file=sys.stderr)
        found[f"seconds of {part}"] = time.perf_counter() - began
        print(f"{part}: {found[f'seconds of {part}']:.0f} s", file=sys.stderr, flush=True)
    show(found, setting)
    if arguments.json:
        print(json.dumps({name: round(value, 5) for name, value in found.items()}))


def steps(setting: Setting) -> dict[str, float]:
    """Training steps of both kinds in every mode."""
    peak = matmul_peak(setting.device, torch.bfloat16 if setting.is_gpu else torch.float32)
    found = {"peak, TFLOP/s": peak / 1e12}
    for name in ("m7", "m10"):
        config = setting.config(name)
        flop = forward_flop(config, DataShape(STREAMS, NUM_OUTPUTS - 1)).training
        rates = {}
        for mode in setting.sizes.modes:
            step, labelled = make_step(setting, config, mode)
            found[f"{name} {mode}, s to the first step"] = timed(step, setting.device)
            rates[mode] = rate_of(step, labelled, setting)
            found[f"{name} {mode}, rows/s"] = rates[mode]
        best = max(rates.values())
        found[f"{name} best, rows/s"] = best
        found[f"{name} best, share of peak"] = best * flop / peak
        found[f"{name} plain, share of peak"] = rates["plain"] * flop / peak
    return found


def small(setting: Setting) -> dict[str, float]:
    """One process, then four that share the device."""
    found = {}
    for mode in setting.sizes.modes:
        one = side_by_side(setting, mode, 1)
        four = side_by_side(setting, mode, 4)
        found |= {f"small {mode}, rows/s": one, f"small {mode}, four, rows/s": four}
    best = max(setting.sizes.modes, key=lambda mode: found[f"small {mode}, rows/s"])
    found["small best, rows/s"] = found[f"small {best}, rows/s"]
    found["small, four over one"] = found[f"small {best}, four, rows/s"] / found[
        "small best, rows/s"
    ]  # fmt: skip
    return found


def side_by_side(setting: Setting, mode: str, num: int) -> float:
    """Rows a second of so many processes together, each for ten seconds."""
    command = [sys.executable, __file__, "--device", str(setting.device), "--one-small", mode]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(num)]
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{num} processes, {mode}: one of them failed")
    return sum(float(json.loads(lines.splitlines()[-1])) for lines in printed)


def small_rate(setting: Setting, mode: str, *, seconds: float) -> float:
    """Rows a second of a model of width 64."""
    config = setting.config("m7", width=64, num_heads=4, widening=2)
    step, labelled = make_step(setting, config, mode)
    for _ in range(5):
        timed(step, setting.device)
    began, taken = time.perf_counter(), 0
    while time.perf_counter() - began < (seconds if setting.is_gpu else 0.5):
        timed(lambda: [step() for _ in range(10)], setting.device)
        taken += 10
    return taken * labelled / (time.perf_counter() - began)


def predict(setting: Setting) -> dict[str, float]:
    """Whole halves, from the memory of the host to probabilities there."""
    found = {}
    rng = np.random.default_rng(0)
    num_rows = 8 * setting.sizes.half_rows
    half = Half(HalfId("benchmark", 1), num_rows, {
        name: rng.standard_normal((num_rows, width)).astype(np.float16)
        for name, width in STREAMS.items()
    })  # fmt: skip
    for name in ("m7", "m10"):
        config = setting.config(name)
        model = thesis_model(config).eval().to(setting.device)
        predictor = Predictor(
            model, STREAMS, config, device=setting.device, precision=config.train.precision
        )
        sizes = (2048, 8192, 32768) if name == "m7" else (0,)
        for at_once in sizes:
            if at_once:
                predictor.at_once = at_once
            predictor.predict(half)
            taken = min(timed(lambda p=predictor: p.predict(half), setting.device)
                        for _ in range(5))  # fmt: skip
            found[f"predict {name}{f', {at_once} at once' if at_once else ''}, rows/s"] = (
                num_rows / taken
            )
    found["predict best, rows/s"] = max(found.values())
    return found


def train(setting: Setting) -> dict[str, float]:
    """`fit`, on the device and in blocks; the time of an epoch is the run's own record of it."""
    found, share = {}, dataset.FREE_SHARE
    with tempfile.TemporaryDirectory() as scratch:
        store = write_store(
            Path(scratch) / "s", setting.sizes.games, setting.sizes.half_rows, dict(STREAMS)
        )
        config = setting.config("m7", max_epochs=3, patience=3, stop_games="held_out")
        for way in ("resident", "streamed"):
            dataset.FREE_SHARE = share if way == "resident" else 0.0
            ends: list[float] = []
            record = fit(
                store, config, Path(scratch) / way, name=way, device=setting.device,
                report=lambda entry, ends=ends: ends.append(time.perf_counter()),
            )  # fmt: skip
            last = record.history[-1]
            found[f"{way}, rows/s"] = last.windows / last.seconds
            found[f"{way}, rows/s with validation"] = last.windows / (ends[-1] - ends[-2])
    dataset.FREE_SHARE = share
    found["streamed over resident"] = found["streamed, rows/s"] / found["resident, rows/s"]
    rows = THESIS_GAMES * 5400 * THESIS_EPOCHS
    found["thesis training, s"] = rows / found["resident, rows/s with validation"]
    return found


def same(setting: Setting) -> dict[str, float]:
    """A GPU beside a CPU, a resumed training beside another, memory beside what was foreseen."""
    config = setting.config("m7", precision="fp32")
    model = thesis_model(config).eval()
    x = {name: torch.randn(64, config.train.seq_len, width) for name, width in STREAMS.items()}
    with torch.no_grad():
        here = model(x).fused_BC
        there = model.to(setting.device)({n: v.to(setting.device) for n, v in x.items()}).fused_BC
    found = {"same, largest |logit|": float((here - there.cpu()).abs().max())}
    with tempfile.TemporaryDirectory() as scratch:
        store = write_store(Path(scratch) / "s", 4, setting.sizes.half_rows, dict(STREAMS))
        config = setting.config("m7", max_epochs=2, protocol="p2")
        if setting.is_gpu:
            torch.cuda.reset_peak_memory_stats()
        whole = fit(store, config, Path(scratch) / "a", name="r", device=setting.device)
        if setting.is_gpu:
            taken = torch.cuda.max_memory_reserved()
            found["memory, taken over foreseen"] = taken / training_bytes(store, config)
        with contextlib.suppress(_StoppedError):
            fit(store, config, Path(scratch) / "b", name="r", device=setting.device, report=_stop)
        again = fit(store, config, Path(scratch) / "b", name="r", device=setting.device)
    found["same, resumed"] = float(whole.weights_sha256 != again.weights_sha256)
    return found


def profile(setting: Setting) -> dict[str, float]:
    """Kernels of a step by their time, into files."""
    for name in ("m7", "m10"):
        step, _ = make_step(setting, setting.config(name), "plain")
        path = setting.out / f"profile-{name}.txt"
        path.write_text(kernels_of(step, setting.device, repeats=5))
    return {}


def make_step(setting: Setting, config: Config, mode: str) -> tuple[Callable[[], object], int]:
    """One step of the real training on random embeddings that are on the device; rows it labels."""
    torch.compiler.reset()
    cut = labels_of(config, rate_hz=1.0).layout
    num_samples = max(2, setting.sizes.rows // cut.num_windows)
    model = thesis_model(config).to(setting.device).train()
    options = MODES[mode]
    stepper = Stepper(
        model if options is None else torch.compile(model, **options),  # type: ignore[call-overload]
        build_optimizer(model, config.train),
        config.train,
        weight_C=torch.ones(NUM_OUTPUTS, device=setting.device),
        device=setting.device,
        seq_len=cut.seq_len if cut.chunk_windows else None,
    )
    steps_per_row = round(config.model.output_rate_hz or 1)
    labelled = num_samples * cut.num_windows * steps_per_row
    batch = Batch(
        {name: torch.randn(num_samples, cut.num_rows, f).half() for name, f in STREAMS.items()},
        None,
        (torch.rand(labelled, NUM_OUTPUTS) < 0.05).float(),
        torch.full((labelled, NUM_OUTPUTS - 1), torch.nan) if config.model.displacement else None,
    ).to(setting.device)
    rng = np.random.default_rng(0)
    return lambda: stepper.step(batch, rng), num_samples * cut.num_windows


def rate_of(step: Callable[[], object], labelled: int, setting: Setting) -> float:
    """Rows a second over some steps, after some that are not counted."""

    def work(num: int) -> None:
        for _ in range(num):
            step()

    timed(lambda: work(5), setting.device)
    return setting.sizes.steps * labelled / timed(lambda: work(setting.sizes.steps), setting.device)


class _StoppedError(Exception):
    """A training ends after an epoch, as if it had been interrupted."""


def _stop(entry: EpochRecord) -> None:
    raise _StoppedError


PARTS = {"steps": steps, "profile": profile, "small": small, "predict": predict, "train": train,
         "same": same}  # fmt: skip


def show(found: dict[str, float], setting: Setting) -> None:
    """One table, with the aims."""
    name = torch.cuda.get_device_name(setting.device) if setting.is_gpu else "a CPU: a check only"
    table = Table(title=f"{name}, torch {torch.__version__}")
    table.add_column("")
    table.add_column("found", justify="right")
    table.add_column("aim", justify="right")
    for key, value in found.items():
        aim = (
            f">= {AIMS[key]:g}" if key in AIMS else f"<= {AT_MOST[key]:g}" if key in AT_MOST else ""
        )
        table.add_row(key, f"{value:,.4g}" if value < 1000 else f"{value:,.0f}", aim)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
