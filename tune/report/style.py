"""How the pictures of a report look, and how they become part of its page."""

import json
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from hmtas.terminal.style import BLUE, GREEN, GREY, GRID, INK, ORANGE, RED
from hmtas.terminal.text import counted, duration, percent
from tune.study.rows import TrialRow

if TYPE_CHECKING:
    import plotly.graph_objects as go

SERIES = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9")


class State(NamedTuple):
    """What trials of one state are called, and how they are marked."""

    name: str
    colour: str
    symbol: str


STATES = {
    "done": State("finished", BLUE, "circle"),
    "stopped": State("stopped early", ORANGE, "circle"),
    "failed": State("failed", RED, "x"),
    "running": State("running", GREY, "circle-open"),
    "waiting": State("waiting", GREY, "circle-open"),
}
# What could end a script, or a line of it.
HARMLESS = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    # Named one by one: among the others is one that sends the picture to a service.
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d"]],
    "plotlyServerURL": "",
}
_AXES = {"gridcolor": GRID, "zeroline": False, "linecolor": GREY, "automargin": True}


def styled(figure: "go.Figure", height: int, **layout: Any) -> "go.Figure":
    """A figure in the style of the page."""
    given = {
        "template": "none",
        "title": None,
        "height": height,
        "margin": {"l": 60, "r": 24, "t": 36, "b": 52},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": INK}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    figure.update_layout(**(given | layout))
    figure.update_xaxes(**_AXES)
    figure.update_yaxes(**_AXES)
    return figure


def html_of(figure: "go.Figure", name: str) -> str:
    """A figure as a part of a page that has `draw`; its text cannot end the script."""
    from plotly.io.json import to_json_plotly

    document = to_json_plotly(figure.to_dict()).translate(HARMLESS)
    place = f"figure-{name}"
    return (
        f'<div id="{place}" style="min-height: {figure.layout.height}px"></div>'
        f"<script>draw({json.dumps(place)}, {document}, {json.dumps(CONFIG)})</script>"
    )


def plain(text: str) -> str:
    """Text of others, such as an action's name, for plotly, which would read its tags."""
    return escape(text, quote=False)


def hover_of(row: TrialRow) -> str:
    """What a reader sees who points at a trial."""
    return (
        f"<b>{plain(row.id)}</b> ({STATES[row.status].name})<br>"
        f"tight {percent(row.best_tight)} %, loose {percent(row.best_loose)} %<br>"
        f"{counted(row.epochs, 'epoch')}, {duration(row.seconds)}"
    )
