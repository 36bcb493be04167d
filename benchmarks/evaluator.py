"""The metric against the official evaluator (SoccerNet 0.2.0), side by side in one process.

Timed is the metric alone: the official code has its vectors, ours its spots and events, and both
give all six outputs, tight and loose. Best of several, one thread. The ratios are of processor
time, on which other work on the machine has little effect; what is ours alone is in seconds passed.

HMTAS_REAL names a folder with `games.tar.xz`, `splits.json` and
`netvlad_v2_results_spotting_test.zip`, real predictions for the 100 test games; without it, or with
--quick, synthetic games as sparse as those stand in for them. The fewer the games, the more the
fixed cost of the official code weighs: only a full run gives ratios to quote.
"""

import argparse
import importlib
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from hmtas.formats.soccernet import LABEL_FILE, read_events
from hmtas.formats.splits import read_splits
from hmtas.formats.submission import read_submission
from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map, score
from hmtas.metric.counts import histograms
from hmtas.metric.matching import NUM_CELLS, cells
from hmtas.records import Events, HalfId, Score, Spots
from hmtas.terminal.console import show

SETS = (TIGHT_S, LOOSE_S)
NUM_ACTIONS = len(ACTIONS)
HALF_S = 2700
# Of the 100 real test games: spots of the published model, events, those not shown.
SPOTS_OF_GAME, EVENTS_OF_GAME, NOT_SHOWN = 277, 226, 0.16
DENSE_SPOTS_OF_GAME = 18_000
TARGETS = {
    "official_over_ours_real": (">=", 20.0),
    "official_over_ours_dense": (">=", 40.0),
    "seconds_100_games": ("<=", 1.0),
    "ms_reaggregate": ("<=", 5.0),
}


class Season(NamedTuple):
    """One input of both sides."""

    name: str
    spots: dict[HalfId, Spots]
    events: dict[HalfId, Events]

    @property
    def num_spots(self) -> int:
        return sum(len(spot.time_s) for spot in self.spots.values())


class Timed(NamedTuple):
    """Best seconds of each side over tight and loose, and how far apart their outputs are."""

    official_s: float
    ours_s: float
    difference: float


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 games, a minute")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args(given)
    try:
        found = run(quick=arguments.quick)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    if arguments.json:
        print(json.dumps(found))


def run(*, quick: bool) -> dict[str, float]:
    """Time everything, and show it."""
    num_games, repeats = (5, 1) if quick else (100, 2)
    first = real_season() if "HMTAS_REAL" in os.environ and not quick else None
    if first is None:
        first = synthetic("synthetic, as sparse as real", num_games, SPOTS_OF_GAME)
    dense = synthetic("synthetic, dense", num_games, DENSE_SPOTS_OF_GAME)
    timed = {season.name: compare(season, repeats) for season in (first, dense)}
    # A hundred games, however few the official code was given.
    hundred = dense if num_games == 100 else synthetic("", 100, DENSE_SPOTS_OF_GAME)
    counts = [histograms(hundred.spots, hundred.events, widths, NUM_ACTIONS) for widths in SETS]
    found = {
        "official_over_ours_real": ratio(timed[first.name]),
        "official_over_ours_dense": ratio(timed[dense.name]),
        "seconds_100_games": best(lambda: ours(hundred), 5),
        "ms_reaggregate": 1000
        * max(best(partial(score, each, each.games[::2]), 30) for each in counts),
    }
    show(table_of_sides((first, dense), timed))
    show(table_of_targets(found))
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def real_season() -> Season:
    source = Path(os.environ["HMTAS_REAL"])
    spots = read_submission(source / "netvlad_v2_results_spotting_test.zip", ACTIONS)
    games = read_splits(source / "splits.json")["test"]
    with tempfile.TemporaryDirectory() as folder:
        unpack_labels(source / "games.tar.xz", Path(folder))
        events = {
            HalfId(game, half): found
            for game in games
            for half, found in read_events(Path(folder), game).items()
        }
    return Season("real predictions", spots, events)


