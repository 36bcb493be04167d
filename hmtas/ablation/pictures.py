"""Pictures of an ablation: the ladder, the loss curves (Figure 5.21), the positives (Figure 5.20).

Drawn with matplotlib's figures alone, without pyplot: no window, no state.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hmtas.ablation.results import (
    AblationResult,
    Curve,
    MeanScore,
    Positives,
    Step,
    StudyResult,
    VariantResult,
)
from hmtas.ablation.scores import BACKGROUND
from hmtas.terminal.style import (
    BLUE,
    GREY,
    INK,
    MUTED,
    ORANGE,
    SMALL,
    TITLE,
    VERDICT_COLOURS,
    draw_interval,
    new_figure,
    style_axes,
    style_rows,
    write_figure,
)
from hmtas.terminal.text import counted, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_pictures(result: AblationResult, folder: Path) -> list[Path]:
    """Draw everything and write PNG files, each complete or not at all.

    Returns:
        `positives.png`, and for each study `<name>.png` and `<name>-losses.png`.
    """
    figures = {"positives": draw_positives(result.positives)}
    for study in result.studies:
        figures[study.name] = draw_study(result, study)
        figures[f"{study.name}-losses"] = draw_losses(study)
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        write_figure(figure, written[-1])
    return written


def draw_study(result: AblationResult, study: StudyResult) -> "Figure":
    """Scores left, paired differences right, a line per variant."""
    rows = study.rows
    title = f"{study.title}: {counted(result.num_games, 'game')} of {result.split}"
    figure = new_figure(11.6, 1.7 + 0.52 * len(rows), title)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.15))
    style_axes(right, "x")
    style_rows(left, [_label(row) for row in rows])
    right.axvline(0, color=INK, linewidth=0.9)
    for y, row in enumerate(rows):
        if row.same_as is not None:
            for axes in (left, right):
                axes.text(0.5, y, f"the same as {row.same_as}", color=MUTED, fontsize=SMALL,
                          ha="center", va="center", transform=axes.get_yaxis_transform(),
                          fontstyle="italic")  # fmt: skip
            continue
        _draw_score(left, y, row.tight)
        if row.against is not None:
            _draw_step(right, y, row.against)
    against = "the rung before" if study.reference is None else study.reference
    left.set_xlabel("tight Average-mAP, %", color=INK)
    right.set_xlabel(f"difference from {against}, points", color=INK)
    several = len(result.seeds) > 1
    left.set_title("Score" + (", small dots: seeds" if several else ""), **TITLE)
    right.set_title("Difference, with simultaneous 95 % intervals over games", **TITLE)
    _legend(right, study)
    return figure


def draw_losses(study: StudyResult) -> "Figure":
    """Train and validation loss by epoch (Figure 5.21), an axes per variant.

    The scales differ on purpose: class weights, gamma and L change what the loss means, so only
    the course of a curve and its gap to the other say something.
    """
    rows = study.trained
    num_columns = min(4, len(rows))
    num_lines = -(-len(rows) // num_columns)
    figure = new_figure(
        max(2.9 * num_columns, 5.0),
        0.9 + 2.35 * num_lines,
        "Loss by epoch, each on its own scale",
    )
    grid = figure.subplots(num_lines, num_columns, squeeze=False, sharex=True)
    most = max(len(curve.train) for row in rows for curve in row.curves)
    for place, axes in enumerate(grid.flat):
        if place >= len(rows):
            figure.delaxes(axes)
            continue
        row = rows[place]
        style_axes(axes, "both")
        _draw_curves(axes, row.curves)
        axes.set_title(row.name, **TITLE)
        axes.set_xlim(0.5, most + 0.5)
        step = max(1, -(-most // 8))
        axes.set_xticks(range(1, most + 1, step))
        if place + num_columns >= len(rows):
            axes.tick_params(axis="x", labelbottom=True)
            axes.set_xlabel("epoch", color=INK)
        if place % num_columns == 0:
            axes.set_ylabel("loss", color=INK)
    handles, names = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def draw_positives(positives: Positives) -> "Figure":
    """Share of the training windows that are positive for each action (Figure 5.20), log axis."""
    counts = dict(sorted(positives.counts.items(), key=lambda item: -item[1]))
    total = positives.num_windows
    shares = [100 * count / total for count in counts.values()]
    # Room for the axes, however few the actions and however long their names.
    width = 9.0 + 0.09 * max(0, max(map(len, counts)) - 40)
    height = max(2.8, 1.3 + 0.3 * len(counts))
    figure = new_figure(width, height, "Positive training windows by action")
    axes = figure.subplots()
    style_rows(axes, list(counts))
    colours = [GREY if name == BACKGROUND else BLUE for name in counts]
    axes.barh(range(len(counts)), shares, color=colours, height=0.72)
    axes.set_xscale("log")
    lowest = min((share for share in shares if share > 0), default=1.0) / 3
    ticks = [10.0**power for power in range(math.ceil(math.log10(lowest)), 3)]
    axes.set_xticks(ticks, [f"{tick:g} %" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(lowest, 1000)
    for y, (count, share) in enumerate(zip(counts.values(), shares, strict=True)):
        text = f" {_percent(share)}  ({count:,})" if count else " none"
        axes.text(share if count else lowest, y, text, va="center", fontsize=SMALL,
                  color=MUTED)  # fmt: skip
    axes.set_xlabel(
        f"share of {total:,} training windows of L = {positives.seq_len}, logarithmic", color=INK
    )
    return figure


def _draw_score(axes: "Axes", y: int, score: MeanScore) -> None:
    if len(score.by_seed) > 1:
        axes.plot([100 * value for value in score.by_seed], [y] * len(score.by_seed),
                  "o", color=BLUE, markersize=3.2, alpha=0.6, markeredgewidth=0)  # fmt: skip
    draw_interval(axes, y, score.mean, score.interval, BLUE, label=percent(score.mean, 1))


def _draw_step(axes: "Axes", y: int, against: Step) -> None:
    found = against.tight
    ends, colour = (found.low, found.high), VERDICT_COLOURS[found.verdict]
    draw_interval(axes, y, found.difference, ends, colour)
    if against.thesis is not None:
        axes.plot(100 * against.thesis, y, "D", markerfacecolor="white", markeredgecolor=ORANGE,
                  markersize=6, markeredgewidth=1.5, zorder=3)  # fmt: skip


def _legend(axes: "Axes", study: StudyResult) -> None:
    """What the colours are; below the axes, where no point lies."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], marker="o", linestyle="-", color=colour, label=verdict)
        for verdict, colour in VERDICT_COLOURS.items()
    ]
    steps = [row.against for row in study.rows if row.against is not None]
    if any(step.thesis is not None for step in steps):
        marks.append(Line2D([], [], marker="D", linestyle="", markerfacecolor="white",
                            markeredgecolor=ORANGE, markeredgewidth=1.5,
                            label="the thesis's step"))  # fmt: skip
    figure = axes.get_figure()
    assert figure is not None
    figure.legend(handles=marks, loc="outside lower right", ncols=4, frameon=False, fontsize=9)


def _draw_curves(axes: "Axes", curves: Sequence[Curve]) -> None:
    for number, curve in enumerate(curves):
        for name, losses, colour in (
            ("train", curve.train, BLUE),
            ("validation", curve.validation, ORANGE),
        ):
            values = [(e, v) for e, v in enumerate(losses, start=1) if v is not None]
            axes.plot([e for e, _ in values], [v for _, v in values], color=colour, marker="o",
                      markersize=3, linewidth=1.6, alpha=0.9 if len(curves) == 1 else 0.65,
                      label=name if number == 0 else None)  # fmt: skip
        best = curve.best_epoch
        at_best = None if best is None else curve.validation[best - 1]
        if best is not None and at_best is not None:
            axes.plot(best, at_best, "o", markersize=8.5,
                      markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.1,
                      linestyle="", label="best epoch" if number == 0 else None)  # fmt: skip


def _label(row: VariantResult) -> str:
    """A name and, below it, what it is, short enough to stand beside an axis."""
    title = row.title.removeprefix(f"{row.name}: ")
    title = title if len(title) <= 50 else f"{title[:48].rstrip(' ,')} …"
    return f"{row.name}\n{title}"


def _percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 1 else f"{share:.2g} %"
