"""Where the samples of a half lie: single windows, or chunks of consecutive windows.

A chunk of n windows of L rows covers n + L - 1 rows, so that overlapping windows can share the
projection of a row (hmtas.model.network). Pure index arithmetic, like `hmtas.model.windows`.
"""

from typing import NamedTuple

import numpy as np


class SampleLayout(NamedTuple):
    """How a half is cut."""

    seq_len: int  # L, rows of a window
    chunk_windows: int = 0  # windows of a chunk; 0 cuts single windows

    @property
    def num_windows(self) -> int:
        """Windows of a sample, n."""
        return max(1, self.chunk_windows)

    @property
    def num_rows(self) -> int:
        """Rows of a sample, S = n + L - 1."""
        return self.num_windows + self.seq_len - 1

    def starts(self, num_rows: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of the first windows of the samples that cover a half.

        Chunks start at a random offset, new with each call, so that the neighbours of a window in
        its chunk change. A chunk that would reach past an end of the half is moved inside:
        every window is covered, those near the ends a little more often than once. In a half
        shorter than a chunk the last window repeats.

        Args:
            num_rows: T, rows of the half.
            rng: Draws the offset; not used for single windows.

        Returns:
            (K,) int64, ascending.
        """
        if not self.chunk_windows:
            return np.arange(num_rows)
        offset = int(rng.integers(self.num_windows))
        starts = np.arange(-offset, num_rows, self.num_windows)
        return np.unique(np.clip(starts, 0, max(0, num_rows - self.num_windows)))

    def num_samples(self, num_rows: int) -> float:
        """How many samples cover a half of T rows, the mean over the offsets."""
        if num_rows <= self.num_windows:
            return 1.0 if self.chunk_windows else num_rows
        return (num_rows + self.num_windows - 1) / self.num_windows

    def spans(self, starts: np.ndarray, base: int, num_rows: int) -> np.ndarray:
        """Samples as numbers: the row of the first window, the first and the last row of the half.

        Args:
            starts: (K,) from `starts`.
            base: Where the half begins among the rows of several halves.
            num_rows: T, rows of the half.

        Returns:
            (K, 3) int64. The rows of a sample begin floor(L / 2) before its first window; rows past
            an end of the half repeat its first or last one, as in
            `hmtas.model.windows.window_rows`.
        """
        ends = np.broadcast_to([base, base + num_rows - 1], (len(starts), 2))
        return np.concatenate([base + starts[:, None], ends], axis=1)
