"""Learning curves of real trials, for `benchmarks/search.py` to replay: `curves.json`.

    hmtas season GAMES --train 120 --valid 24 --test 0 --minutes 8 \\
        --streams tpn=16,vggish=8
    hmtas pack GAMES STORE
    python benchmarks/curves.py STORE [--points 48] [--seeds 2] [--epochs 10] [--processes 2]

Trains random points of the space that `hmtas tune model` searches around a small model, each with
several seeds, to the last epoch. After every epoch it notes the best tight Average-mAP so far on
the games that stop the training, and that of the kept epoch on two halves of 20 valid games: one
to pick a winner on and one to judge it. What is in the file already is not trained again. Any
store will do; this small one makes a training cost ten seconds of one core.
"""

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna

from hmtas.config import Config
from hmtas.files import read_json, write_json
from hmtas.metric.averages import average_map
from hmtas.model.checkpoint import load_model
from hmtas.prediction.slide import Predictor
from hmtas.presets import preset
from hmtas.runs.record import EpochRecord, read_run
from hmtas.spotting.spots import spot
from hmtas.store.local import EmbeddingStore
from hmtas.terminal.console import say
from hmtas.training.loop import fit
from tune.space.default import build_space, space_document
from tune.space.dimensions import first_points, settings_of, suggest
from tune.study.settings import sweep_base

FILE = Path(__file__).parent / "curves.json"
# A model of seconds, where the thesis's takes a GPU hours; what is searched is the same.
SMALL = {
    "width": 16,
    "num_heads": 2,
    "num_layers": 1,
    "widening": 2,
    "encoder_dropout": 0.0,
    "batch_size": 256,
    "windows_share": 0.12,
    "learning_rate": 4e-3,
    "stop_windows": "config",  # the same NMS windows for both halves of the valid games
}
VALID_GAMES = 20  # predicted whenever an epoch is better; more cost more than the training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--points", type=int, default=48, help="the preset and random ones")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each point")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    store = EmbeddingStore.open(arguments.store)
    base = sweep_base(preset("m7")).updated(
        {**SMALL, "max_epochs": arguments.epochs, "patience": arguments.epochs}
    )
    space = build_space(base, store.actions)
    header = {
        "store_checksum": store.checksum,
        "num_games": {split: len(store.games(split)) for split in ("train", "valid")},
        "streams": store.streams,
        "base": base.model_dump(mode="json"),
        "space": space_document(space),
    }
    table = read_json(arguments.out) if arguments.out.is_file() else {**header, "trials": []}
    if {name: table[name] for name in header} != json.loads(json.dumps(header)):
        parser.error(f"{arguments.out} holds curves of another store or space; choose --out")
    points = random_points(base, space, arguments.points)
    done = {(trial["point"], trial["seed"]) for trial in table["trials"]}
    # Seed by seed: what is there is of use at any time.
    jobs = [
        (i, seed)
        for seed in range(arguments.seeds)
        for i in range(len(points))
        if (i, seed) not in done
    ]
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        waiting = [
            pool.submit(
                train,
                str(arguments.store),
                base.updated({**settings_of(points[i], space), "train.seed": 100 + seed}),
                {"point": i, "seed": seed, "params": points[i]},
            )
            for i, seed in jobs
        ]
        for n, future in enumerate(as_completed(waiting), 1):
            table["trials"].append(future.result())
            table["trials"].sort(key=lambda trial: (trial["point"], trial["seed"]))
            write_json(arguments.out, table)
            trial = future.result()
            left_s = (time.monotonic() - started) / n * (len(jobs) - n)
            held_out, judged = (100 * trial[name][-1] for name in ("held_out", "judged"))
            say(
                f"[{n}/{len(jobs)}] point {trial['point']} seed {trial['seed']}: "
                f"{trial['cpu_seconds']:.0f} s of CPU; held out {held_out:.2f} %, "
                f"valid {judged:.2f} %; {left_s / 60:.0f} min left"
            )


def random_points(base: Config, space: Any, num: int) -> list[dict[str, Any]]:
    """The preset's own point, then random ones, in the form of Optuna trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(first_points(base, space)[0])
    points = []
    for _ in range(num):
        trial = study.ask()
        suggest(trial, space=space)
        points.append(dict(trial.params))
    return points


def train(place: str, config: Config, known: dict[str, Any]) -> dict[str, Any]:
    """One trial to its last epoch: what is known of it, and its curves."""
    import torch

    torch.set_num_threads(1)
    store = EmbeddingStore.open(Path(place))
    valid = store.games("valid")[:VALID_GAMES]
    halves = {"picked": valid[::2], "judged": valid[1::2]}
    curves: dict[str, list[float]] = {"held_out": [], **{name: [] for name in halves}}
    started = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"

        def on_epoch(epoch: EpochRecord) -> None:
            assert epoch.tight is not None
            before = curves["held_out"][-1] if curves["held_out"] else -1.0
            curves["held_out"].append(round(max(before, epoch.tight), 5))
            better = epoch.tight > before
            for name, games in halves.items():
                value = tight(run, store, games) if better else curves[name][-1]
                curves[name].append(round(value, 5))

        fit(store, config, run, name="curve", report=on_epoch)
    return {**known, **curves, "cpu_seconds": round(time.process_time() - started, 1)}


def tight(run: Path, store: EmbeddingStore, games: tuple[str, ...]) -> float:
    """Tight Average-mAP of the kept epoch of a run on some games."""
    record = read_run(run)
    predictor = Predictor(load_model(run), record.streams, record.config, rate_hz=record.rate_hz)
    stored = {half: predictor.predict(store.open_half(half)) for half in store.halves_of(games)}
    spots = spot(stored, store.actions, record.config.spotting)
    return average_map(spots, store.events_of(games), len(store.actions)).average_map


if __name__ == "__main__":
    main()
