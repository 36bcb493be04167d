"""The look of every picture: colours for colour-blind readers, a faint grid, no box."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hmtas.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#6b7785", "#e3e7ec"
BLUE, ORANGE, GREEN, RED, GREY = "#2166ac", "#d95f02", "#1b7837", "#b2182b", "#8a95a1"
VERDICT_COLOURS = {"better": GREEN, "worse": RED, "cannot tell": GREY}
SMALL = 8.5  # font size beside a point
TITLE: dict[str, Any] = {"loc": "left", "fontsize": 10, "color": MUTED}


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a PNG file, complete or not at all."""
    with atomic_path(path) as scratch:
        figure.savefig(scratch, format="png", dpi=144, facecolor="white")


def style_axes(axes: "Axes", grid: Literal["x", "y", "both"]) -> None:
    """The look of every picture: a faint grid, no box."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def style_rows(axes: "Axes", labels: Sequence[str]) -> None:
    """The same, for a picture with a line per label, the first on top."""
    style_axes(axes, "x")
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", labelsize=9.5, labelcolor=INK)


def draw_interval(
    axes: "Axes", y: int, value: float, ends: Sequence[float], colour: str, *, label: str = ""
) -> None:
    """A share as a point in percent, its interval as a line."""
    axes.plot([100 * end for end in ends], [y, y], color=colour, linewidth=2.2, alpha=0.55,
              solid_capstyle="round")  # fmt: skip
    axes.plot(100 * value, y, "o", color=colour, markersize=7.5)
    axes.annotate(label, (100 * value, y), xytext=(0, 7), textcoords="offset points", ha="center",
                  fontsize=SMALL, color=INK)  # fmt: skip
