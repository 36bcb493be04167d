"""Default NMS windows by the gaps between events: what they lose to the best window of an action.

Invented probabilities of invented actions, from rallies to events minutes apart: no data are
needed. The rules differ in the quantile of the gaps and in how many rows less than twice that gap
a window has.
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np

from hmtas.records import Events, HalfId, Probabilities
from hmtas.spotting.gaps import QUANTILE, WIDEST_S
from hmtas.spotting.table import tabulate
from hmtas.spotting.windows import every_setting

NUM_GAMES, HALF_S = 12, 1200
# Least gap and mean of what comes on top of it, s; 0: a beat.
GAPS_S = {
    "rally": (0.8, 1.0),
    "ball": (1.0, 3.0),
    "passes": (3.0, 8.0),
    "fouls": (5.0, 25.0),
    "corners": (5.0, 120.0),
    "beat of 2 s": (2.0, 0.0),
    "beat of 3 s": (3.0, 0.0),
    "bursts": (1.0, 1.2),
}
WINDOWS_S = (*np.arange(1, 40) / 5, *np.arange(17, 20) / 2, *range(10, 21))
RULES = [(0.05, 0), (0.05, 1), (0.05, 2), (0.1, 0), (0.1, 1), (0.1, 2), (0.25, 1), (0.5, 1)]


def times(rng: np.random.Generator, name: str) -> np.ndarray:
    """Moments of the events of an action in a half, s."""
    least_s, more_s = GAPS_S[name]
    if name == "bursts":
        gaps_s = np.concatenate(list(_bursts(rng, least_s, more_s)))
    else:
        gaps_s = least_s + rng.exponential(more_s, size=HALF_S)
    time_s = rng.uniform(0, 3) + np.cumsum(gaps_s)
    # Moments of a beat are on the grid of the labels.
    return (time_s if more_s else time_s.round())[time_s < HALF_S - 3]


def _bursts(rng: np.random.Generator, least_s: float, more_s: float) -> Iterator[np.ndarray]:
    for _ in range(60):
        yield np.array([20 + rng.exponential(30)])
        yield least_s + rng.exponential(more_s, size=rng.integers(2, 8))


def invent_season(
    rng: np.random.Generator, rate_hz: float
) -> tuple[dict[HalfId, Probabilities], dict[HalfId, Events]]:
    """A model that blurs each action in its own way, moves it a little and sees it twice."""
    num_actions = len(GAPS_S)
    blur_s, echo_s = rng.uniform(0.3, 1.8, num_actions), rng.uniform(1.5, 8, num_actions)
    size, spread = rng.uniform(4, 8, num_actions), rng.uniform(1, 3, num_actions)
    echo = rng.uniform(0, 0.7, num_actions)
    moment_s = np.arange(round(HALF_S * rate_hz)) / rate_hz
    halves, events = {}, {}
    for game in range(NUM_GAMES):
        half = HalfId(f"game {game:02d}", 1)
        logit = rng.standard_normal((len(moment_s), num_actions)) * 0.8 - 5
        logit[1:] += 0.5 * logit[:-1] + 2.5
        marks = [times(rng, name) for name in GAPS_S]
        for a, time_s in enumerate(marks):
            for when in time_s:
                seen = max(0.0, size[a] + spread[a] * rng.standard_normal())
                at = when + 0.25 * rng.standard_normal()
                later = at + echo_s[a] * rng.uniform(0.7, 1.3)
                for peak, height in ((at, seen), (later, seen * echo[a])):
                    near = slice(max(0, int((peak - 8) * rate_hz)), int((peak + 8) * rate_hz))
                    distance = (moment_s[near] - peak) / blur_s[a]
                    logit[near, a] += height * np.exp(-(distance**2) / 2)
        time_s, action = (
            np.concatenate(marks),
            np.repeat(np.arange(num_actions), [*map(len, marks)]),
        )
        order = np.argsort(time_s, kind="stable")
        values = (1 / (1 + np.exp(-logit))).astype(np.float32)
        halves[half] = Probabilities(half=half, values=values, rate_hz=rate_hz)
        events[half] = Events(
            half=half,
            time_s=time_s[order],
            action=action[order],
            visible=np.ones(len(order), np.bool_),
        )
    return halves, events


def losses(seed: int, rate_hz: float) -> dict[str, np.ndarray]:
    """Points of average precision below the best window, (A,) for each rule."""
    halves, events = invent_season(np.random.default_rng(seed), rate_hz)
    settings = every_setting(("hard",), WINDOWS_S)
    (table,) = tabulate(halves, events, [sorted({half.game for half in halves})], settings)
    widths_s = np.array([setting.window_s for setting in settings])
    below_WA = 100 * (table.precision.max(axis=0) - table.precision)
    actions = range(len(GAPS_S))

    def of(windows_s: np.ndarray) -> np.ndarray:
        nearest = [int(np.abs(widths_s - window_s).argmin()) for window_s in windows_s]
        found: np.ndarray = below_WA[nearest, list(actions)]
        return found

    gaps = [
        np.concatenate([np.diff(e.time_s[e.action == a]) for e in events.values()]) for a in actions
    ]
    found = {"9 s": of(np.full(len(gaps), 9.0))}
    for quantile, rows in RULES:
        windows_s = [2 * float(np.quantile(gap, quantile)) - rows / rate_hz for gap in gaps]
        used = " (used)" if (quantile, rows) == (QUANTILE, 1) else ""
        name = f"{100 * quantile:g} % of the gaps, {rows} rows less{used}"
        found[name] = of(np.clip(windows_s, 2 / rate_hz, WIDEST_S))
    return found


def main() -> None:
    """Print the mean over seeds by rate, rule and action."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--rates-hz", type=float, nargs="+", default=[1.0, 2.0, 5.0])
    arguments = parser.parse_args()
    sys.stdout.write(f"points below the best window: mean; {', '.join(GAPS_S)}\n")
    for rate_hz in arguments.rates_hz:
        every = [losses(seed, rate_hz) for seed in range(arguments.seeds)]
        for name in every[0]:
            mean_A = np.mean([found[name] for found in every], axis=0)
            cells = " ".join(f"{value:5.1f}" for value in mean_A)
            sys.stdout.write(f"{rate_hz:g} Hz  {mean_A.mean():5.2f}  {cells}  {name}\n")


if __name__ == "__main__":
    main()
