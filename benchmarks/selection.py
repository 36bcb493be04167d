"""How honest the automated selection is, on simulated seasons of models whose truth is known.

In each season the code of `hmtas ensemble select` chooses among combinations of 24 models and the
single model, on 50 validation games (simulated_seasons.py). Prints what it chose, claimed and
delivered, beside what naive selection claims and delivers, and whether the aims are met. The
seasons are of five kinds; the shares and biases are over all of them, the oracle's gain over those
of equal models with independent errors.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

# One thread for each process, and this is read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import binomtest, t
from simulated_seasons import INDEPENDENT, KINDS, SINGLE, Season, Sizes, simulate_season

FULL, QUICK = Sizes(100, 24, 50, 6), Sizes(5, 6, 12, 2)
AIMS = (
    ("claim_bias_points", "<=", 0.3),
    ("naive_bias_points", ">=", 2.0),
    ("guard_failures_share", "<=", 0.05),
    ("noise_weight_max", "<=", 0.02),
    ("oracle_gain_share", ">=", 0.7),
)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="selection.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers, within a minute")
    parser.add_argument("--seasons", type=int, help="how many, 5 or more")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args(given)
    sizes = QUICK if arguments.quick else FULL
    if arguments.seasons is not None:
        sizes = sizes._replace(seasons=arguments.seasons)
    if sizes.seasons < len(KINDS):
        parser.error(f"--seasons must be {len(KINDS)} or more, one of each kind")
    started = time.monotonic()
    print(f"{sizes.seasons} seasons x {sizes.models} models, {sizes.games} validation games; "
          f"truth from {sizes.sets} sets of as many", flush=True)  # fmt: skip
    seasons = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        jobs = [pool.submit(simulate_season, number, sizes) for number in range(sizes.seasons)]
        for job in as_completed(jobs):
            seasons.append(job.result())
            _show(seasons[-1])
    seasons.sort(key=lambda season: season.number)
    show_kinds(seasons)
    found = summarise(seasons)
    show_aims(found, intervals(seasons))
    print(f"{time.monotonic() - started:.0f} s")
    if arguments.json:
        print(json.dumps({key: round(value, 4) for key, value in found.items()}))


def summarise(seasons: Sequence[Season]) -> dict[str, float]:
    """The keys of `--json`; points are hundredths of Average-mAP."""
    even = [season for season in seasons if season.kind == INDEPENDENT]
    gain = np.mean([season.true - season.one_model for season in even])
    best = np.mean([season.oracle - season.one_model for season in even])
    claim = 100 * np.array([season.claim_error for season in seasons])
    naive = 100 * np.array([season.naive_error for season in seasons])
    seen = 100 * np.array([season.seen_error for season in seasons])
    raw = 100 * np.array([season.claimed - season.true for season in seasons])
    return {
        "claim_bias_points": abs(float(claim.mean())),
        "naive_bias_points": float(naive.mean()),
        "guard_failures_share": float(np.mean([s.failed for s in seasons])),
        "noise_weight_max": max(season.noise_weight for season in seasons),
        "oracle_gain_share": float(gain / best),
        "claim_standard_error_points": _error(claim),
        "naive_bias_same_fits_points": float(seen.mean()),
        "claim_bias_points_with_luck": abs(float(raw.mean())),
    }


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _show(season: Season) -> None:
    points = 100 * np.array((*season[3:8], season.luck))
    claimed, true, single, naive, naive_true, luck = points
    print(f"  season {season.number:3d}, {season.kind:20} {season.chosen:18} "
          f"claimed {claimed:6.2f}, true {true:6.2f}, single {single:6.2f}, "
          f"naive {naive:6.2f} for {naive_true:6.2f}, luck {luck:+5.2f}", flush=True)  # fmt: skip


def show_kinds(seasons: Sequence[Season]) -> None:
    print(f"\n{'':22}{'seasons':>8}{'single':>8}{'chosen':>8}{'ensembles':>11}"
          f"{'claimed - true':>18}{'naive - true':>18}{'worse':>7}{'noise':>7}")  # fmt: skip
    for kind in (*KINDS, "all"):
        those = [season for season in seasons if kind in (season.kind, "all")]
        single, chosen = (100 * np.mean([s.single for s in those]),
                          100 * np.mean([s.true for s in those]))  # fmt: skip
        claim, naive = (100 * np.array([s.claim_error for s in those]),
                        100 * np.array([s.naive_error for s in those]))  # fmt: skip
        print(f"{kind:22}{len(those):8d}{single:8.2f}{chosen:8.2f}"
              f"{sum(s.chosen != SINGLE for s in those):11d}"
              f"{claim.mean():+10.2f} +- {_error(claim):4.2f}"
              f"{naive.mean():+10.2f} +- {_error(naive):4.2f}"
              f"{sum(s.failed for s in those):7d}"
              f"{max(s.noise_weight for s in those):7.3f}")  # fmt: skip


def intervals(seasons: Sequence[Season]) -> dict[str, tuple[float, float]]:
    """95 % intervals of what few seasons leave open, by the keys of `summarise`."""
    reach = float(t.ppf(0.975, len(seasons) - 1))
    found = {}
    for key, values in (
        ("claim_bias_points", [season.claim_error for season in seasons]),
        ("naive_bias_points", [season.naive_error for season in seasons]),
    ):
        points = 100 * np.array(values)
        mean, half = float(points.mean()), reach * _error(points)
        found[key] = (mean - half, mean + half)
    # A bias may be of either sign.
    low, high = found["claim_bias_points"]
    found["claim_bias_points"] = (max(low, -high, 0.0), max(-low, high))
    failed = binomtest(sum(season.failed for season in seasons), len(seasons))
    found["guard_failures_share"] = tuple(failed.proportion_ci(method="wilson"))
    return found


def show_aims(found: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> None:
    """An aim is met or missed where all of the interval says so."""
    print()
    for key, sign, aim in AIMS:
        ends = intervals.get(key, (found[key], found[key]))
        met = {end <= aim if sign == "<=" else end >= aim for end in ends}
        verdict = "cannot tell" if len(met) == 2 else "met" if met == {True} else "missed"
        shown = f"[{ends[0]:.3f}, {ends[1]:.3f}]" if key in intervals else ""
        print(f"{key:24}{found[key]:8.3f} {shown:18} aim {sign} {aim:<5} {verdict}")


if __name__ == "__main__":
    main()
