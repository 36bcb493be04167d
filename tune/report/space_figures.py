"""The pictures of a space: all dimensions at once, and one by one."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tune.report.importance import Importances
from tune.report.style import INK, STATES, hover_of, plain, styled
from tune.space.dimensions import Choice, Range, Space, point_of
from tune.space.labels import in_order, label_of, text_of
from tune.study.record import StudyRecord, score_of

AXES = 10  # of parallel coordinates: more cannot be followed
COLUMNS = 3  # of slices
PANELS = 30  # slices; 17 class weights and what goes with them fit


def parallel(record: StudyRecord, keys: Sequence[str]) -> go.Figure:
    """A line per trial with a score over some dimensions, ending at its score."""
    space, objective = record.settings.space, record.settings.options.objective
    rows = [
        row
        for row in record.trials
        if row.status != "failed" and score_of(row, objective) is not None
    ]
    points = [point_of(row.settings, space) for row in rows]
    axes: list[dict[str, Any]] = [
        {
            "label": _name(key, space),
            **_axis(space.dimensions[key], [point.get(key) for point in points]),
        }
        for key in keys
    ]
    scores = [100 * (score_of(row, objective) or 0.0) for row in rows]
    word = "loose" if objective == "loose" else "tight"
    axes.append({"label": f"{word}, %", "values": scores, "tickformat": ".1f"})
    figure = go.Figure(
        go.Parcoords(
            dimensions=axes,
            line={"color": scores, "colorscale": "Cividis", "reversescale": True},
            labelfont={"size": 12, "color": INK},
            tickfont={"size": 11, "color": INK},
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
            labelangle=-18,
        )
    )
    return styled(figure, 420, margin={"l": 70, "r": 70, "t": 110, "b": 24})


def shown_axes(record: StudyRecord, found: Importances) -> tuple[list[str], int]:
    """The dimensions that parallel coordinates show, and how many they leave out."""
    keys = in_order(record.settings.space)
    if len(keys) <= AXES:
        return keys, 0
    ranked = [one.key for one in found.found] or keys
    kept = set(ranked[:AXES])
    return [key for key in keys if key in kept], len(keys) - len(kept)


def _axis(dimension: Range | Choice, values: Sequence[Any]) -> dict[str, Any]:
    """One axis; where a dimension is not part of a point, its line passes below the axis' end."""
    if isinstance(dimension, Choice):
        places = {choice: float(i) for i, choice in enumerate(dimension.choices)}
        low, high, ticks = 0.0, len(places) - 1.0, {text_of(c): i for c, i in places.items()}
    else:
        to = math.log10 if dimension.log else float
        places = {value: to(value) for value in values if value is not None}
        low, high = to(dimension.low), to(dimension.high)
        ticks = {text_of(value): to(value) for value in _ticks(dimension)}
    below = low - 0.15 * ((high - low) or 1.0)
    absent = None in values
    if absent:
        ticks["not there"] = below
    return {
        "values": [below if value is None else places[value] for value in values],
        "range": [below if absent else low, high if high > low else low + 1],
        "tickvals": list(ticks.values()),
        "ticktext": list(ticks),
    }


def _ticks(dimension: Range) -> list[float]:
    low, high = dimension.low, dimension.high
    if dimension.log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        return sorted({low, high, *(10.0**e for e in range(first, last + 1))})
    if dimension.integer and high - low <= 10:
        return [float(v) for v in range(int(low), int(high) + 1)]
    return [low + (high - low) * i / 4 for i in range(5)]


def slices(record: StudyRecord, keys: Sequence[str]) -> go.Figure:
    """A panel per dimension: each trial's value and score."""
    space, objective = record.settings.space, record.settings.options.objective
    num_rows = math.ceil(len(keys) / COLUMNS)
    figure = make_subplots(
        rows=num_rows,
        cols=COLUMNS,
        shared_yaxes=True,
        subplot_titles=[_name(key, space) for key in keys],
        vertical_spacing=min(0.34 / num_rows, 0.2),
        horizontal_spacing=0.05,
    )
    shown = [
        (row, 100 * score, point_of(row.settings, space))
        for row in record.trials
        if (score := score_of(row, objective)) is not None
    ]
    best = max((score for row, score, _ in shown if row.status != "failed"), default=None)
    named: set[str] = set()
    for i, key in enumerate(keys):
        place = {"row": i // COLUMNS + 1, "col": i % COLUMNS + 1}
        dimension = space.dimensions[key]
        choice = isinstance(dimension, Choice)
        for status, (name, colour, symbol) in STATES.items():
            here = [one for one in shown if one[0].status == status and key in one[2]]
            if not here:
                continue
            figure.add_scatter(
                x=[text_of(p[key]) if choice else p[key] for _, _, p in here],
                y=[score for _, score, _ in here],
                mode="markers",
                name=name,
                legendgroup=status,
                showlegend=status not in named,
                marker={
                    "color": colour,
                    "symbol": symbol,
                    "opacity": 0.85,
                    "size": [12 if score == best else 8 for _, score, _ in here],
                    "line": {
                        "width": [2 if score == best else 0 for _, score, _ in here],
                        "color": INK,
                    },
                },
                hovertext=[
                    f"{hover_of(record, row)}<br>{_name(key, space)}: {text_of(p[key])}"
                    for row, _, p in here
                ],
                hoverinfo="text",
                **place,
            )
            named.add(status)
        if isinstance(dimension, Choice):
            order = [text_of(c) for c in dimension.choices]
            figure.update_xaxes(
                type="category", categoryorder="array", categoryarray=order, **place
            )
        else:
            to = math.log10 if dimension.log else float
            low, high = to(dimension.low), to(dimension.high)
            edge = 0.06 * ((high - low) or 1.0)
            figure.update_xaxes(range=[low - edge, high + edge], **place)
            if dimension.log:
                figure.update_xaxes(type="log", dtick=1, exponentformat="power", **place)
            elif dimension.integer and high - low <= 10:
                figure.update_xaxes(dtick=1, **place)
        if i % COLUMNS == 0:
            word = "loose" if objective == "loose" else "tight"
            figure.update_yaxes(title=f"{word}, %", rangemode="tozero", **place)
    height = 90 + 230 * num_rows
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1 + 40 / height, "x": 0}
    return styled(figure, height, legend=legend, margin={"l": 60, "r": 24, "t": 80, "b": 40})


def _name(key: str, space: Space) -> str:
    return plain(label_of(key, space))
