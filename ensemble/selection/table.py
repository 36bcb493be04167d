"""A selection as tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

SHOWN_MEMBERS = 4


def tables_of(document: Mapping[str, Any]) -> list[RenderableType]:
    """The combiners, the diversity of the models, the answer, and the test score if any."""
    return [_combiners(document), _diversity(document["diversity"]), *_answer(document)]


def _combiners(document: Mapping[str, Any]) -> Table:
    title = (
        f"{document['num_models']} models, {document['num_games']} games of {document['split']}, "
        f"{document['num_folds']} folds; no game scored by what it helped to fit"
    )
    table = Table(title=title)
    for name in ("combiner", "tight, %", "loose, %", "minus the single model, tight", "members"):
        table.add_column(name, overflow="fold")
    flattered = document["stopped_on"]
    for row in document["combiners"]:
        mark = "*" if flattered.keys() & set(row["used"]) else ""
        style = "bold" if row["name"] == document["chosen"] else ""
        table.add_row(
            row["name"] + mark,
            scored(row["tight"], row["tight_interval"]),
            scored(row["loose"], row["loose_interval"]),
            against(row["against_single"]),
            _members(row["members"]),
            style=style,
        )
    if flattered:
        table.caption = "* a model of some fold chose its epoch on some of these games: flattered"
    return table


def scored(value: float, ends: Sequence[float]) -> str:
    """Such as `8.02 [6.97, 9.07]`, in per cent."""
    return f"{100 * value:.2f} [{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]"


def against(found: Mapping[str, Any] | None) -> str:
    """Such as `better, +0.42 [0.11, 0.73]`, in points."""
    if found is None:
        return ""
    ends = f"[{100 * found['low']:.2f}, {100 * found['high']:.2f}]"
    return f"{found['verdict']}, {100 * found['difference']:+.2f} {ends}"


def _members(members: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        member["name"] if member["weight"] is None else f"{member['name']} {member['weight']:.2f}"
        for member in members[:SHOWN_MEMBERS]
    ]
    more = len(members) - SHOWN_MEMBERS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _diversity(diversity: Mapping[str, Any]) -> Table:
    names = diversity["models"]
    table = Table(title=f"Correlation of the errors of {len(names)} models, mean over their pairs")
    for name in ("action", "moments", "correlation"):
        table.add_column(name, justify="left" if name == "action" else "right")
    for action, value in diversity["per_action"].items():
        shown = "" if value is None else f"{value:.2f}"
        table.add_row(action, f"{diversity['moments'][action]:,}", shown)
    return table


def _answer(document: Mapping[str, Any]) -> list[str]:
    lines = [
        f"chosen: [bold]{document['chosen']}[/bold]; {document['reason']}",
        f"to expect on as many unseen games: {scored(document['claimed'], document['interval'])} "
        "% tight",
    ]
    test = document["test"]
    if test:
        for name in ("selected", "single"):
            tight = test[name]["tight"]
            lines.append(f"test, {name}: {scored(tight['average_map'], tight['interval'])} % tight")
        if test["difference"]:
            difference, low, high = (100 * value for value in test["difference"])
            lines.append(f"test, difference: {difference:+.2f} [{low:.2f}, {high:.2f}] points")
    return lines
