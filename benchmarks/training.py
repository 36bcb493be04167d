"""Training steps at the thesis's size: windows against chunks and long contexts, fp32 and bf16."""

import argparse
import json
import math
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from thesis_size import (
    CONFIG,
    DENSE,
    NUM_OUTPUTS,
    STREAMS,
    interleaved,
    kernels_of,
    matmul_peak,
    thesis_model,
    training_flop_per_row,
)

from hmtas.config import Config
from hmtas.training.batches import Batch
from hmtas.training.labels import labels_of
from hmtas.training.stepping import Stepper, build_optimizer

BATCHES = {"windows": CONFIG, "chunks": CONFIG.updated({"chunk_windows": 32}), "contexts": DENSE}
THESIS_WINDOWS = 300 * 5400 * 7  # 300 games of 5,400 s, 7 epochs
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TARGETS = {
    "chunks_over_windows_fp32": 1.2,
    "chunks_over_windows_bf16": 1.9,
    "dense_over_windows_training": 1.6,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--windows", type=int, default=256, help="of a batch")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--profile", action="store_true", help="only where a step's time goes")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.profile:
        for kind, config in BATCHES.items():
            step, _ = _step(device, arguments.windows, config, "fp32", arguments.compile)
            print(f"{kind}, fp32\n{kernels_of(step, device, repeats=2)}")
        return
    seconds = measure(
        device, arguments.windows, 2 if arguments.quick else 7, compiled=arguments.compile
    )
    # Of a row that is labelled: a window, or a second of a context without its margins.
    medians = {name: float(np.median(each)) for name, each in seconds.items()}
    rates = {name: 1 / median for name, median in medians.items()}
    shares = shares_of_peak(rates, device)
    windows = rates["windows, fp32"]
    console = Console(width=100)
    table = Table(
        title=f"Training, {arguments.windows} windows a step, or as many seconds, {device}"
    )
    for name in (
        "batch",
        "seconds of video per second",
        "over windows, fp32",
        "share of matmul peak",
        "the thesis's training, hours",
    ):
        table.add_column(name, justify="left" if name == "batch" else "right")
    for name, rate in rates.items():
        hours = THESIS_WINDOWS / rate / 3600
        cells = f"{rate:,.0f}", f"{rate / windows:.2f}", f"{shares[name]:.0%}", f"{hours:,.1f}"
        table.add_row(name, *cells)
    console.print(table)
    # Of the steps of one round each, which were disturbed alike.
    found = {
        key: float(np.median(seconds[f"windows, {beside}"] / seconds[batch]))
        for key, batch, beside in (
            ("chunks_over_windows_fp32", "chunks, fp32", "fp32"),
            ("chunks_over_windows_bf16", "chunks, bf16", "fp32"),  # all that a user can gain
            ("dense_over_windows_training", "contexts, fp32", "fp32"),
            ("dense_over_windows_training_bf16", "contexts, bf16", "bf16"),
        )
    }
    for name, target in TARGETS.items():
        met = "met" if found[name] >= target else "missed"
        console.print(f"{name:28} {found[name]:5.2f}  target >= {target}: {met}")
    if arguments.json:
        found |= rates | {f"share of peak, {name}": share for name, share in shares.items()}
        print(json.dumps({k: round(v, 3) for k, v in found.items()}))


def measure(
    device: torch.device, num_windows: int, rounds: int, *, compiled: bool
) -> dict[str, np.ndarray]:
    """Seconds for each row that is labelled, by kind of batch, in each interleaved round."""
    works: dict[str, Callable[[], object]] = {}
    num_labelled = []
    for precision in DTYPES:
        for kind, config in BATCHES.items():
            step, labelled = _step(device, num_windows, config, precision, compiled)
            works[f"{kind}, {precision}"] = step
            num_labelled.append(labelled)
    seconds = np.array(interleaved(list(works.values()), rounds, device)) / num_labelled
    return dict(zip(works, seconds.T, strict=True))


def shares_of_peak(rates: dict[str, float], device: torch.device) -> dict[str, float]:
    """Floating-point operations of the steps' matrix products over those of large ones."""
    peaks = {name: matmul_peak(device, dtype) for name, dtype in DTYPES.items()}
    return {
        f"{kind}, {precision}": rates[f"{kind}, {precision}"]
        * training_flop_per_row(config)
        / peaks[precision]
        for precision in DTYPES
        for kind, config in BATCHES.items()
    }


def _step(
    device: torch.device, num_windows: int, config: Config, precision: str, compiled: bool
) -> tuple[Callable[[], object], int]:
    """One step of the real training on a batch of random embeddings, and how many rows it labels.

    They are as many as the windows, or what fills the last context.
    """
    train = config.updated({"batch_size": num_windows, "precision": precision}).train
    cut = labels_of(config, rate_hz=1.0).layout
    num_samples = math.ceil(num_windows / cut.num_windows)
    labelled = num_samples * cut.num_windows
    model = thesis_model(config).to(device).train()
    optimizer = build_optimizer(model, train)
    stepper = Stepper(
        torch.compile(model) if compiled else model,
        optimizer,
        train,
        weight_C=torch.ones(NUM_OUTPUTS, device=device),
        device=device,
        seq_len=cut.seq_len if cut.chunk_windows else None,
    )
    batch = Batch(
        {name: torch.randn(num_samples, cut.num_rows, f).half() for name, f in STREAMS.items()},
        None,
        (torch.rand(labelled, NUM_OUTPUTS) < 0.05).float(),
    )
    rng = np.random.default_rng(0)
    return lambda: stepper.step(batch, rng), labelled


if __name__ == "__main__":
    main()
