"""The pictures of a report.

Optuna draws the history, the front, and the trials by their settings; here they get the look of
the page, the words of the space, and the state of each trial. The others are our own, as Optuna
has none like them.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.visualization import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_pareto_front,
    plot_slice,
)
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from hmtas.config import Config
from hmtas.runs.record import RunRecord
from hmtas.spotting.spots import FittedWindows
from hmtas.terminal import text
from hmtas.terminal.style import BLUE, GREY, INK
from tune.report.importance import Importances
from tune.report.scores import Estimate, Scores
from tune.report.style import SERIES, STATES, hover_of, plain, styled
from tune.space.dimensions import Choice, Space, encoded, point_of
from tune.space.labels import in_order, label_of, searched, text_of
from tune.study.options import LOOSE, TIGHT
from tune.study.optuna_trials import point_in
from tune.study.record import StudyRecord, pareto_front, ranked
from tune.study.rows import TrialRow

BARS = 20  # importances
AXES = 10  # of parallel coordinates: nobody can follow more
PANELS = 30  # slices; 17 class weights and what goes with them fit
COLUMNS = 3  # of slices
SCALE = "cividis_r"  # dark for a high score
ABSENT = "not there"  # a setting that a trial has not
ORDER = "trial, in the order they were proposed"


def history(record: StudyRecord, places: Sequence[int]) -> go.Figure:
    """Each trial in the order it was proposed, and the best so far; a row per maximised number.

    `places` are those of the trials in the whole study, from 1.
    """
    metrics = record.settings.options.metrics
    figure = make_subplots(rows=len(metrics), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    failed = [n for n, row in enumerate(record.trials) if row.status == "failed"]
    for i, metric in enumerate(metrics, 1):
        drawn = plot_optimization_history(_study(record, [metric]))
        drawn.add_scatter(
            x=failed,
            y=[100 * (getattr(record.trials[n], metric) or 0.0) for n in failed],
            mode="markers",
        )
        for trace in drawn.data:
            if trace.mode == "markers":
                _mark(trace, record, trace.x)
            else:
                line = {"color": INK, "width": 1.5, "shape": "hv"}
                trace.update(name="best so far", line=line, hoverinfo="skip", showlegend=i == 1)
            trace.update(x=[places[n] for n in trace.x], cliponaxis=False)
            figure.add_trace(trace, row=i, col=1)
        word = metric.removeprefix("best_")
        figure.update_yaxes(title=f"{word} Average-mAP, %", rangemode="tozero", row=i, col=1)
    _name_states(figure, [row for row in record.trials if row.status != "waiting"])
    figure.update_xaxes(range=[0.4, places[-1] + 0.6])
    figure.update_xaxes(title=ORDER, row=len(metrics), col=1)
    return styled(figure, 90 + 300 * len(metrics))


def front(record: StudyRecord) -> go.Figure:
    """Tight against loose; a ring around the trials that no other one beats in both."""
    names = [f"{word} Average-mAP, %" for word in ("tight", "loose")]
    figure = plot_pareto_front(_study(record, [TIGHT, LOOSE]), target_names=names)
    kept = [row.id for row in pareto_front(record)]
    for trace in figure.data:
        _mark(trace, record, trace.marker.color, ring=kept)
        trace.update(mode="markers+text", textposition="top right")
    _name_states(figure, ranked(record))
    return styled(figure, 440)


def importance(found: Importances, space: Space) -> go.Figure:
    """A bar per dimension, and a mark where chance alone would end."""
    rows = found.found[:BARS][::-1]
    labels = [plain(label_of(one.key, space)) for one in rows]
    figure = go.Figure()
    figure.add_bar(
        x=[100 * one.share for one in rows],
        y=labels,
        orientation="h",
        name="of this study",
        marker={"color": [BLUE if one.share > one.chance else "#b3c6de" for one in rows]},
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


def drawn_dimensions(record: StudyRecord) -> list[str]:
    """The dimensions, in order, that some scored trial has a value of: Optuna draws these."""
    space = record.settings.space
    points = [point_of(row.settings, space) for row in ranked(record)]
    return [key for key in searched(space) if any(key in point for point in points)]


def most_important(keys: Sequence[str], found: Importances) -> list[str]:
    """As many dimensions as parallel coordinates can show, in order."""
    rank = {one.key: place for place, one in enumerate(found.found)}
    most = sorted(keys, key=lambda key: rank.get(key, len(rank)))[:AXES]
    return [key for key in keys if key in most]


def parallel(record: StudyRecord, keys: Sequence[str]) -> go.Figure:
    """A line per trial through its score and its settings."""
    space, metric = record.settings.space, record.settings.options.metric
    labels = [f"{metric}, %", *(plain(label_of(key, space)) for key in keys)]
    figure = plot_parallel_coordinate(
        _study(record, [f"best_{metric}"]), params=_names(space, keys), target_name=labels[0]
    )
    for trace in figure.data:
        if trace.mode != "lines":  # the scale of its colours: the first axis tells as much
            trace.visible = False
            continue
        colour = sample_colorscale(SCALE, trace.y[0])[0]  # of the score, from 0 to 1
        values = [ABSENT if value == "None" else value for _, value in trace.customdata]
        named = list(zip(labels, values, strict=True))
        trace.update(line={"color": colour}, opacity=0.8, customdata=named)
    figure.update_annotations(bgcolor="rgba(255,255,255,0.75)")
    figure.update_annotations(text=ABSENT, selector={"text": "None"})
    figure.update_xaxes(
        ticktext=labels, side="top", tickangle=-30, ticklabeloverflow="allow", showline=False
    )
    return styled(figure, 420, margin={"l": 60, "r": 130, "t": 110, "b": 24})


def slices(record: StudyRecord, keys: Sequence[str]) -> go.Figure:
    """A panel per dimension: each trial's value and score; a ring around the best trial."""
    space, metric = record.settings.space, record.settings.options.metric
    figure = plot_slice(_study(record, [f"best_{metric}"]), params=_names(space, keys))
    num_rows, best = math.ceil(len(keys) / COLUMNS), ranked(record)[0].id
    panels = zip(keys, figure.data, figure.select_xaxes(), figure.select_yaxes(), strict=True)
    for i, (key, trace, x, y) in enumerate(panels):
        row, column = divmod(i, COLUMNS)
        label, dimension = plain(label_of(key, space)), space.dimensions[key]
        _mark(trace, record, trace.marker.color, ring=[best])
        trace.update(hovertemplate=f"%{{hovertext}}<br>{label}: %{{x}}<extra></extra>")
        x.update(title={"text": label, "standoff": 6})
        x.update(domain=[(column + 0.03) / COLUMNS, (column + 0.93) / COLUMNS])
        y.update(domain=[1 - (row + 0.68) / num_rows, 1 - row / num_rows])
        y.update(title=f"{metric}, %" if column == 0 else None, showticklabels=column == 0)
        if isinstance(dimension, Choice):
            x.update(tickvals=[repr(choice) for choice in dimension.choices])
            x.update(ticktext=[plain(text_of(choice)) for choice in dimension.choices])
        else:
            to = math.log10 if dimension.log else float
            low, high = to(dimension.low), to(dimension.high)
            edge = 0.06 * ((high - low) or 1.0)
            x.update(range=[low - edge, high + edge])
    figure.update_xaxes(dtick=1, exponentformat="power", selector={"type": "log"})
    figure.update_yaxes(rangemode="tozero")
    _name_states(figure, ranked(record))
    margin = {"l": 60, "r": 24, "t": 36, "b": 10}
    return styled(figure, 60 + 230 * num_rows, width=None, margin=margin)


