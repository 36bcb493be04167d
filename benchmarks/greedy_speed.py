"""Greedy selection: how long it takes, what memory, and how both grow with the number of models.

Invented models of invented matches (hmtas.season.match) are written as stored probabilities, as
`hmtas predict` writes them: each sees events more or less well, is a little late or early, and has
noise of its own about the base rate of each action. A fresh process then reads and encodes them and
selects 50 times; its peak is what the system gives as the most memory it ever held. On a machine
that is busy with other work processor seconds, of all cores together, say more than seconds. Only a
full run gives numbers to quote.
"""

import argparse
import functools
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ensemble.greedy.library import build_library
from ensemble.greedy.select import GreedyConfig, select
from ensemble.stack.align import ModelOutput, Stack
from hmtas.config import SpottingConfig
from hmtas.formats.actions import ACTIONS
from hmtas.records import Events, HalfId, Probabilities
from hmtas.runs.probabilities import Provenance, read_probabilities, write_probabilities
from hmtas.season.match import EVENTS_IN_500_GAMES, simulate_match

NUM_ROWS = 2700
PICKS = 50
WINDOWS_S = np.array([SpottingConfig().window_of(action) for action in ACTIONS])
# A window of three seconds around an event is positive.
BASE_LOGIT = np.log([3 * EVENTS_IN_500_GAMES[a] / (1000 * NUM_ROWS) for a in ACTIONS])
BUMP = np.exp(-(np.arange(-6, 7) ** 2) / 8)


class Measured(NamedTuple):
    """One selection in a process of its own."""

    models: int
    seconds: float
    read_seconds: float
    cpu_seconds: float
    peak_mb: float
    codes_mb: float
    num_picks: int
    tight: float


def invent_events(num_games: int) -> dict[HalfId, Events]:
    rng = np.random.default_rng(0)
    events = {}
    for game in range(num_games):
        for number, played in enumerate(simulate_match(rng, NUM_ROWS / 60), start=1):
            half = HalfId(f"game {game:03d}", number)
            order = np.argsort(played.label_s, kind="stable")
            events[half] = Events(
                half=half,
                time_s=played.label_s[order],
                action=played.action[order],
                visible=played.visible[order],
            )
    return events


def write_model(folder: Path, number: int, events: Mapping[HalfId, Events]) -> None:
    """One model's stored probabilities of all games."""
    rng = np.random.default_rng([1, number])
    strength = rng.uniform(1, 5) * rng.uniform(0.6, 1.2, len(ACTIONS))
    halves = []
    for half, found in events.items():
        logit = rng.standard_normal((NUM_ROWS, len(ACTIONS)), dtype=np.float32)
        logit += BASE_LOGIT.astype(np.float32)
        rows = (found.time_s + rng.normal(0, 1, len(found.time_s))).astype(int)
        heights = strength[found.action] * rng.gamma(4, 0.25, len(rows))
        for row, action, height in zip(rows, found.action, heights, strict=True):
            if 6 <= row < NUM_ROWS - 6:
                logit[row - 6 : row + 7, action] += height * BUMP
        halves.append(Probabilities(half=half, values=1 / (1 + np.exp(-logit))))
    provenance = Provenance(
        run=f"model {number:03d}",
        split="valid",
        store="invented",
        store_checksum="",
        actions=ACTIONS,
        rate_hz=1.0,
        fitted_games=(),
        created="2024-01-01T00:00:00+00:00",
    )
    write_probabilities(folder / f"{number:03d}.arrow", halves, provenance)


class InFile(Mapping[HalfId, Probabilities]):
    """The halves in a file that is let go after use: what is mapped would count as memory."""

    def __init__(self, path: Path, halves: tuple[HalfId, ...]) -> None:
        self.path, self.halves = path, halves

    def __getitem__(self, half: HalfId) -> Probabilities:
        return opened(self.path)[half]

    def __iter__(self) -> Iterator[HalfId]:
        return iter(self.halves)

    def __len__(self) -> int:
        return len(self.halves)


@functools.lru_cache(maxsize=4)  # each core reads one at a time
def opened(path: Path) -> Mapping[HalfId, Probabilities]:
    return read_probabilities(path).halves


def measure(folder: Path, num_models: int, config: GreedyConfig, num_games: int) -> Measured:
    """Select from some of the models, in this process."""
    events = invent_events(num_games)
    started, cpu_started = time.perf_counter(), time.process_time()
    outputs = [
        ModelOutput(f"{m:03d}", ACTIONS, InFile(folder / f"{m:03d}.arrow", tuple(events)))
        for m in range(num_models)
    ]
    num_rows = dict.fromkeys(events, NUM_ROWS)
    library = build_library(Stack(outputs=tuple(outputs), rate_hz=1.0, num_rows=num_rows), events)
    read = time.perf_counter() - started
    selection = select(library, WINDOWS_S, config=config)
    return Measured(
        models=num_models,
        seconds=time.perf_counter() - started,
        read_seconds=read,
        cpu_seconds=time.process_time() - cpu_started,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        codes_mb=library.num_bytes / 2**20,
        num_picks=sum(len(bag.picked) for bag in selection.bags),
        tight=selection.bags[0].scores[-1],
    )


def in_a_process(folder: Path, num_models: int, config: GreedyConfig, num_games: int) -> Measured:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (folder, num_models, config, num_games))


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="ensemble.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few models and games, a minute")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--folder", type=Path, help="for 7.4 GB of invented probabilities")
    arguments = parser.parse_args(given)
    sizes, num_games = ((5, 10, 20), 5) if arguments.quick else ((25, 50, 100, 200), 100)
    # Patience without end: every run makes all of its picks.
    config = GreedyConfig(bags=1, picks=PICKS, patience=PICKS)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folder = Path(place)
        events = invent_events(num_games)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda m: write_model(folder, m, events), range(sizes[-1])))
        measure(folder, 2, config.model_copy(update={"picks": 2}), num_games)  # compile
        print(f"Greedy selection, {PICKS} picks, {2 * num_games} halves, {len(ACTIONS)} actions")
        print("  models   seconds   of them reading   processor s   peak MB   codes MB")
        found = []
        for num_models in sizes:
            found.append(in_a_process(folder, num_models, config, num_games))
            _show(found[-1])
        some = sizes[1]
        full, bagged = (
            in_a_process(folder, some, other, num_games)
            for other in (config.model_copy(update={"screen": False}), GreedyConfig())
        )
    points = 100 * (found[1].tight - full.tight)
    print(f"\n{some} models: without screening {full.seconds:.1f} s; with it the ensemble scores "
          f"{points:+.3f} points")  # fmt: skip
    print(f"{some} models, {GreedyConfig().bags} bags, until nothing improves: "
          f"{bagged.seconds:.1f} s, {bagged.num_picks} picks")  # fmt: skip
    if arguments.json:
        print(json.dumps({
            "seconds_200x100x50": round(found[-1].seconds, 1),
            "peak_mb": round(found[-1].peak_mb),
            "cpu_seconds_200x100x50": round(found[-1].cpu_seconds, 1),
            **{f"seconds_{each.models}_models": round(each.seconds, 1) for each in found},
            "screening_points": round(points, 4),
            "seconds_bagged": round(bagged.seconds, 1),
        }))  # fmt: skip


def _show(each: Measured) -> None:
    sys.stdout.write(
        f"  {each.models:6d} {each.seconds:9.1f} {each.read_seconds:17.1f} {each.cpu_seconds:13.1f}"
        f" {each.peak_mb:9.0f} {each.codes_mb:10.0f}\n"
    )
    sys.stdout.flush()
