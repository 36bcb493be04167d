"""One-dimensional non-maximum suppression: from probabilities to spots (thesis Section 4.3).

Every rule is greedy and looks at each action by itself: of the rows that are left, keep the most
probable one (the earliest among equals), suppress the rows in its window, repeat. With h half a
window and d the distance of a row from the one just kept:

hard      drops the rows with d <= h: two spots of one action are always more than h apart.
thesis    is what the thesis's code does: around row i, with w rows to the window, it drops the
          rows [int(i - w / 2), i + int(w / 2)). That is one row more before than after, and two
          more where w is odd.
linear    multiplies their probability by d / h (Soares & Shah 2022, "Action spotting using dense
          detection anchors revisited", with no least weight and no widened window).
squared   multiplies it by (d / h) ** 2, as later spotting models do: harder on every neighbour,
          most of all on the close ones (T-DEED, Xarles et al. 2024; its window is our h).
gaussian  multiplies it by exp(-o ** 2 / 0.5) (Bodla et al. 2017, Eq. 3 with their sigma), where o
          is the overlap, intersection over union, of two segments h long and d apart:
          o = (h - d) / (h + d). A neighbour never falls below exp(-2) = 0.14 of itself at once.

The last three are soft: no row is lost unless it falls below the threshold. All factors lie in
(0, 1] and are 1 at d = h, so a confidence never grows and never leaves [0, 1].
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from hmtas.config import NmsKind
from hmtas.records import Probabilities, Spots

SIGMA = 0.5  # of the gaussian rule, from Bodla et al.
DROPPED = -1.0  # in the place of the confidence of a row that is not kept
_CLOSED = -np.inf  # a row that is decided; stays so when multiplied by a factor > 0


class Rule(NamedTuple):
    """A rule of suppression at one window, as the compiled loops read it."""

    before: int  # rows before a kept row that it suppresses
    after: int  # rows after it
    factor: np.ndarray  # (before + 1 + after,) of the rows around it; empty if they are dropped


def make_rule(window_rows: float, kind: NmsKind) -> Rule:
    """The rule of a kind at a full width in rows.

    Raises:
        ValueError: If there is no such kind.
    """
    half = window_rows / 2
    side = int(np.floor(half))
    if kind == "hard":
        return Rule(side, side, np.empty(0))
    if kind == "thesis":
        # A window below two rows is empty in the thesis's rule; the kept row goes all the same.
        return Rule(int(np.ceil(half)), max(side - 1, 0), np.empty(0))
    distance = np.abs(np.arange(-side, side + 1)).astype(np.float64)
    distance[side] = half  # the kept row itself: a factor of 1
    if kind == "linear":
        return Rule(side, side, distance / half)
    if kind == "squared":
        return Rule(side, side, (distance / half) ** 2)
    if kind == "gaussian":
        overlap = (half - distance) / (half + distance)
        return Rule(side, side, np.exp(-(overlap**2) / SIGMA))
    raise ValueError(
        f"kind must be 'hard', 'thesis', 'linear', 'squared' or 'gaussian', got {kind!r}"
    )


def non_max_suppression(
    probabilities: Probabilities,
    windows_s: np.ndarray,
    threshold: float = 0.2,
    kind: NmsKind | Sequence[NmsKind] = "hard",
) -> Spots:
    """Keep the peaks of every action.

    Args:
        probabilities: One half, (T, A).
        windows_s: (A,) full widths in seconds, > 0.
        threshold: Rows below it, at first or once decayed, are dropped; 0 keeps every peak, and
            under a soft rule every row.
        kind: The rule, see above; one for all actions or one for each.

    Returns:
        Spots ordered by action, then time.

    Raises:
        ValueError: If the windows are not A numbers > 0, or a kind is unknown.
    """
    windows = np.asarray(windows_s, dtype=np.float64)
    num_actions = probabilities.values.shape[1]
    if windows.shape != (num_actions,) or not (windows > 0).all():
        raise ValueError(
            f"{probabilities.half}: windows must be {num_actions} numbers > 0 s, "
            f"got {windows.tolist()}"
        )
    kinds = [kind] * num_actions if isinstance(kind, str) else kind
    action, row, confidence = suppress_half(
        probabilities.values,
        threshold,
        _side_by_side(
            make_rule(window * probabilities.rate_hz, kind_of_action)
            for window, kind_of_action in zip(windows, kinds, strict=True)
        ),
    )
    return Spots(
        half=probabilities.half,
        time_s=row / probabilities.rate_hz,
        action=action,
        confidence=confidence,
    )


class _Rules(NamedTuple):
    """The rules of all actions as arrays; `factor_AW` is filled up to the widest."""

    before_A: np.ndarray
    after_A: np.ndarray
    factor_AW: np.ndarray
    num_factors_A: np.ndarray


def _side_by_side(rules: Iterable[Rule]) -> _Rules:
    rules = list(rules)
    num_factors_A = np.array([len(rule.factor) for rule in rules], dtype=np.int64)
    factor_AW = np.ones((len(rules), num_factors_A.max(initial=0)))
    for a, rule in enumerate(rules):
        factor_AW[a, : len(rule.factor)] = rule.factor
    return _Rules(
        before_A=np.array([rule.before for rule in rules], dtype=np.int64),
        after_A=np.array([rule.after for rule in rules], dtype=np.int64),
        factor_AW=factor_AW,
        num_factors_A=num_factors_A,
    )


@njit(cache=True, nogil=True)
def suppress_half(
    values_TA: np.ndarray, threshold: float, rules: _Rules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`suppress_column` for every action.

    Returns:
        Action, row and confidence of what is kept, by action, then row.
    """
    num_rows, num_actions = values_TA.shape
    kept_AT = np.empty((num_actions, num_rows))
    num_kept = 0
    for a in range(num_actions):
        factor = rules.factor_AW[a, : rules.num_factors_A[a]]
        rule = Rule(rules.before_A[a], rules.after_A[a], factor)
        num_kept += suppress_column(values_TA[:, a], threshold, 0.0, rule, kept_AT[a])
    action = np.empty(num_kept, dtype=np.int64)
    row = np.empty(num_kept, dtype=np.int64)
    confidence = np.empty(num_kept)
    n = 0
    for a in range(num_actions):
        for t in range(num_rows):
            if kept_AT[a, t] != DROPPED:
                action[n], row[n], confidence[n] = a, t, kept_AT[a, t]
                n += 1
    return action, row, confidence


