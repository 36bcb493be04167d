"""The pictures of a search: its history, what mattered, its curves, its front, its time."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hmtas.runs.record import EpochRecord
from tune.report.importance import Importances
from tune.report.style import BLUE, GREY, INK, STATES, hover_of, plain, styled
from tune.space.labels import label_of
from tune.study.options import TIGHT
from tune.study.record import StudyRecord, TrialRow, pareto_front

MOST_BARS = 20


def history(record: StudyRecord) -> go.Figure:
    """Each trial in the order it was sampled, and the best so far; a row per maximised number."""
    metrics = record.settings.options.metrics
    figure = make_subplots(rows=len(metrics), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for i, metric in enumerate(metrics, 1):
        scores = [row.best_tight if metric == TIGHT else row.best_loose for row in record.trials]
        for status, (name, colour, symbol) in STATES.items():
            here = [
                n
                for n, row in enumerate(record.trials)
                if row.status == status and (scores[n] is not None or status == "failed")
            ]
            if not here:
                continue
            figure.add_scatter(
                x=[n + 1 for n in here],
                y=[100 * (scores[n] or 0.0) for n in here],
                mode="markers",
                name=name,
                legendgroup=status,
                showlegend=i == 1,
                marker={"color": colour, "symbol": symbol, "size": 9},
                cliponaxis=False,
                hovertext=[hover_of(record, record.trials[n]) for n in here],
                hoverinfo="text",
                row=i,
                col=1,
            )
        best, line = 0.0, []
        for row, score in zip(record.trials, scores, strict=True):
            best = max(best, score or 0.0) if row.status != "failed" else best
            line.append(100 * best)
        figure.add_scatter(
            x=list(range(1, len(line) + 1)),
            y=line,
            mode="lines",
            name="best so far",
            legendgroup="best",
            showlegend=i == 1,
            line={"color": INK, "width": 1.5, "shape": "hv"},
            hoverinfo="skip",
            row=i,
            col=1,
        )
        word = metric.removeprefix("best_")
        figure.update_yaxes(title=f"{word} Average-mAP, %", rangemode="tozero", row=i, col=1)
    figure.update_xaxes(range=[0.4, len(record.trials) + 0.6])
    figure.update_xaxes(title="trial, in the order they were proposed", row=len(metrics), col=1)
    return styled(figure, 90 + 300 * len(metrics))


def importance(found: Importances, record: StudyRecord) -> go.Figure:
    """A bar per dimension, and a mark where chance alone would end."""
    rows = found.found[:MOST_BARS][::-1]
    labels = [plain(label_of(one.key, record.settings.space)) for one in rows]
    figure = go.Figure()
    figure.add_bar(
        x=[100 * one.share for one in rows],
        y=labels,
        orientation="h",
        name="of this study",
        marker={"color": [BLUE if one.share > one.chance else "#a9c9de" for one in rows]},
        hovertemplate="%{y}: %{x:.0f} %<extra></extra>",
    )
    figure.add_scatter(
        x=[100 * one.chance for one in rows],
        y=labels,
        mode="markers",
        name="what shuffled scores stay below, 95 % of the time",
        marker={"symbol": "line-ns", "size": 18, "line": {"width": 2.5, "color": INK}},
        hovertemplate="%{y}: chance reaches %{x:.0f} %<extra></extra>",
    )
    figure.update_xaxes(title="share of the importance, %", rangemode="tozero")
    return styled(figure, 110 + 34 * len(rows))


def curves(
    record: StudyRecord, epochs: Mapping[str, Sequence[EpochRecord]], best: str | None
) -> go.Figure:
    """The score of every trial after each epoch; a cross where one was stopped."""
    objective = record.settings.options.objective
    figure = go.Figure()
    named: set[str] = set()
    ordered = sorted(record.trials, key=lambda row: row.id == best)  # the best one on top
    for row in ordered:
        heard = [
            (e.epoch, 100 * value)
            for e in epochs.get(row.id, ())
            if (value := e.loose if objective == "loose" else e.tight) is not None
        ]
        if not heard:
            continue
        name, colour, _ = STATES[row.status]
        name = "best" if row.id == best else name
        ends = row.status in ("stopped", "failed")
        symbols = ["circle"] * (len(heard) - 1) + ["x" if ends else "circle"]
        figure.add_scatter(
            x=[epoch for epoch, _ in heard],
            y=[value for _, value in heard],
            mode="lines+markers",
            name=name,
            legendgroup=name,
            showlegend=name not in named,
            line={
                "color": INK if name == "best" else colour,
                "width": 3 if name == "best" else 1.3,
            },
            marker={"symbol": symbols, "size": [4] * (len(heard) - 1) + [9 if ends else 4]},
            opacity=1.0 if name == "best" else 0.75,
            hovertext=hover_of(record, row),
            hoverinfo="text+y",
        )
        named.add(name)
    word = "loose" if objective == "loose" else "tight"
    figure.update_xaxes(title="epoch", dtick=1 if _most(epochs) <= 20 else None)
    figure.update_yaxes(title=f"{word} Average-mAP, %", rangemode="tozero")
    return styled(figure, 420)


def _most(epochs: Mapping[str, Sequence[EpochRecord]]) -> int:
    return max((len(history) for history in epochs.values()), default=0)


def pareto(record: StudyRecord) -> go.Figure:
    """Tight against loose, and the trials that no other one beats in both."""
    kept = pareto_front(record)
    figure = go.Figure()
    figure.add_scatter(
        x=[100 * (row.best_tight or 0) for row in kept],
        y=[100 * (row.best_loose or 0) for row in kept],
        mode="lines+markers+text",
        text=[row.id for row in kept],
        textposition="top right",
        name="no other one is better in both",
        line={"color": INK, "width": 1.5, "shape": "vh"},
        marker={"size": 15, "symbol": "circle-open", "line": {"width": 2}},
        hoverinfo="skip",
    )
    for status, (name, colour, symbol) in STATES.items():
        here = [row for row in record.trials if row.status == status and _has_both(row)]
        if here:
            figure.add_scatter(
                x=[100 * (row.best_tight or 0) for row in here],
                y=[100 * (row.best_loose or 0) for row in here],
                mode="markers",
                name=name,
                marker={"color": colour, "symbol": symbol, "size": 9},
                hovertext=[hover_of(record, row) for row in here],
                hoverinfo="text",
            )
    figure.update_xaxes(title="tight Average-mAP, %")
    figure.update_yaxes(title="loose Average-mAP, %")
    return styled(figure, 440)


def _has_both(row: TrialRow) -> bool:
    return row.best_tight is not None and row.best_loose is not None


def durations(record: StudyRecord) -> go.Figure:
    """Seconds of each trial."""
    figure = go.Figure()
    for status, (name, colour, _) in STATES.items():
        here = [n for n, row in enumerate(record.trials) if row.status == status]
        if here:
            figure.add_bar(
                x=[n + 1 for n in here],
                y=[record.trials[n].seconds for n in here],
                name=name,
                marker={"color": colour},
                hovertext=[hover_of(record, record.trials[n]) for n in here],
                hoverinfo="text",
            )
    figure.update_xaxes(title="trial, in the order they were proposed", showgrid=False)
    figure.update_yaxes(title="seconds")
    return styled(figure, 260, bargap=0.25, shapes=[{"type": "line", "xref": "paper", "x0": 0,
                  "x1": 1, "y0": 0, "y1": 0, "line": {"color": GREY, "width": 1}}])  # fmt: skip
