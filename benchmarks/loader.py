"""Windows delivered per CPU second, the memory that takes, and cold reads.

Against the thesis's way: files per window, read and stacked for every batch; one per stream and
one for the targets, or, as in the thesis's code, one for all visual streams side by side. Private
memory is what a fresh process has written for itself (Private_Dirty of smaps_rollup): pages of
mapped files are shared with every process on the machine, and can be dropped. It is measured for a
process that reads an epoch, and for ones that train and validate, on windows and on long contexts:
with a model of next to no size, as model, optimizer and activations are left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from synthetic_store import SMALL, SPLIT, THESIS, write_store

from hmtas.formats.actions import ACTIONS
from hmtas.model.windows import window_rows
from hmtas.presets import preset
from hmtas.records import HalfId
from hmtas.store.local import EmbeddingStore
from hmtas.training.batches import Batch
from hmtas.training.dataset import SampleDataset
from hmtas.training.labels import WindowLabels
from hmtas.training.loop import fit

SEQ_LEN, BATCH, CHUNK = 3, 256, 32
ROWS = 2700  # of a half
NUM_OUTPUTS = len(ACTIONS) + 1
TARGET_RATIO, TARGET_MB, MOST_GROWTH = 50, 2000, 1.1
TRAINED_SHARE = 0.05  # of what is read: a step takes longer than its batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short halves, within a minute")
    parser.add_argument("--games", type=int, default=10, help="for speed, at the thesis's widths")
    parser.add_argument("--full-width", type=int, metavar="GAMES", help="memory at full width too")
    parser.add_argument("--cold", type=int, metavar="GAMES", help="read GAMES from a cold disk too")
    parser.add_argument("--share", type=float, default=1.0, help="of the epoch that is measured")
    parser.add_argument("--dir", type=Path, help="where to write the stores")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--memory-of", nargs=2, metavar=("WORK", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        work, path = arguments.memory_of
        print(json.dumps(peak_memory(WORKS[work], Path(path), arguments.share)))
        return
    torch.set_num_threads(1)
    num_rows = 270 if arguments.quick else ROWS
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        root = Path(folder)
        found = show_speed(root, arguments.games, num_rows, rounds=2 if arguments.quick else 5)
        found |= show_memory(root, num_rows, arguments.share, arguments.full_width)
        if arguments.cold:
            found |= show_cold(root, arguments.cold, num_rows)
    if arguments.json:
        print(json.dumps({name: round(value, 2) for name, value in found.items()}))


def show_speed(root: Path, num_games: int, num_rows: int, rounds: int) -> dict[str, float]:
    """Windows per CPU second, all loaders in turn, files in the page cache."""
    store = write_store(root / "speed", num_games, num_rows, THESIS)
    num_windows = 256 if num_rows < ROWS else 2048
    files = {
        kind: write_windows(root / kind, store, num_windows, kind) for kind in ("stream", "thesis")
    }
    loaders: dict[str, Callable[[], Iterator[Batch]]] = {
        "a file per window and stream": lambda: read_windows(files["stream"]),
        "the thesis's files, float32": lambda: read_windows(files["thesis"]),
        "ours, windows": lambda: open_data(store).batches(BATCH, np.random.default_rng(0)),
        "ours, chunks of 32": lambda: open_data(store, CHUNK).batches(
            BATCH, np.random.default_rng(0)
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(1 + rounds):
        for name, loader in loaders.items():
            rates[name].append(windows_per_cpu_second(loader))
    table = Table(
        title=f"{num_games} games at full width ({sum(THESIS.values()):,} features), warm"
    )
    for column in ("loader", "windows per CPU second", "times a file per stream", "least"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    files_rate, *_ = measured = [np.array(rate[1:]) for rate in rates.values()]  # the first warms
    ratios = [rate / files_rate for rate in measured]
    for name, rate, ratio in zip(rates, measured, ratios, strict=True):
        table.add_row(
            name, f"{np.median(rate):,.0f}", f"{np.median(ratio):.1f}", f"{ratio.min():.1f}"
        )
    Console(width=100).print(table)
    ours = float(np.median(ratios[2]))
    for name, ratio in (("windows", ours), ("chunks", float(np.median(ratios[3])))):
        met = "met" if ratio >= TARGET_RATIO else "missed"
        print(f"{name:8} {ratio:6.1f}  target >= {TARGET_RATIO}: {met}")
    print()
    return {
        "ours_over_file_per_window": ours,
        "chunks_over_file_per_window": float(np.median(ratios[3])),
        "ours_over_thesis_files": float(np.median(measured[2] / measured[1])),
        "chunks_over_thesis_files": float(np.median(measured[3] / measured[1])),
    }


def open_data(store: EmbeddingStore, chunk_windows: int = 0) -> SampleDataset:
    halves = store.halves_of(store.games(SPLIT))
    return SampleDataset(
        store, halves, streams=tuple(store.streams), labels=WindowLabels(SEQ_LEN, chunk_windows)
    )


def write_windows(
    folder: Path, store: EmbeddingStore, num_windows: int, kind: str
) -> list[list[Path]]:
    """Write windows as files. Returns those of every window, the targets last."""
    folder.mkdir()
    every = [(half, t) for half in store.halves for t in range(store.halves[half].num_rows)]
    chosen = np.random.default_rng(0).permutation(len(every))[:num_windows]
    files = []
    for number, (half, t) in enumerate(every[i] for i in chosen):
        rows = window_rows(store.halves[half].num_rows, SEQ_LEN)[t]
        parts = [values[rows] for values in store.open_half(half).streams.values()]
        if kind == "thesis":
            *visual, audio = (part.astype(np.float32) for part in parts)
            parts = [np.concatenate(visual, axis=1), audio]
        files.append([folder / f"{number}_{i}.npy" for i in range(len(parts) + 1)])
        for file, part in zip(files[-1], [*parts, np.zeros(NUM_OUTPUTS)], strict=True):
            np.save(file, part)
    return files


def read_windows(files: Sequence[Sequence[Path]]) -> Iterator[Batch]:
    """Batches of windows from their files, in random order."""
    order = np.random.default_rng(0).permutation(len(files))
    for start in range(0, len(files), BATCH):
        *x, target = (
            torch.stack([torch.from_numpy(np.load(file)) for file in of_part])
            for of_part in zip(*(files[k] for k in order[start : start + BATCH]), strict=True)
        )
        yield Batch({str(i): part for i, part in enumerate(x)}, None, target.float())


def windows_per_cpu_second(loader: Callable[[], Iterator[Batch]]) -> float:
    started = time.process_time()
    delivered = sum(len(batch.target_BC) for batch in loader())
    return delivered / (time.process_time() - started)


# Memory ----------------------------------------------------------------------------------------


def show_memory(
    root: Path, num_rows: int, share: float, full_width: int | None
) -> dict[str, float]:
    """Peak private memory of fresh processes that read an epoch, or train one."""
    found = {}
    table = Table(title="Peak private memory of a process, model excluded")
    for column in ("games", "features", "store, GB", "imports", *(f"{work}, MB" for work in WORKS)):
        table.add_column(column, justify="right")
    cases = [(50, SMALL), (500, SMALL)] + ([(full_width, THESIS)] if full_width else [])
    for num_games, streams in cases:
        path = root / f"memory-{num_games}-{sum(streams.values())}"
        store = write_store(path, num_games, num_rows, streams)
        size = sum(item.num_bytes for item in store.halves.values())
        peaks = {}
        for work in WORKS:
            words = ["--memory-of", work, str(path), "--share", str(share)]
            done = subprocess.run(
                [sys.executable, __file__, *words], capture_output=True, text=True, check=True
            )
            peaks[work], before = json.loads(done.stdout)
        table.add_row(
            *(str(num_games), f"{sum(streams.values()):,}", f"{size / 1e9:.2f}", f"{before:.0f}"),
            *(f"{peaks[work]:.0f}" for work in WORKS),
        )
        name = "full_width" if streams is THESIS else f"{num_games}_games"
        found[f"private_mb_{name}"] = peaks["reading"]
        found[f"training_private_mb_{name}"] = peaks["training"]
        found[f"contexts_private_mb_{name}"] = peaks["on contexts"]
    Console(width=100).print(table)
    growth = found["private_mb_500_games"] / found["private_mb_50_games"]
    met = max(found.values()) <= TARGET_MB
    print(f"target <= {TARGET_MB} MB: {'met' if met else 'missed'}")
    if num_rows == ROWS:  # the 50 games of a quick run do not fill a block
        met = growth <= MOST_GROWTH
        print(
            f"to read 500 games takes {growth:.2f} times the memory of 50, "
            f"target <= {MOST_GROWTH}: {'met' if met else 'missed'}"
        )
    print()
    return found


def read_epoch(store: EmbeddingStore, share: float) -> None:
    """Deliver a share of an epoch's windows."""
    data = open_data(store)
    wanted = share * len(data)
    delivered = 0
    for batch in data.batches(BATCH, np.random.default_rng(0)):
        delivered += len(batch.target_BC)
        if delivered >= wanted:
            break


