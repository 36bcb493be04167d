"""A picture of a selection: the scores of the combiners, and how much the models err together."""

import math
from typing import TYPE_CHECKING

from ensemble.selection.record import DiversityRecord, SelectionRecord
from hmtas.terminal.style import (
    BLUE,
    GREY,
    INK,
    MUTED,
    SMALL,
    TITLE,
    VERDICT_COLOURS,
    draw_interval,
    new_figure,
    style_rows,
)
from hmtas.terminal.text import percent, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_NAME = 22


def draw(record: SelectionRecord) -> "Figure":
    """Scores left, differences to the single model in the middle, correlations of errors right."""
    rows = record.combiners
    figure = new_figure(15.0, max(4.2, 1.6 + 0.42 * len(rows)), f"Selected: {record.chosen}")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    style_rows(left, [row.name + (" ◀" if row.name == record.chosen else "") for row in rows])
    style_rows(middle, [""] * len(rows))
    middle.axvline(0, color=INK, linewidth=0.9)
    for y, row in enumerate(rows):
        draw_interval(left, y, row.tight, row.tight_interval, BLUE, label=percent(row.tight))
        against = row.against_single
        if against is None:
            middle.text(0, y, " the single model", color=MUTED, fontsize=SMALL, va="center")
        else:
            ends, colour = (against.low, against.high), VERDICT_COLOURS[against.verdict]
            label = points(against.difference)
            draw_interval(middle, y, against.difference, ends, colour, label=label)
    left.set_title("tight Average-mAP, %, games unseen", **TITLE)
    middle.set_title("minus the single model", **TITLE)
    _draw_correlations(right, record.diversity)
    return figure


def _draw_correlations(axes: "Axes", diversity: DiversityRecord) -> None:
    values = [[float("nan") if v is None else v for v in row] for row in diversity.mean]
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    names = [name[-LONGEST_NAME:] for name in diversity.models]
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7.5, color=GREY)
    axes.set_yticks(range(len(names)), names, fontsize=7.5, color=GREY)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if not math.isnan(value):
                axes.text(x, y, f"{100 * value:.0f}", ha="center", va="center", fontsize=7,
                          color="white" if value > 0.55 else INK)  # fmt: skip
    axes.set_title("correlation of errors, %, mean of the actions", **TITLE)
