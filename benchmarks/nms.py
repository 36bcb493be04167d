"""NMS: how long the exact search of rules and windows takes, and what it is worth on unseen games.

Probabilities of an invented model on invented matches (hmtas.season.match): no data are needed.
Every action has its own blur, strength, echo and confusion, so that no one window suits them all.
"""

import argparse
import json
import time
from typing import NamedTuple

import numpy as np

from hmtas.formats.actions import ACTIONS
from hmtas.metric.averages import TIGHT_S
from hmtas.metric.counts import histograms
from hmtas.records import Events, HalfId, Probabilities
from hmtas.season.chains import SimulatedHalf
from hmtas.season.match import simulate_match
from hmtas.spotting.nms import non_max_suppression
from hmtas.spotting.table import Setting, Table, tabulate
from hmtas.spotting.windows import (
    BORROWED,
    KINDS,
    borrowed_precision,
    every_setting,
    fit_exact,
    fit_global,
    precision_of,
    thesis_settings,
)

SIMULATED_S = (*range(1, 16), 17, 20, 25, 30, 40)  # every second row of the rest adds nothing
BORROWINGS = (0.0, 25.0, BORROWED, 100.0, 200.0, 400.0)


class Model(NamedTuple):
    """How an invented model sees each action, all (A,)."""

    blur_s: np.ndarray
    strength: np.ndarray  # logit at the peak
    spread: np.ndarray  # of it, from event to event
    echo_s: np.ndarray  # a weaker second peak comes so much later
    echo: np.ndarray  # its size beside the first
    confused: np.ndarray  # int: another action that it is taken for


def invent_model(rng: np.random.Generator, num_actions: int = len(ACTIONS)) -> Model:
    return Model(
        blur_s=rng.uniform(0.6, 3.5, num_actions),
        strength=rng.uniform(4, 8, num_actions),
        spread=rng.uniform(1, 3, num_actions),
        echo_s=rng.uniform(3, 12, num_actions),
        echo=rng.uniform(0, 0.9, num_actions),
        confused=rng.integers(0, num_actions, num_actions),
    )


def predict(
    rng: np.random.Generator, model: Model, half: HalfId, played: SimulatedHalf
) -> Probabilities:
    """What the model says of a half."""
    num_rows, num_actions = played.duration_s, len(model.blur_s)
    row = np.arange(num_rows)
    logit = rng.standard_normal((num_rows, num_actions)) * 0.8 - 5
    logit[1:] += 0.5 * logit[:-1] + 2.5  # the noise has a memory
    for moment, a in zip(played.time_s, played.action, strict=True):
        size = max(0.0, model.strength[a] + model.spread[a] * rng.standard_normal())
        at = moment + 0.4 * rng.standard_normal()
        for column, when, height in (
            (a, at, size),
            (a, at + model.echo_s[a] * rng.uniform(0.7, 1.3), size * model.echo[a]),
            (model.confused[a], at, size * 0.5),
        ):
            near = slice(max(0, int(when - 12)), int(when + 12))
            distance = (row[near] - when) / model.blur_s[column]
            logit[near, column] += height * np.exp(-(distance**2) / 2)
    values = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return Probabilities(half=half, values=values)


def invent_season(
    rng: np.random.Generator, num_games: int, minutes: float = 45.0
) -> tuple[dict[HalfId, Probabilities], dict[HalfId, Events]]:
    """One model on many games."""
    model = invent_model(rng)
    halves, events = {}, {}
    for game in range(num_games):
        for number, played in enumerate(simulate_match(rng, minutes), start=1):
            half = HalfId(f"game {game:03d}", number)
            order = np.argsort(played.label_s, kind="stable")
            halves[half] = predict(rng, model, half, played)
            events[half] = Events(
                half=half,
                time_s=played.label_s[order],
                action=played.action[order],
                visible=played.visible[order],
            )
    return halves, events


def random_pairs(
    rng: np.random.Generator, games: list[str], num_pairs: int, size: int
) -> list[tuple[list[str], list[str]]]:
    """Fitting games and as many unseen ones, drawn anew for each pair."""
    pairs = []
    for _ in range(num_pairs):
        shuffled = rng.permutation(games).tolist()
        pairs.append((shuffled[:size], shuffled[size : 2 * size]))
    return pairs


def unseen_scores(
    seed: int, *, num_fitted: int, num_pairs: int, candidates_s: tuple[int, ...] = SIMULATED_S
) -> tuple[dict[str, np.ndarray], list[Table]]:
    """Tight Average-mAP in points on games that chose nothing, by method, one per pair.

    Returns:
        The scores, and the tables of the fitting games.
    """
    rng = np.random.default_rng(seed)
    halves, events = invent_season(rng, 2 * num_fitted)
    games = sorted({half.game for half in halves})
    pairs = random_pairs(rng, games, num_pairs, num_fitted)
    tables = tabulate(
        halves,
        events,
        [games for pair in pairs for games in pair],
        every_setting(KINDS, candidates_s),
    )
    fitted, unseen = tables[::2], tables[1::2]
    chosen = {
        "thesis": [thesis_settings(ACTIONS) for _ in fitted],
        "global": [fit_global(table) for table in fitted],
        **{f"{k:g}": [fit_exact(table, k) for table in fitted] for k in BORROWINGS},
    }
    chosen["best"] = [fit_exact(table, 0.0) for table in unseen]  # not to be had
    scores = {
        method: 100 * np.array([precision_of(t, s) for t, s in zip(unseen, of, strict=True)])
        for method, of in chosen.items()
    }
    return scores, fitted