def curves(record: StudyRecord, runs: Mapping[str, RunRecord], best: TrialRow | None) -> go.Figure:
    """The score of every trial after each epoch; a cross where one was stopped."""
    metric = record.settings.options.metric
    figure = go.Figure()
    named: set[str] = set()
    for row in sorted(record.trials, key=lambda row: row == best):  # the best one on top
        heard = [
            (epoch.epoch, 100 * score)
            for epoch in (runs[row.id].history if row.id in runs else ())
            if (score := getattr(epoch, metric)) is not None
        ]
        if not heard:
            continue
        state, is_best = STATES[row.status], row == best
        name, colour = ("best", INK) if is_best else (state.name, state.colour)
        ends = row.status in ("stopped", "failed")
        figure.add_scatter(
            x=[epoch for epoch, _ in heard],
            y=[score for _, score in heard],
            mode="lines+markers",
            name=name,
            legendgroup=name,
            showlegend=name not in named,
            line={"color": colour, "width": 3 if is_best else 1.3},
            marker={
                "symbol": ["circle"] * (len(heard) - 1) + ["x" if ends else "circle"],
                "size": [4] * (len(heard) - 1) + [9 if ends else 4],
            },
            opacity=1.0 if is_best else 0.75,
            hovertext=hover_of(row),
            hoverinfo="text+y",
        )
        named.add(name)
    longest = max(len(run.history) for run in runs.values())
    figure.update_xaxes(title="epoch", dtick=1 if longest <= 20 else None)
    figure.update_yaxes(title=f"{metric} Average-mAP, %", rangemode="tozero")
    return styled(figure, 420)


