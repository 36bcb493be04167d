"""How often the statistics of hmtas are right, on simulated models whose truth is known.

Prints a table, each number with a 95 % interval or a standard error; `--json` ends with one line:
coverage of the 95 % intervals of paired differences, share of experiments with a false "better"
among 50 challengers, what is left of the winner's luck in points, and the seconds of 1,000 paired
resamples of 100 games.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

# One thread for each process, and this is read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import binomtest
from simulate import Model, simulate_model, simulate_moments

from hmtas.statistics.games import GameCounts, resampled_averages
from hmtas.statistics.intervals import (
    Resampled,
    critical_value,
    draw_weights,
    paired_difference,
    resample,
)
from hmtas.statistics.verdicts import compare_to
from hmtas.statistics.winner import corrected_winner

UNSEEN = 10**6  # seeds from here on draw the games that tell the truth
# The first of each pair; the others are equal, slightly better, and of another kind.
FIRST = Model()
SECONDS = (Model(seed=1), Model(skill=2.1, seed=2), Model(own_noise=0.8, seed=3))


class Sizes(NamedTuple):
    """How much is simulated."""

    pairs: int
    truths: int  # sets of 100 games behind each truth
    resamples: int  # behind an interval
    nulls: int  # experiments with 50 challengers
    null_resamples: int
    sweeps: int  # experiments with 24 candidates
    sweep_resamples: int


FULL = Sizes(500, 600, 500, 200, 200, 100, 60)
QUICK = Sizes(60, 60, 100, 10, 150, 5, 40)
PAIR_GAMES, NULL_GAMES, SWEEP_GAMES = 100, 100, 50
CHALLENGERS, CANDIDATES = 50, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers, within a minute")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    speed = seconds_1000_resamples()
    print(f"1,000 paired resamples of 100 games: {speed:.2f} s")
    with ProcessPoolExecutor(arguments.workers) as pool:

        def each(work: Callable[[int], object], num: int) -> list:
            started = time.monotonic()
            results = list(pool.map(work, range(num), chunksize=1))
            print(f"    ({num} in {time.monotonic() - started:.0f} s)", flush=True)
            return results

        coverage = show_coverage(
            each(truth, sizes.truths), each(partial(pair, num=sizes.resamples), sizes.pairs)
        )
        false_better = show_null(each(partial(null, num=sizes.null_resamples), sizes.nulls))
        bias = show_winner(each(partial(sweep, num=sizes.sweep_resamples), sizes.sweeps))
    if arguments.json:
        print(
            json.dumps(
                {
                    "coverage": round(coverage, 4),
                    "false_better": round(false_better, 4),
                    "winner_bias_points": round(bias, 3),
                    "seconds_1000_resamples": round(speed, 3),
                }
            )
        )


def seconds_1000_resamples() -> float:
    first, second = (simulate_model(simulate_moments(100, 0), Model(seed=s)) for s in (0, 1))
    paired_difference(first, second, 10)  # compiled
    started = time.perf_counter()
    paired_difference(first, second, 1000)
    return time.perf_counter() - started


def average(counts: GameCounts) -> float:
    return float(resampled_averages(counts, np.ones((1, len(counts.games))))[0])


def truth(seed: int) -> list[float]:
    """One unseen set of games: scores of the first model and of each second."""
    moments = simulate_moments(PAIR_GAMES, UNSEEN + seed)
    return [average(simulate_model(moments, model)) for model in (FIRST, *SECONDS)]


class Pair(NamedTuple):
    """One simulated pair: scores on all games, resampled, and with each game left out."""

    second: int
    resampled: Resampled
    smooth: np.ndarray  # (R, 2), with weights of a Bayesian bootstrap
    without_one: np.ndarray  # (G, 2)


def pair(seed: int, num: int) -> Pair:
    moments = simulate_moments(PAIR_GAMES, seed)
    second = seed % len(SECONDS)
    models = [simulate_model(moments, model) for model in (FIRST, SECONDS[second])]
    generator = np.random.default_rng(seed)
    smooth = PAIR_GAMES * generator.dirichlet(np.ones(PAIR_GAMES), size=num)
    each = np.concatenate([smooth, 1 - np.eye(PAIR_GAMES)])
    averages = np.stack([resampled_averages(counts, each) for counts in models], axis=1)
    return Pair(second, resample(models, num, seed), averages[:num], averages[num:])


def intervals(
    score: float, drawn: np.ndarray, smooth: np.ndarray, without_one: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Ways to an interval; the first is the one that hmtas uses."""
    games = len(without_one)
    t = critical_value(games)
    larger = np.sqrt(games / (games - 1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    centred = score - drawn.mean()
    jackknife = np.sqrt((games - 1) * without_one.var())
    smooth_low, smooth_high = np.quantile(smooth, [0.025, 0.975]) + score - smooth.mean()
    accelerated = np.quantile(drawn, _bca_levels(score, drawn, without_one))
    return {
        "score +- t x standard error": _around(score, t * larger * drawn.std()),
        "score +- 1.96 x standard error": _around(score, 1.96 * drawn.std()),
        "percentile": (low, high),
        "percentile, centred on the score": (low + centred, high + centred),
        "basic": (2 * score - high, 2 * score - low),
        "BCa": (accelerated[0], accelerated[1]),
        "score +- t x jackknife error": _around(score, t * jackknife),
        "Bayesian bootstrap, centred": (smooth_low, smooth_high),
    }


def _around(score: float, reach: float) -> tuple[float, float]:
    return score - reach, score + reach


def _bca_levels(score: float, drawn: np.ndarray, without_one: np.ndarray) -> list[float]:
    """Efron and Tibshirani 1993, equations 14.10, 14.14 and 14.15."""
    from statistics import NormalDist

    normal = NormalDist()
    bias = normal.inv_cdf(float(np.clip((drawn < score).mean(), 1e-3, 1 - 1e-3)))
    influence = without_one.mean() - without_one
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    shifted = [bias + normal.inv_cdf(p) for p in (0.025, 0.975)]
    return [normal.cdf(bias + z / (1 - acceleration * z)) for z in shifted]


def show_coverage(truths: Sequence[list[float]], pairs: Sequence[Pair]) -> float:
    truth_M = np.array(truths).mean(axis=0)
    sd_M = np.array(truths).std(axis=0)
    apart = np.array(truths)[:, [0]] - np.array(truths)[:, 1:]
    print(
        f"Truth from {len(truths)} unseen sets of {PAIR_GAMES} games: "
        f"{_points(truth_M)}; sd of a score {_points(sd_M)}, of a difference "
        f"{_points(apart.std(axis=0))} points"
    )
    inside: dict[str, list[tuple[bool, bool, float]]] = {}
    for one in pairs:
        # Two models that differ by their seed alone are equal: that truth needs no simulation.
        true_difference = 0.0 if one.second == 0 else truth_M[0] - truth_M[1 + one.second]
        scores, drawn = one.resampled.scores, one.resampled.resamples
        single = intervals(scores[0], drawn[:, 0], one.smooth[:, 0], one.without_one[:, 0])
        of_both = [values[:, 0] - values[:, 1] for values in (drawn, one.smooth, one.without_one)]
        paired = intervals(scores[0] - scores[1], *of_both)
        for name in paired:
            (low, high), (single_low, single_high) = paired[name], single[name]
            covers = low <= true_difference <= high, single_low <= truth_M[0] <= single_high
            inside.setdefault(name, []).append((*covers, 100 * (high - low)))
    print(
        f"\n{'95 % interval, ' + str(len(pairs)) + ' pairs':36}{'pair':>7}{'single':>8}{'width':>7}"
    )
    for name, rows in inside.items():
        paired_share, single_share, width = np.mean(rows, axis=0)
        print(f"{name:36}{100 * paired_share:7.1f}{100 * single_share:8.1f}{width:7.2f}")
    covered = [row[0] for row in next(iter(inside.values()))]
    print(f"coverage of the first for a pair: {_share(covered)}")
    return float(np.mean(covered))


def _share(found: Sequence[bool]) -> str:
    """A share in percent with its 95 % interval, after Wilson."""
    low, high = binomtest(sum(found), len(found)).proportion_ci(method="wilson")
    return f"{100 * np.mean(found):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _points(shares: np.ndarray) -> str:
    return ", ".join(f"{100 * share:.2f}" for share in shares)


class Null(NamedTuple):
    """One experiment with equal models: is any verdict false?"""

    better: bool
    uncorrected: bool
    holm: bool
    picked_worse: bool  # the reference was picked for being the best
    width_over_plain: float


def null(seed: int, num: int) -> Null:
    moments = simulate_moments(NULL_GAMES, seed)
    models = [simulate_model(moments, Model(seed=m)) for m in range(CHALLENGERS + 1)]
    resampled = resample(models, num, seed)
    found = list(compare_to(resampled, 0, picked=False).values())
    best = int(resampled.scores.argmax())
    worse = [one.verdict == "worse" for one in compare_to(resampled, best, picked=True).values()]
    ratios = [one.difference / one.standard_error for one in found]
    # Holm's first step decides whether anything at all is found: 1 - 0.025 / 50 to one side.
    return Null(
        better=any(one.verdict == "better" for one in found),
        uncorrected=max(ratios) > critical_value(NULL_GAMES),
        holm=max(ratios) > critical_value(NULL_GAMES, 1 - 0.05 / CHALLENGERS),
        picked_worse=any(worse),
        width_over_plain=(found[0].high - found[0].difference)
        / (found[0].standard_error * critical_value(NULL_GAMES)),
    )


def show_null(nulls: Sequence[Null]) -> float:
    share = np.mean(nulls, axis=0)
    print(f"\nAny false verdict, {CHALLENGERS} equal challengers on {NULL_GAMES} games, %")
    print(f"{'better, by max-T':36}{100 * share[0]:7.1f}   intervals x {share[4]:.2f}")
    print(f"{'better, uncorrected':36}{100 * share[1]:7.1f}")
    print(f"{'better, by Holm':36}{100 * share[2]:7.1f}")
    print(f"{'worse than the best on these games':36}{100 * share[3]:7.1f}")
    print(f"any false better, by max-T: {_share([one.better for one in nulls])}")
    return float(share[0])


class Sweep(NamedTuple):
    """One experiment with equal candidates, in points above what they deliver."""

    uncorrected: float
    optimism: float
    folds: float
    out_of_bag: float
    half_splits: float


def sweep(seed: int, num: int) -> Sweep:
    moments = simulate_moments(SWEEP_GAMES, seed)
    models = [simulate_model(moments, Model(seed=m)) for m in range(CANDIDATES)]
    fold_of = np.random.default_rng(seed).permutation(SWEEP_GAMES) % 5
    tested = np.array([fold_of == fold for fold in range(5)], dtype=np.float64)
    drawn = draw_weights(SWEEP_GAMES, num, seed)
    weights = np.concatenate([np.ones((1, SWEEP_GAMES)), drawn, drawn == 0, tested])
    averages = np.stack([resampled_averages(counts, weights) for counts in models], axis=1)
    scores, (resamples, left_out, folds) = averages[0], np.split(averages[1:], [num, 2 * num])
    winner = corrected_winner(models, num // 2, seed)
    best = winner.candidate
    lucky = resamples - resamples.mean(axis=1, keepdims=True) - (scores - scores.mean())
    picked = np.arange(num), resamples.argmax(axis=1)
    optimism = lucky[picked].mean()
    # Equal candidates deliver what all of them score on average over games; that mean instead of
    # its expected value takes the noise of the games, the same for all, out of every bias.
    points = [
        winner.score,
        winner.score - optimism,
        # R. J. Tibshirani and R. Tibshirani 2009: the best of each fold, above the winner there.
        winner.score - (folds.max(axis=1) - folds[:, best]).mean(),
        # I. Tsamardinos et al. 2018: pick on a resample, score on the games it left out.
        scores.mean() + (left_out[picked] - left_out.mean(axis=1)).mean(),
        winner.corrected,
    ]
    return Sweep(*(100 * (value - scores.mean()) for value in points))


def show_winner(sweeps: Sequence[Sweep]) -> float:
    bias, error = np.mean(sweeps, axis=0), np.std(sweeps, axis=0) / np.sqrt(len(sweeps))
    print(f"\nScore of the best of {CANDIDATES} equal models on {SWEEP_GAMES} games, minus truth")
    names = (
        "uncorrected",
        "bootstrap optimism",
        "Tibshirani 2009, 5 folds",
        "out of bag",
        "half splits",
    )
    for name, value, standard_error in zip(names, bias, error, strict=True):
        print(f"{name:36}{value:+7.2f} +- {standard_error:.2f} points")
    return float(bias[-1])


if __name__ == "__main__":
    main()
