"""A model of the thesis's size over a half: naive windows, shared ones, a long context; bf16."""

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from thesis_size import (
    CONFIG,
    DENSE,
    SEQ_LEN,
    STREAMS,
    dense_flop_per_row,
    flop_per_row,
    interleaved,
    matmul_peak,
    thesis_model,
)

from hmtas.model.network import SpottingModel
from hmtas.model.windows import window_rows
from hmtas.prediction.slide import Predictor
from hmtas.records import HalfId
from hmtas.store.halves import Half

NAIVE_WINDOWS = 256
ROWS = 2700  # of a half
TARGETS = {
    "ours_over_naive_fp32": 1.1,
    "share_of_peak_fp32": 0.8,
    "ours_over_naive_bf16": 2.0,
    "dense_over_windows_inference": 1.6,
    "dense_share_of_peak_fp32": 0.75,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows and rounds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    num_rows, rounds = (512, 3) if arguments.quick else (ROWS, 9)
    found = measure(device, num_rows * (1 if device.type == "cpu" else 8), rounds)
    show(found, device)
    if arguments.json:
        print(json.dumps({name: round(value, 5) for name, value in found.items()}))


def measure(device: torch.device, num_rows: int, rounds: int) -> dict[str, float]:
    model = thesis_model().eval().to(device)
    generator = np.random.default_rng(0)
    half = Half(
        HalfId("benchmark", 1),
        num_rows,
        {
            n: generator.standard_normal((num_rows, f)).astype(np.float16)
            for n, f in STREAMS.items()
        },
    )
    fp32 = Predictor(model, STREAMS, CONFIG, device=device)
    bf16 = Predictor(model, STREAMS, CONFIG, device=device, precision="bf16")
    dense_model = thesis_model(DENSE).eval().to(device)
    dense = Predictor(dense_model, STREAMS, DENSE, device=device)
    works: list[Callable[[], torch.Tensor]] = [
        lambda: naive(model, half, device),
        lambda: fp32.logits(half).fused_BC,
        lambda: bf16.logits(half).fused_BC,
        lambda: dense.logits(half).fused_BC,
    ]
    peaks = [matmul_peak(device, dtype) for dtype in (torch.float32, torch.bfloat16)]
    seconds = np.array(interleaved(works, rounds, device))
    peaks = [max(p, matmul_peak(device, d)) for p, d in
             zip(peaks, (torch.float32, torch.bfloat16), strict=True)]  # fmt: skip
    plain, ours, rough = (work().sigmoid() for work in works[:3])
    rate = num_rows / np.median(seconds, axis=0)
    return {
        "ours_over_naive_fp32": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "ours_over_naive_bf16": float(np.median(seconds[:, 0] / seconds[:, 2])),
        "dense_over_windows_inference": float(np.median(seconds[:, 1] / seconds[:, 3])),
        "dense_share_of_peak_fp32": float(rate[3] * dense_flop_per_row() / peaks[0]),
        "rows_per_s_dense_fp32": float(rate[3]),
        "share_of_peak_fp32": float(rate[1] * flop_per_row(shared=True) / peaks[0]),
        "share_of_peak_bf16": float(rate[2] * flop_per_row(shared=True) / peaks[1]),
        "rows_per_s_naive": float(rate[0]),
        "rows_per_s_fp32": float(rate[1]),
        "rows_per_s_bf16": float(rate[2]),
        "gflops_peak_fp32": peaks[0] / 1e9,
        "gflops_peak_bf16": peaks[1] / 1e9,
        "largest_difference_fp32": float((ours - plain).abs().max()),
        "largest_difference_bf16": float((rough - plain).abs().max()),
        "mean_difference_bf16": float((rough - plain).abs().mean()),
    }


@torch.no_grad()
def naive(model: SpottingModel, half: Half, device: torch.device) -> torch.Tensor:
    """Every window by itself, as the thesis does, in batches."""
    windows = window_rows(half.num_rows, SEQ_LEN)
    parts = []
    for start in range(0, len(windows), NAIVE_WINDOWS):
        index = windows[start : start + NAIVE_WINDOWS]
        x = {
            n: torch.from_numpy(rows[index]).to(device).float() for n, rows in half.streams.items()
        }
        parts.append(model(x).fused_BC.cpu())
    return torch.cat(parts)


def show(found: dict[str, float], device: torch.device) -> None:
    console = Console(width=110)
    table = Table(title=f"Seconds of video per second, 48.7 M parameters, {device}")
    for name in ("way", "rows per second", "over naive", "share of matmul peak", "largest |dp|"):
        table.add_column(name, justify="left" if name == "way" else "right")
    table.add_row("naive windows, fp32", f"{found['rows_per_s_naive']:,.0f}", "1.00", "", "")
    for way in ("fp32", "bf16"):
        table.add_row(
            f"shared, {way}",
            f"{found[f'rows_per_s_{way}']:,.0f}",
            f"{found[f'ours_over_naive_{way}']:.2f}",
            f"{found[f'share_of_peak_{way}']:.0%} of {found[f'gflops_peak_{way}']:,.0f} GFLOP/s",
            f"{found[f'largest_difference_{way}']:.1e}",
        )
    table.add_row(
        "long context, fp32",
        f"{found['rows_per_s_dense_fp32']:,.0f}",
        f"{found['rows_per_s_dense_fp32'] / found['rows_per_s_naive']:.2f}",
        f"{found['dense_share_of_peak_fp32']:.0%}",
        "",
    )
    console.print(table)
    for name, target in TARGETS.items():
        met = "met" if found[name] >= target else "missed"
        console.print(f"{name:28} {found[name]:6.2f}  target >= {target}: {met}")


if __name__ == "__main__":
    main()