def times(record: StudyRecord, places: Sequence[int]) -> go.Figure:
    """Seconds of each trial; `places` as in `history`."""
    figure = go.Figure()
    figure.add_bar(
        x=list(places),
        y=[row.seconds for row in record.trials],
        marker={"color": [STATES[row.status].colour for row in record.trials]},
        hovertext=[hover_of(row) for row in record.trials],
        hoverinfo="text",
        showlegend=False,
    )
    _name_states(figure, record.trials)
    figure.update_xaxes(title=ORDER, showgrid=False)
    figure.update_yaxes(title="seconds")
    return styled(figure, 260, bargap=0.25)


def best_models(scores: Scores) -> go.Figure:
    """A line per model: its score, its interval, and each of its trainings."""
    shown = scores.candidates[::-1]
    figure = go.Figure()
    names = [one.trial for one in shown]
    if scores.again:
        figure.add_scatter(
            x=[100 * score for one in shown for score in one.trainings],
            y=[one.trial for one in shown for _ in one.trainings],
            mode="markers",
            name="a training",
            marker={"symbol": "line-ns", "size": 12, "line": {"width": 2, "color": GREY}},
            hovertemplate="a training: %{x:.2f} %<extra></extra>",
        )
    figure.add_scatter(
        y=names,
        mode="markers",
        name="mean of its trainings, 95 % interval" if scores.again else "score, 95 % interval",
        marker={"size": 11, "color": BLUE},
        hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
        **_with_arms([one.scores[scores.metric] for one in shown], INK),
    )
    figure.update_xaxes(title=f"{scores.metric} Average-mAP on {scores.split}, %")
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names)
    return styled(figure, 120 + 44 * len(shown))


def by_action(scores: Scores) -> go.Figure:
    """Average precision of each action for every model, the easiest action on top."""
    first = scores.candidates[0].actions
    actions = sorted(first, key=lambda action: first[action].score)
    figure = go.Figure()
    middle = (len(scores.candidates) - 1) / 2
    for c, one in enumerate(scores.candidates):
        colour = SERIES[c % len(SERIES)]
        found = [(a, action) for a, action in enumerate(actions) if action in one.actions]
        found.reverse()  # the legend takes the first mark, and that of a rare action is hollow
        estimates = [one.actions[action] for _, action in found]
        figure.add_scatter(
            y=[a + 0.24 * (middle - c) for a, _ in found],
            mode="markers",
            name=one.trial,
            marker={
                "color": colour,
                "size": 8,
                "symbol": ["circle" if e.interval else "circle-open" for e in estimates],
            },
            cliponaxis=False,
            hovertext=[
                f"<b>{plain(action)}</b>, {one.trial}<br>{text.estimate(*estimate)} %"
                for (_, action), estimate in zip(found, estimates, strict=True)
            ],
            hoverinfo="text",
            **_with_arms(estimates, colour),
        )
    title = f"{scores.metric} average precision on {scores.split}, %"
    figure.update_xaxes(title=title, range=[-1, 101])
    figure.update_yaxes(
        tickvals=list(range(len(actions))),
        ticktext=[f"{plain(a)} ({scores.num_events[a]})" for a in actions],
        range=[-0.6, len(actions) - 0.4],
    )
    return styled(figure, 110 + 40 * len(actions))


