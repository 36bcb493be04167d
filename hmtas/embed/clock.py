"""What the clock and the pace of the commentary say, whatever its words."""

import numpy as np

HALF_S = 2700.0
PACE_S = ((-30, -10), (-10, 0), (0, 10), (10, 30), (0, 0))
LONG_SILENCE_S = 60


def clock_features(
    half: int, num_rows: int, num_words: np.ndarray | None, *, end_known: bool
) -> np.ndarray:
    """Fifteen numbers per second.

    They are: the time in the half (in 45 minutes; decaying over 30 s and 300 s), the time to
    its end (in 45 minutes; decaying over 60 s) where it is known, the half, closeness to 45:00;
    words per second in five ranges, silence since the last and until the next word, and whether
    there is a transcript at all.

    Args:
        half: 1 or 2.
        num_rows: T.
        num_words: (T,) words said in each second; None without a transcript.
        end_known: Is row T - 1 known to be the end of the half?

    Returns:
        (T, 15) float16.
    """
    second = np.arange(num_rows, dtype=np.float64)
    left = num_rows - second
    none = np.zeros(num_rows)
    columns = [
        second / HALF_S,
        np.exp(-second / 30),
        np.exp(-second / 300),
        left / HALF_S if end_known else none,
        np.exp(-left / 60) if end_known else none,
        np.full(num_rows, half - 1.0),
        np.exp(-np.abs(second - HALF_S) / 120),
    ]
    if num_words is None:
        columns += [none] * (len(PACE_S) + 3)
    else:
        running = running_sum(num_words)
        columns += [over_range(running, span) / (span[1] - span[0] + 1) for span in PACE_S]
        columns += [_since_last(num_words), _since_last(num_words[::-1])[::-1], none + 1]
    features: np.ndarray = np.stack(columns, axis=1).astype(np.float16)
    return features


def running_sum(rows: np.ndarray) -> np.ndarray:
    """(T, ...) to the (T + 1, ...) float64 sums of the rows before each."""
    sums = rows.cumsum(axis=0, dtype=np.float64)
    return np.concatenate([np.zeros((1, *rows.shape[1:])), sums])


def over_range(running: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Sums of the rows t + span[0] to t + span[1], ends included, for every t; (T, ...)."""
    num_rows = len(running) - 1
    first = np.clip(np.arange(num_rows) + span[0], 0, num_rows)
    last = np.clip(np.arange(num_rows) + span[1] + 1, 0, num_rows)
    total: np.ndarray = running[last] - running[first]
    return total


def _since_last(num_words: np.ndarray) -> np.ndarray:
    """log(1 + seconds since the last word), at most that of `LONG_SILENCE_S`."""
    row = np.arange(len(num_words))
    last = np.maximum.accumulate(np.where(num_words > 0, row, -LONG_SILENCE_S))
    silence: np.ndarray = np.log1p(np.minimum(row - last, LONG_SILENCE_S))
    return silence
