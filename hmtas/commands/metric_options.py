"""The options that choose a metric beside tight and loose: read, checked and shared by verbs."""

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from hmtas.errors import InputError

if TYPE_CHECKING:
    from hmtas.metric.chosen import ChosenMetric

MOST_FPS = 1000
MOST_S = 7200  # the evaluator's two hours

ToleranceS = Annotated[
    str | None,
    typer.Option(
        "--tolerance-s",
        help="Average-mAP at these tolerances, full widths as the SoccerNet evaluator means "
        "them: 1 is half a second to each side, the mAP@1 of ball and team spotting.",
    ),
]
GridHz = Annotated[
    int | None,
    typer.Option(
        "--grid-hz",
        min=1,
        max=100,
        help="Cells a second that --tolerance-s looks at; 2 by default, as the official evaluator "
        "has it. Ball and team spotting are scored at 25.",
    ),
]
ToleranceFrames = Annotated[
    str | None,
    typer.Option(
        "--tolerance-frames",
        help="The mAP of E2E-Spot, within so many frames to each side: no grid, every spot by "
        "rank. 1, or several such as 0,1,2,4, of which the mean counts.",
    ),
]
Fps = Annotated[
    float | None,
    typer.Option("--fps", help="Frames a second of --tolerance-frames."),
]


def chosen_metric(
    tolerance_s: str | None,
    grid_hz: int | None,
    tolerance_frames: str | None,
    fps: float | None,
) -> "ChosenMetric | None":
    """The metric that the four options name, or None.

    Raises:
        InputError: If they contradict each other, one lacks another, or one is no list of
            tolerances.
    """
    if tolerance_s is not None and tolerance_frames is not None:
        raise InputError(
            f"--tolerance-s {tolerance_s} and --tolerance-frames {tolerance_frames}: one metric at "
            "a time; leave one of them out"
        )
    if grid_hz is not None and tolerance_s is None:
        raise InputError(
            f"--grid-hz {grid_hz} needs --tolerance-s: tight and loose keep their grid of half "
            "seconds, and frames have none"
        )
    if fps is not None and tolerance_frames is None:
        raise InputError(
            f"--fps {fps:g} needs --tolerance-frames: how many frames off may a spot be?"
        )
    if tolerance_s is None and tolerance_frames is None:
        return None
    # Not at the top: the metric is compiled, and `hmtas --help` should not wait for it.
    from hmtas.metric.chosen import ChosenMetric
    from hmtas.metric.matching import GRID_HZ

    if tolerance_s is not None:
        widths = _ascending("--tolerance-s", tolerance_s, whole=False)
        return ChosenMetric(unit="seconds", tolerances=widths, rate_hz=grid_hz or GRID_HZ)
    assert tolerance_frames is not None
    if fps is None:
        raise InputError(
            f"--tolerance-frames {tolerance_frames} needs --fps: how many frames has a second of "
            "these videos?"
        )
    if not 0 < fps <= MOST_FPS:
        raise InputError(f"--fps must be above 0 and at most {MOST_FPS}, got {fps:g}")
    reach = _ascending("--tolerance-frames", tolerance_frames, whole=True)
    return ChosenMetric(unit="frames", tolerances=reach, rate_hz=fps)


def _ascending(option: str, text: str, *, whole: bool) -> tuple[float, ...]:
    """The tolerances of a list such as 1,2,4."""
    most = MOST_S * (MOST_FPS if whole else 1)
    what = f"whole frames, 0 to {most:,}" if whole else f"seconds, above 0 and at most {most:,}"
    try:
        numbers = [float(int(part) if whole else float(part)) for part in text.split(",")]
    except (ValueError, OverflowError):
        numbers = [math.nan]
    inside = all((number >= 0 if whole else number > 0) and number <= most for number in numbers)
    if not inside:
        raise InputError(f"{option} must be {what}, with commas between several, got {text!r}")
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise InputError(f"{option} must ascend, each once, got {text!r}")
    return tuple(numbers)