def unpack_labels(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        labels = (member for member in tar if member.name.endswith(LABEL_FILE))
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(folder, members=labels)


def synthetic(name: str, num_games: int, spots_of_game: int, seed: int = 0) -> Season:
    """Spots within seconds of half of the events, with higher scores, and spots anywhere."""
    generator = np.random.default_rng(seed)
    season = Season(name, {}, {})
    for game in range(num_games):
        for number in (1, 2):
            half = HalfId(f"league/season/game {game:03}", number)
            event = synthetic_events(half, generator)
            season.events[half] = event
            season.spots[half] = synthetic_spots(event, spots_of_game // 2, generator)
    return season


def synthetic_events(half: HalfId, generator: np.random.Generator) -> Events:
    num_events = EVENTS_OF_GAME // 2
    common = generator.integers(0, NUM_ACTIONS, num_events)
    rare = generator.random(num_events) < 0.7  # most events are of a few actions
    return Events(
        half=half,
        time_s=np.sort(generator.random(num_events) * HALF_S),
        action=np.where(rare, generator.integers(7, 11, num_events), common),
        visible=generator.random(num_events) >= NOT_SHOWN,
    )


def synthetic_spots(event: Events, num_spots: int, generator: np.random.Generator) -> Spots:
    """In cells of their own, so that none overwrites another."""
    num_right = min(len(event.time_s), num_spots) // 2
    right = generator.permutation(len(event.time_s))[:num_right]
    right_s = np.clip(event.time_s[right] + generator.normal(0, 3, num_right), 0, HALF_S - 1)
    right_place = cells(right_s) * NUM_ACTIONS + event.action[right]
    wrong_place = generator.permutation(2 * HALF_S * NUM_ACTIONS)[: num_spots + num_right]
    wrong_place = wrong_place[~np.isin(wrong_place, right_place)]
    right_place = np.unique(right_place)
    place = np.concatenate([right_place, wrong_place])[:num_spots]
    confidence = generator.random(num_spots) ** 3
    confidence[: len(right_place)] = generator.random(len(right_place))
    order = np.argsort(place)
    return Spots(
        half=event.half,
        time_s=(place // NUM_ACTIONS)[order] / 2,
        action=(place % NUM_ACTIONS)[order],
        confidence=confidence[order],
    )


def compare(season: Season, repeats: int) -> Timed:
    """Both sides on one season."""
    official_code = import_official()
    targets, detections = vectors(season)
    closests = [official_code.closest(target) for target in targets]
    average = official_code.evaluator().average_mAP
    outputs: dict[tuple[int, ...], Any] = {}

    def official() -> None:
        with np.errstate(all="ignore"):
            for widths in SETS:
                outputs[widths] = average(targets, detections, closests, 2, np.array(widths))

    official_s = best(official, repeats, time.process_time)
    ours_s = best(lambda: ours(season), 5 * repeats, time.process_time)
    difference = max(
        float(np.abs(np.nan_to_num(getattr(result, name)) - np.asarray(output)).max())
        for widths, result in zip(SETS, ours(season), strict=True)
        for name, output in zip(official_code.NAMES, outputs[widths], strict=True)
    )
    if difference > 1e-12:
        raise InputError(f"{season.name}: the two sides differ by {difference:.3g}")
    return Timed(official_s, ours_s, difference)


def import_official() -> Any:
    """The tests' way to call SoccerNet."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    return importlib.import_module("tests.support.official")


def ours(season: Season) -> list[Score]:
    return [average_map(season.spots, season.events, NUM_ACTIONS, widths) for widths in SETS]


def vectors(season: Season) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Targets and detections of every half, as the evaluator makes them of files."""
    targets, detections = [], []
    for half in sorted(season.events):
        event, spot = season.events[half], season.spots[half]
        target, detection = (
            np.zeros((NUM_CELLS, NUM_ACTIONS)),
            np.full((NUM_CELLS, NUM_ACTIONS), -1.0),
        )
        for cell, action, visible in zip(
            cells(event.time_s), event.action, event.visible, strict=True
        ):
            target[cell, action] = 1 if visible else -1
        for cell, action, value in zip(
            cells(spot.time_s), spot.action, spot.confidence, strict=True
        ):
            detection[cell, action] = value
        targets.append(target)
        detections.append(detection)
    return targets, detections


def best(
    work: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(repeats):
        started = clock()
        work()
        seconds.append(clock() - started)
    return min(seconds)


def ratio(timed: Timed) -> float:
    return timed.official_s / timed.ours_s


def table_of_sides(seasons: Iterable[Season], timed: dict[str, Timed]) -> Table:
    table = Table(title="Tight and loose, all six outputs, processor seconds, best of several")
    for name in ("input", "games", "spots", "official", "ours", "ratio", "difference"):
        table.add_column(name, justify="left" if name == "input" else "right")
    for season in seasons:
        result = timed[season.name]
        table.add_row(
            season.name, str(len(season.events) // 2), f"{season.num_spots:,}",
            f"{result.official_s:.2f}", f"{result.ours_s:.4f}", f"{ratio(result):.0f}",
            f"{result.difference:.1e}",
        )  # fmt: skip
    return table


def table_of_targets(found: dict[str, float]) -> Table:
    table = Table(title="Targets, ours on 100 dense games")
    for name in ("number", "found", "target", ""):
        table.add_column(name, justify="left" if name == "number" else "right")
    for name, (sign, limit) in TARGETS.items():
        value = found[name]
        met = value >= limit if sign == ">=" else value <= limit
        table.add_row(name, f"{value:.3g}", f"{sign} {limit:g}", "met" if met else "missed")
    return table


if __name__ == "__main__":
    main()