def windows(config: Config, actions: Sequence[str], fitted: FittedWindows | None) -> go.Figure:
    """NMS window of each action: of the configuration, and fitted afterwards."""
    given = [config.spotting.window_of(action) for action in actions]
    series = [("of the configuration", given, GREY, "circle-open")]
    if fitted is not None:
        found = [fitted.windows_s.get(action, math.nan) for action in actions]
        series.append(("fitted", found, BLUE, "circle"))
    figure = go.Figure()
    for name, values, colour, symbol in series:
        figure.add_scatter(
            x=values,
            y=[plain(action) for action in actions],
            mode="markers",
            name=name,
            showlegend=True,
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2}},
            hovertemplate="%{y}: %{x:g} s<extra></extra>",
        )
    figure.update_xaxes(title="window, s", rangemode="tozero")
    figure.update_yaxes(type="category", autorange="reversed")
    return styled(figure, 110 + 24 * len(actions))


def _with_arms(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    """Scores along x, with the arms of their intervals; no arms where there is no interval."""
    return {
        "x": [100 * e.score for e in estimates],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [e.interval and 100 * (e.interval[1] - e.score) for e in estimates],
            "arrayminus": [e.interval and 100 * (e.score - e.interval[0]) for e in estimates],
            "color": colour,
            "thickness": 1.4,
            "width": 3,
        },
    }


def _study(record: StudyRecord, metrics: Sequence[str]) -> optuna.Study:
    """The trials as Optuna draws them, by their numbers in the record; scores in percent.

    Optuna draws complete trials alone: one that was stopped early or still runs passes for one,
    with the best score it has reached. Trials that failed or have no score are left out.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = record.settings.space
    study = optuna.create_study(directions=["maximize"] * len(metrics))
    for row in record.trials:
        scores = [getattr(row, metric) for metric in metrics]
        if row.status == "failed" or None in scores:
            study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
            continue
        point = point_of(row.settings, space)
        names = _names(space, point)
        params, distributions = point_in(encoded(point), space)
        study.add_trial(
            optuna.trial.create_trial(
                values=[100 * score for score in scores],
                params=dict(zip(names, params.values(), strict=True)),
                distributions=dict(zip(names, distributions.values(), strict=True)),
            )
        )
    return study


def _names(space: Space, keys: Iterable[str]) -> list[str]:
    """Dimensions by their places: Optuna sorts them by name, a reader wants them in order."""
    order = in_order(space)
    return [f"{order.index(key):04d}" for key in keys]


def _mark(
    trace: Any, record: StudyRecord, numbers: Iterable[int], ring: Collection[str] = ()
) -> None:
    """Give each point of a trace the look of its trial's state, and say which trial it is."""
    rows = [record.trials[n] for n in numbers]
    trace.update(
        marker={
            "color": [STATES[row.status].colour for row in rows],
            "symbol": [STATES[row.status].symbol for row in rows],
            "size": [12 if row.id in ring else 9 for row in rows],
            "line": {"width": [2 if row.id in ring else 0 for row in rows], "color": INK},
            "opacity": 0.9,
            "showscale": False,
        },
        text=[plain(row.id) if row.id in ring else "" for row in rows],
        hovertext=[hover_of(row) for row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=False,
    )


def _name_states(figure: go.Figure, rows: Iterable[TrialRow]) -> None:
    """Say in the legend what the marks of trials mean."""
    states = {row.status for row in rows}
    for status, (name, colour, symbol) in STATES.items():
        if status in states:
            marker = {"color": colour, "symbol": symbol, "size": 9}
            figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker)