def train_epoch(store: EmbeddingStore, share: float, **settings: object) -> None:
    """Train on a share of every half's windows, and validate on a tenth of the games."""
    small = {"width": 8, "num_heads": 2, "stop_games": "held_out", "max_epochs": 1}
    share *= TRAINED_SHARE
    config = preset("smoke").updated({**small, "windows_share": share, **settings})
    fit(store, config, store.path.with_suffix(f".{config.model.kind}"), name="memory")


WORKS: dict[str, Callable[[EmbeddingStore, float], None]] = {
    "reading": read_epoch,
    "training": train_epoch,
    "on contexts": partial(train_epoch, kind="dense", batch_size=8),
}


def peak_memory(
    work: Callable[[EmbeddingStore, float], None], path: Path, share: float
) -> tuple[float, float]:
    """MB of private memory at most during some work, and before it."""
    torch.set_num_threads(1)
    before = peak = private_mb()
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, private_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    work(EmbeddingStore.open(path), share)
    peak = max(peak, private_mb())
    ended.set()
    thread.join()
    return peak, before


def private_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("Private_Dirty:"))
    return int(kilobytes) / 1024


# Cold reads ------------------------------------------------------------------------------------


def show_cold(root: Path, num_games: int, num_rows: int) -> dict[str, float]:
    """MB of rows per second from a disk whose files are not in memory."""
    store = write_store(root / "cold", num_games, num_rows, THESIS)
    halves = store.halves_of(store.games(SPLIT))
    size = sum(store.halves[half].num_bytes for half in halves) / 1e6
    drop_cache(store)
    started = time.perf_counter()
    for _ in open_data(EmbeddingStore.open(store.path)).batches(BATCH, np.random.default_rng(0)):
        pass
    blocks = size / (time.perf_counter() - started)
    drop_cache(store)
    started = time.perf_counter()
    read = random_windows(EmbeddingStore.open(store.path), halves, 2000)
    scattered = read / 1e6 / (time.perf_counter() - started)
    print(f"cold, {num_games} games, {size:,.0f} MB")
    print(f"  blocks           {blocks:8,.0f} MB of the store per second")
    print(f"  random windows   {scattered:8,.0f} MB of windows per second\n")
    return {"cold_blocks_mb_per_s": blocks, "cold_random_windows_mb_per_s": scattered}


def drop_cache(store: EmbeddingStore) -> None:
    """Take the files of a store out of the page cache; nobody may have them mapped."""
    for item in store.halves.values():
        with (store.path / item.file).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def random_windows(store: EmbeddingStore, halves: Sequence[HalfId], num_windows: int) -> int:
    """Bytes of windows read from anywhere in the season."""
    rng = np.random.default_rng(0)
    num_bytes = 0
    for _ in range(num_windows):
        half = store.open_half(halves[rng.integers(len(halves))])
        start = int(rng.integers(half.num_rows - SEQ_LEN))
        for values in half.streams.values():
            num_bytes += values[start : start + SEQ_LEN].copy().nbytes
    return num_bytes


if __name__ == "__main__":
    main()
