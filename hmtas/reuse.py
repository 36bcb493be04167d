"""Memory of batches that nobody holds any more, to be filled again.

A batch of windows at full width is 13 MB. The system gives such memory back as soon as it is freed,
and new pages cost twice the copy that fills them.
"""

import sys

import numpy as np

UNUSED = 2  # references to an array that only its list holds: the list's, and the question's


class Pool:
    """Arrays that are used again; whoever still holds one, or a tensor of it, keeps it whole."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, np.dtype[np.generic]], list[np.ndarray]] = {}

    def array(self, num_rows: int, width: int, dtype: np.dtype[np.generic]) -> np.ndarray:
        """(num_rows, width) of any content."""
        arrays = self._arrays.setdefault((width, dtype), [])
        for i in range(len(arrays)):
            if sys.getrefcount(arrays[i]) == UNUSED and len(arrays[i]) >= num_rows:
                return arrays[i][:num_rows]
        arrays.append(np.empty((num_rows, width), dtype))
        return arrays[-1][:num_rows]

    def take(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """`values[rows]`; rows must lie within, as they are not checked."""
        out = self.array(len(rows), values.shape[1], values.dtype)
        # Any other mode fills a buffer of its own first.
        return np.take(values, rows, axis=0, out=out, mode="clip")
