"""Training steps at the thesis's size: batches of windows against chunks, in fp32 and bf16."""

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from thesis_size import (
    CONFIG,
    NUM_OUTPUTS,
    SEQ_LEN,
    STREAMS,
    interleaved,
    matmul_peak,
    thesis_model,
    training_flop_per_window,
)

from hmtas.training.batches import Batch
from hmtas.training.stepping import Stepper, build_optimizer

CHUNK = 32
THESIS_WINDOWS = 300 * 5400 * 7  # 300 games of 5,400 s, 7 epochs
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TARGETS = {"chunks_over_windows_fp32": 1.2, "chunks_over_windows_bf16": 1.9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--windows", type=int, default=256, help="of a batch")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    rates = measure(
        device, arguments.windows, 2 if arguments.quick else 7, compiled=arguments.compile
    )
    shares = shares_of_peak(rates, device)
    windows = rates["windows, fp32"]
    console = Console(width=100)
    table = Table(title=f"Training, {arguments.windows} windows a step, {device}")
    for name in (
        "batch",
        "windows per second",
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
    found = {
        "chunks_over_windows_fp32": rates["chunks, fp32"] / windows,
        "chunks_over_windows_bf16": rates["chunks, bf16"] / windows,
    }
    for name, target in TARGETS.items():
        met = "met" if found[name] >= target else "missed"
        console.print(f"{name:26} {found[name]:5.2f}  target >= {target}: {met}")
    if arguments.json:
        found |= rates | {f"share of peak, {name}": share for name, share in shares.items()}
        print(json.dumps({k: round(v, 3) for k, v in found.items()}))


def measure(
    device: torch.device, num_windows: int, rounds: int, *, compiled: bool
) -> dict[str, float]:
    """Windows per second of each kind of batch: medians of interleaved steps."""
    works: dict[str, Callable[[], object]] = {}
    for precision in DTYPES:
        for chunk in (0, CHUNK):
            name = f"{'chunks' if chunk else 'windows'}, {precision}"
            works[name] = _step(device, num_windows, chunk, precision, compiled)
    seconds = np.median(interleaved(list(works.values()), rounds, device), axis=0)
    return {name: num_windows / s for name, s in zip(works, seconds, strict=True)}


def shares_of_peak(rates: dict[str, float], device: torch.device) -> dict[str, float]:
    """Floating-point operations of the steps' matrix products over those of large ones."""
    peaks = {name: matmul_peak(device, dtype) for name, dtype in DTYPES.items()}
    return {
        f"{kind}, {precision}": rates[f"{kind}, {precision}"]
        * training_flop_per_window(chunk)
        / peaks[precision]
        for precision in DTYPES
        for kind, chunk in (("windows", 0), ("chunks", CHUNK))
    }


def _step(
    device: torch.device, num_windows: int, chunk: int, precision: str, compiled: bool
) -> Callable[[], object]:
    """One step of the real training on a batch of random embeddings."""
    config = CONFIG.updated(
        {"batch_size": num_windows, "chunk_windows": chunk, "precision": precision}
    ).train
    model = thesis_model().to(device).train()
    optimizer = build_optimizer(model, config)
    wrapped = torch.compile(model) if compiled else model
    stepper = Stepper(
        wrapped, optimizer, config, weight_C=torch.ones(NUM_OUTPUTS, device=device), device=device
    )
    per_sample = max(1, chunk)
    shape = (num_windows // per_sample, per_sample + SEQ_LEN - 1)
    batch = Batch(
        {name: torch.randn(*shape, width).half() for name, width in STREAMS.items()},
        None,
        (torch.rand(num_windows, NUM_OUTPUTS) < 0.05).float(),
    )
    rng = np.random.default_rng(0)
    return lambda: stepper.step(batch, rng)


if __name__ == "__main__":
    main()
