"""How a score looks on a terminal. Numbers are percent."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

KINDS = ("tight", "loose")


def score_tables(name: str, document: Mapping[str, Any]) -> RenderableType:
    """One score: the totals with their intervals, then every action, then every tolerance.

    Args:
        name: What was scored.
        document: A score as JSON.
    """
    num_events = sum(document["num_events"].values())
    title = Text.assemble(
        (name, "bold"), f"  {document['num_games']} games, {num_events:,} events, in percent"
    )
    return Group(title, _totals(document), _actions(document), *_tolerances(document), Text())


def summary_table(documents: Mapping[str, Mapping[str, Any]]) -> Table:
    """Several scores side by side, the best tight Average-mAP first."""
    table = _table("", *(column for kind in KINDS for column in (kind, "95 %")))
    ranked = sorted(documents.items(), key=lambda item: -item[1]["tight"]["average_map"])
    for name, document in ranked:
        cells = []
        for kind in KINDS:
            cells += [percent(document[kind]["average_map"]), _interval(document[kind])]
        table.add_row(Text(name), *cells)
    return table


def percent(value: float | None) -> str:
    """A number in [0, 1] with two decimals of percent; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.2f}"  # noqa: RUF001


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left", no_wrap=number > 0)
    return table


def _interval(part: Mapping[str, Any]) -> str:
    if part["interval"] is None:
        return percent(None)
    return " to ".join(percent(end) for end in part["interval"])


def _totals(document: Mapping[str, Any]) -> Table:
    table = _table("Average-mAP", "all", "95 %", "visible", "unshown")
    for kind in KINDS:
        part = document[kind]
        table.add_row(
            kind,
            Text(percent(part["average_map"]), style="bold"),
            _interval(part),
            percent(part["visible"]),
            percent(part["unshown"]),
        )
    return table


def _actions(document: Mapping[str, Any]) -> Table:
    table = _table("action", "events", *KINDS)
    for action, num_events in document["num_events"].items():
        values = [percent(document[kind]["per_action"][action]) for kind in KINDS]
        table.add_row(Text(action), f"{num_events:,}", *values, style=None if num_events else "dim")
    return table


def _tolerances(document: Mapping[str, Any]) -> list[RenderableType]:
    """Two lines, short enough for 80 columns."""
    lines: list[RenderableType] = []
    for kind in KINDS:
        line = Text(f"{kind} by seconds  ", style="dim")
        for seconds, value in document[kind]["per_tolerance"].items():
            line.append(f"{seconds}: ", style="dim")
            line.append(f"{100 * value:.1f}  ", style="not dim")
        lines.append(line)
    return lines
