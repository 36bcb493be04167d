"""A metric of another task, chosen by its tolerances, beside tight and loose Average-mAP."""

from typing import Literal, NamedTuple

from hmtas.metric.matching import GRID_HZ
from hmtas.validation import Frozen


class Grid(NamedTuple):
    """Tolerances of Average-mAP, and the grid that it looks at."""

    tolerances_s: tuple[float, ...]  # (D,) full widths, ascending
    grid_hz: int


class ChosenMetric(Frozen):
    """Average-mAP at other tolerances, in seconds, or mAP within so many frames."""

    unit: Literal["seconds", "frames"]
    tolerances: tuple[float, ...]  # ascending: full widths in s, or whole frames to each side
    rate_hz: float  # cells of the grid, or frames, a second

    @property
    def title(self) -> str:
        """What tables call it, such as `1 s, 25 Hz` or `0, 1, 2 frames, 25 fps`."""
        numbers = ", ".join(f"{number:g}" for number in self.tolerances)
        if self.unit == "frames":
            return f"{numbers} {'frame' if self.tolerances == (1,) else 'frames'}, {self._rate} fps"
        return f"{numbers} s" + ("" if self.rate_hz == GRID_HZ else f", {self._rate} Hz")

    @property
    def key(self) -> str:
        """What MLflow calls it, such as `map_1s_25hz` or `map_0_1_2_frames_25fps`."""
        numbers = "_".join(f"{number:g}" for number in self.tolerances)
        if self.unit == "frames":
            return f"map_{numbers}_frames_{self._rate}fps"
        return f"map_{numbers}s_{self._rate}hz"

    @property
    def _rate(self) -> str:
        return f"{self.rate_hz:g}"

    @property
    def grid(self) -> Grid:
        """What windows are fitted for.

        mAP by frames has no table of settings; Average-mAP with the same reach, on a grid of
        frames, takes its place. No frame to each side is half a cell: that cell alone.
        """
        if self.unit == "seconds":
            return Grid(self.tolerances, int(self.rate_hz))
        grid_hz = max(round(self.rate_hz), 1)
        return Grid(tuple(max(2 * reach, 1) / grid_hz for reach in self.tolerances), grid_hz)
