"""The look of every picture: colours for colour-blind readers, a faint grid, no box."""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#6b7785", "#e3e7ec"
BLUE, ORANGE, GREEN, RED, GREY = "#2166ac", "#d95f02", "#1b7837", "#b2182b", "#8a95a1"
VERDICT_COLOURS = {"better": GREEN, "worse": RED, "cannot tell": GREY}
DPI = 144
TITLE: dict[str, Any] = {"loc": "left", "fontsize": 10, "color": MUTED}


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def style_axes(axes: "Axes", grid: Literal["x", "y", "both"]) -> None:
    """The look of every picture: a faint grid, no box."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