@njit(cache=True, nogil=True)
def suppress_column(
    value_T: np.ndarray, threshold: float, floor: float, rule: Rule, kept_T: np.ndarray
) -> int:
    """The confidences that the greedy rule leaves to one action, found without sorting.

    A row can be kept as soon as no open row that would suppress it is better: the greedy rule
    comes to it before it comes to them, and nothing else suppresses it. So from any open row climb
    to a better one that would suppress it, and on from there; at the top, keep, suppress, and step
    back down to what is still open. Every step climbs, so there is no cycle. (Soft rules multiply
    in another order than one that sorts: equal but for rounding.)

    Args:
        value_T: (T,) probabilities.
        threshold: Rows below it are dropped.
        floor: Confidences below it are of no interest: such rows get 0, which saves most of the
            time. 0, or for a soft rule at threshold 0 any number: a row suppresses none that is
            better than itself, so what lies above the floor stays exact.
        rule: The rule and its window.
        kept_T: (T,) float64, filled with the confidences, `DROPPED` where a row is not kept.

    Returns:
        How many are kept.
    """
    num_rows = len(value_T)
    soft = len(rule.factor) > 0
    pad = max(rule.before, rule.after)  # rows that are closed: no window crosses an end
    least = max(threshold, floor)
    num_kept = 0 if floor <= threshold else num_rows
    kept_T[:] = DROPPED if floor <= threshold else 0.0
    work = np.full(num_rows + 2 * pad, _CLOSED)
    for t in range(num_rows):
        if value_T[t] >= least:
            work[pad + t] = value_T[t]
    path = np.empty(num_rows, dtype=np.int64)
    for start in range(pad, pad + num_rows):
        path[0] = start
        depth = 0
        while depth >= 0:
            row = path[depth]
            if work[row] < least:  # decided, or decayed until it is dropped
                work[row] = _CLOSED
                depth -= 1
                continue
            better = _find_better(work, row, rule.after, rule.before)
            if better >= 0:
                # A soft rule may turn rows of the path around, so that it returns to one of them
                # and grows beyond T. The path only saves time: then climb from `start` again.
                depth = depth + 1 if depth + 1 < num_rows else 0
                path[depth] = better if depth > 0 else start
                continue
            if floor <= threshold:
                num_kept += 1
            kept_T[row - pad] = work[row]
            work[row] = _CLOSED
            around = work[row - rule.before : row + rule.after + 1]
            if soft:
                for i in range(len(around)):
                    around[i] *= rule.factor[i]
            else:
                around[:] = _CLOSED
            depth -= 1
    return num_kept


@njit(cache=True, nogil=True)
def _find_better(work: np.ndarray, row: int, back: int, on: int) -> int:
    """The nearest row, `back` before to `on` after, that is more probable or equal and earlier.

    Returns:
        Its index, -1 if there is none.
    """
    value = work[row]
    for distance in range(1, max(back, on) + 1):
        if distance <= back and work[row - distance] >= value:
            return row - distance
        if distance <= on and work[row + distance] > value:
            return row + distance
    return -1