def time_search(num_games: int) -> tuple[float, float, Table]:
    """Seconds of 4,080 settings, and of as many by way of spots (estimated from four)."""
    halves, events = invent_season(np.random.default_rng(0), num_games)
    games = sorted({half.game for half in halves})
    settings = every_setting(KINDS, range(1, 61))
    tabulate(halves, events, [games], [Setting(kind, 2.0) for kind in KINDS])  # compile
    started = time.perf_counter()
    (table,) = tabulate(halves, events, [games], settings)
    fit_exact(table)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for kind in KINDS:
        spots = {
            half: non_max_suppression(p, np.full(len(ACTIONS), 9.0), 0.0, kind)
            for half, p in halves.items()
        }
        histograms(spots, events, TIGHT_S, len(ACTIONS))
    by_spots = (time.perf_counter() - started) / len(KINDS) * len(settings)
    return ours, by_spots, table


def against_optuna(tables: list[Table], trials: int) -> list[tuple[float, float, float, float]]:
    """For each table, in points: exact, optuna, then both in what they maximise."""
    from tune.windows.optuna_windows import search_windows

    found = []
    for table, sampled in zip(tables, search_windows(tables, trials=trials), strict=True):
        exact = fit_exact(table)
        worth = table._replace(precision=borrowed_precision(table))
        found.append(
            (
                100 * precision_of(table, exact),
                100 * precision_of(table, sampled),
                100 * precision_of(worth, exact),
                100 * precision_of(worth, sampled),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few games, within a minute")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--seasons", type=int, help="simulated seasons")
    arguments = parser.parse_args()
    quick = arguments.quick

    num_games = 10 if quick else 100
    ours, by_spots, table = time_search(num_games)
    print(f"4,080 settings on {2 * num_games} halves, exact metric")
    print(f"  column by column, all cores   {ours:8.1f} s")
    print(f"  by way of spots (estimated)   {by_spots:8.1f} s")

    num_seasons = arguments.seasons or (1 if quick else 6)
    scores: dict[str, list[float]] = {}
    tables = [table]
    for seed in range(1, 1 + num_seasons):
        of_season, fitted = unseen_scores(
            seed,
            num_fitted=10 if quick else 100,
            num_pairs=2 if quick else 10,
            candidates_s=(3, 7, 9, 12, 20) if quick else SIMULATED_S,
        )
        tables.append(fitted[0])
        for method, values_of_season in of_season.items():
            scores.setdefault(method, []).extend(values_of_season.tolist())
    num_pairs = len(scores["global"])
    print(f"\nTight Average-mAP on unseen games, {num_pairs} pairs of fitting and unseen games, %")
    print("  method                        mean   minus thesis (min)   minus global (min)")
    names = {"thesis": "thesis (fixed)", "global": "global", "best": "best there, not to be had"}
    for method, values in scores.items():
        against = [np.subtract(values, scores[other]) for other in ("thesis", "global")]
        differences = "".join(f"{d.mean():+13.2f} ({d.min():+5.2f})" for d in against)
        name = names.get(method, f"exact, {method} events borrowed")
        mark = " *" if method == f"{BORROWED:g}" else ""
        print(f"  {name:28s}{np.mean(values):6.2f}{differences}{mark}")

    trials = 20 if quick else 200
    compared = against_optuna(tables, trials)
    print(f"\nTight Average-mAP on the fitting games, optuna with {trials} trials, %")
    print("  season   exact   optuna   exact - optuna    in what both maximise")
    for season, (exact, sampled, worth, sampled_worth) in enumerate(compared):
        print(f"  {season:6d}  {exact:6.2f}   {sampled:6.2f}   {exact - sampled:+14.2f}"
              f"    {worth - sampled_worth:+21.2f}")  # fmt: skip
    tuned = np.array(scores[f"{BORROWED:g}"])
    if arguments.json:
        print(json.dumps({
            "seconds_4080_settings": round(ours, 2),
            "exact_minus_optuna_min": round(
                min(min(a - b, c - d) for a, b, c, d in compared), 3),
            "tuned_minus_thesis_mean": round(float((tuned - scores["thesis"]).mean()), 3),
            "tuned_minus_global_mean": round(float((tuned - scores["global"]).mean()), 3),
            "tuned_minus_global_min": round(float((tuned - scores["global"]).min()), 3),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
