"""The pictures of the best models: their scores, and their average precision by action."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from hmtas.config import Config
from hmtas.spotting.evaluate import FittedWindows
from tune.report.scores import Estimate, Scores
from tune.report.style import GREY, INK, SERIES, plain, styled

_STEP = 0.24  # between the models of one action


def scores_of_best(scores: Scores) -> go.Figure:
    """A line per model: its score, its interval, and each of its trainings."""
    shown = scores.candidates[::-1]
    figure = go.Figure()
    estimates = [one.scores[scores.metric] for one in shown]
    names = [one.trial for one in shown]
    if scores.again:
        figure.add_scatter(
            x=[100 * value for one in shown for value in one.trainings],
            y=[one.trial for one in shown for _ in one.trainings],
            mode="markers",
            name="a training",
            marker={"symbol": "line-ns", "size": 12, "line": {"width": 2, "color": GREY}},
            hovertemplate="a training: %{x:.2f} %<extra></extra>",
        )
    figure.add_scatter(
        x=[100 * estimate.score for estimate in estimates],
        y=names,
        mode="markers",
        name="mean of its trainings, 95 % interval" if scores.again else "score, 95 % interval",
        marker={"size": 11, "color": SERIES[0]},
        error_x=_reach(estimates),
        hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
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
        found = [(a, action) for a, action in enumerate(actions) if action in one.actions]
        found.reverse()  # the legend takes the first mark, and that of a rare action is hollow
        estimates = [one.actions[action] for _, action in found]
        figure.add_scatter(
            x=[100 * estimate.score for estimate in estimates],
            y=[a + _STEP * (middle - c) for a, _ in found],
            mode="markers",
            name=one.trial,
            marker={
                "color": SERIES[c % len(SERIES)],
                "size": 8,
                "symbol": [
                    "circle" if e.interval is not None else "circle-open" for e in estimates
                ],
            },
            cliponaxis=False,
            error_x=_reach(estimates, SERIES[c % len(SERIES)]),
            hovertext=[
                f"<b>{plain(action)}</b>, {one.trial}<br>{_said(estimate)}"
                for (_, action), estimate in zip(found, estimates, strict=True)
            ],
            hoverinfo="text",
        )
    figure.update_xaxes(
        title=f"{scores.metric} average precision on {scores.split}, %", range=[-1, 101]
    )
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
        found = [fitted.windows_s.get(action, np.nan) for action in actions]
        series.append(("fitted", found, SERIES[0], "circle"))
    figure = go.Figure()
    for name, values, colour, symbol in series:
        figure.add_scatter(
            x=[plain(action) for action in actions],
            y=values,
            mode="markers",
            name=name,
            showlegend=True,
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2}},
            hovertemplate="%{x}: %{y:g} s<extra></extra>",
        )
    figure.update_xaxes(tickangle=-35)
    figure.update_yaxes(title="window, s", rangemode="tozero")
    return styled(figure, 340)


def _reach(estimates: list[Estimate], colour: str = INK) -> dict[str, object]:
    """The arms of intervals; none where there is none."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [e.interval and 100 * (e.interval[1] - e.score) for e in estimates],
        "arrayminus": [e.interval and 100 * (e.score - e.interval[0]) for e in estimates],
        "color": colour,
        "thickness": 1.4,
        "width": 3,
    }


def _said(estimate: Estimate) -> str:
    text = f"{100 * estimate.score:.1f} %"
    if estimate.interval is None:
        return f"{text}; too few games for an interval"
    low, high = estimate.interval
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"
