"""The thesis's model at full size, and how much work it is (thesis Table 4.1, Section 5.3)."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional

from hmtas.config import Config
from hmtas.formats.embeddings import THESIS_STREAMS as STREAMS
from hmtas.model.build import build_model
from hmtas.model.network import SpottingModel
from hmtas.model.work import DataShape, forward_flop
from hmtas.prediction.shared_windows import Linear
from hmtas.presets import preset

NUM_OUTPUTS = 18
CONFIG = preset("m7")
SEQ_LEN = CONFIG.train.seq_len
DENSE = CONFIG.updated({"kind": "dense"})  # attends 16 s far in contexts of 128 s


def thesis_model(config: Config = CONFIG) -> SpottingModel:
    """48.7 million fresh parameters."""
    torch.manual_seed(0)
    return build_model(STREAMS, NUM_OUTPUTS, config.model)


def flop_per_row(*, shared: bool) -> int:
    """Multiplications and additions of matrix products per second of video in evaluation.

    Args:
        shared: Projection and first-layer query, key and value once per row, not per window.
    """
    model = CONFIG.model
    width, tokens = model.width, len(STREAMS) * SEQ_LEN
    square = 2 * width * width
    qkv, rest = 3 * square, (1 + 2 * model.widening) * square

    def attention(length: int) -> int:
        return 2 * 2 * length * width

    row = 2 * width * sum(STREAMS.values()) + len(STREAMS) * qkv
    streams = tokens * (model.num_layers * (rest + attention(SEQ_LEN)))
    streams += tokens * (model.num_layers - 1) * qkv
    fusion = len(STREAMS) * model.num_layers * (qkv + rest + attention(len(STREAMS)))
    heads = (len(STREAMS) + 1) * 2 * width * NUM_OUTPUTS
    return (1 if shared else SEQ_LEN) * row + streams + fusion + heads


def dense_flop_per_row() -> float:
    """The same of the model of contexts; the two margins of a whole half are left out."""
    found = forward_flop(DENSE.updated({"margin_s": 0.0}), DataShape(STREAMS, NUM_OUTPUTS - 1))
    return found.first + found.rest


def training_flop_per_row(config: Config) -> float:
    """Of matrix products per row that is labelled in a training step, forwards and backwards.

    First-layer query, key and value differ from window to window: dropout comes before them.
    """
    return forward_flop(config, DataShape(STREAMS, NUM_OUTPUTS - 1)).training


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of the best of some products.

    By torch's default, and by the matrices laid out for oneDNN that prediction multiplies by.
    """
    best = 0.0
    sizes = (1024, 2048) if device.type == "cpu" else (4096, 8192)
    for shape in [(n, n, n) for n in sizes] + [(768, 512, 2048), (768, 2048, 512)]:
        rows, inner, columns = shape
        a = torch.randn(rows, inner, device=device).to(dtype)
        weight = torch.randn(columns, inner, device=device).to(dtype)
        repeats = max(1, math.ceil(4e9 / (2 * rows * inner * columns)))
        laid_out = Linear(weight, torch.zeros(columns, device=device), dtype)
        # Not `a @ b`: in bfloat16 on a processor without it that takes minutes.
        ways = (partial(functional.linear, a, weight), partial(laid_out, a))

        def repeated(way: Callable[[], object], repeats: int = repeats) -> None:
            for _ in range(repeats):
                way()

        seconds = min(timed(partial(repeated, way), device) for _ in range(5) for way in ways)
        best = max(best, 2 * rows * inner * columns * repeats / seconds)
    return best


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def kernels_of(step: Callable[[], object], device: torch.device, *, repeats: int) -> str:
    """What a step spends its time on, by kernel, as a table."""
    for _ in range(2):
        timed(step, device)
    kinds, order = [torch.profiler.ProfilerActivity.CPU], "self_cpu_time_total"
    if device.type == "cuda":
        kinds, order = [*kinds, torch.profiler.ProfilerActivity.CUDA], "self_cuda_time_total"
    with torch.profiler.profile(activities=kinds) as seen:
        for _ in range(repeats):
            timed(step, device)
    return seen.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=60)


def interleaved(
    works: Sequence[Callable[[], object]], rounds: int, device: torch.device
) -> list[list[float]]:
    """Seconds of each work in each round, one after the other: what disturbs one disturbs all."""
    for work in works:
        work()
    return [[timed(work, device) for work in works] for _ in range(rounds)]
