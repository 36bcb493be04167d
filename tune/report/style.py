"""How the pictures of a report look, and how they become part of its page."""

from html import escape
from typing import TYPE_CHECKING, Any

from tune.space.labels import percent
from tune.study.record import StudyRecord, TrialRow

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Colours that people who see few colours can tell apart (M. Okabe and K. Ito).
BLUE, ORANGE, RED, GREY, GREEN = "#0072b2", "#e69f00", "#d55e00", "#9aa3ad", "#009e73"
INK, FAINT = "#1d2733", "#e4e8ec"
STATES = {
    "done": ("finished", BLUE, "circle"),
    "stopped": ("stopped early", ORANGE, "circle"),
    "failed": ("failed", RED, "x"),
    "running": ("running", GREY, "circle-open"),
    "waiting": ("waiting", GREY, "circle-open"),
}
SERIES = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9")
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    # Named one by one: among the others is one that sends the picture to a service.
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d"]],
    "plotlyServerURL": "",
}
_AXES = {"gridcolor": FAINT, "zeroline": False, "linecolor": GREY, "automargin": True}


def styled(figure: "go.Figure", height: int, **layout: Any) -> "go.Figure":
    """A figure in the style of the page."""
    given = {
        "template": "none",
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


def html_of(figure: "go.Figure", name: str, *, buttons: bool = True) -> str:
    """A figure as a part of a page that has plotly.js already; its text cannot end the script.

    Args:
        figure: The figure.
        name: Of it in the page.
        buttons: To zoom and to go back.
    """
    html: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config=CONFIG if buttons else CONFIG | {"displayModeBar": False},
        div_id=f"figure-{name}",
    )
    return html


def plain(text: str) -> str:
    """Text of others, such as an action's name, as plotly shows it: no tag in it counts."""
    return escape(text, quote=False)


def hover_of(record: StudyRecord, row: TrialRow) -> str:
    """What is said of a trial that is pointed at."""
    scores = " · ".join(
        f"{name} {percent(value)} %"
        for name, value in (("tight", row.best_tight), ("loose", row.best_loose))
        if value is not None
    )
    lines = [f"<b>{escape(row.id)}</b> ({STATES[row.status][0]})", scores]
    lines.append(f"{row.epochs} epochs, {row.seconds:.0f} s")
    return "<br>".join(line for line in lines if line)
