"""How an ablation looks on a terminal: Tables 5.2, 5.5 and 5.6 of the thesis for one store.

Everything comes from the document of `hmtas.ablation.document`. Scores are shown in percent,
differences in points, losses as they are.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hmtas.ablation.variants import REFERENCE
from hmtas.metric.averages import TOLERANCES_S
from hmtas.presets import THESIS_PER_ACTION, THESIS_STREAM_LOSSES

TEXT_WIDTH = 140
NOTHING = "-"
NOT_EVERY_SEED = "†"


def study_tables(document: Mapping[str, Any], study: Mapping[str, Any]) -> RenderableType:
    """One study: scores, differences, what they mean, then actions and streams."""
    parts: list[RenderableType] = [
        Text.assemble(
            (study["title"], "bold"),
            f"  {document['num_games']} games of {document['split']}, "
            f"{len(document['seeds'])} seed{'s' if len(document['seeds']) > 1 else ''}, in percent",
        ),
        scores_table(document, study),
    ]
    if study["num_comparisons"]:
        parts += [steps_table(document, study), *map(Text, sentences(document, study)), Text()]
    parts += [Text("Tight, by action", style="bold"), actions_table(document, study)]
    if any(row["stream_losses"] for row in study["rows"]):
        title = "Validation loss of each stream's own head, at the best epoch"
        about = "  compare within a column: L and weights change what a loss means"
        parts += [Text.assemble((title, "bold"), about), streams_table(study)]
    return Group(*parts)


def as_text(renderable: RenderableType) -> str:
    """What a terminal would show, without colours."""
    console = Console(file=io.StringIO(), width=TEXT_WIDTH, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def scores_table(document: Mapping[str, Any], study: Mapping[str, Any]) -> Table:
    """Table 5.2: tight and loose with their intervals, the thesis's number beside them."""
    several, thesis = len(document["seeds"]) > 1, study["reference"] is None
    headers = ["tight", "95 %", *(["seeds"] if several else []), "loose", "95 %"]
    table = _table("", "", *headers, *(["thesis\ntight"] if thesis else []), "param.", "epoch")
    for row in study["rows"]:
        if row["same_as"] is not None:
            cells = [f"the same as {row['same_as']}: {row['why_same']}", *[NOTHING] * len(headers)]
            cells += [percent(row["thesis_tight"])] if thesis else []
            table.add_row(row["name"], *cells, NOTHING, NOTHING, style="dim")
            continue
        cells = []
        for kind in TOLERANCES_S:
            cells += [percent(row[kind]["mean"]), _range(row[kind]["interval"])]
            if several and kind == "tight":
                cells.append(_range(_spread(row[kind]["by_seed"])))
        cells += [percent(row["thesis_tight"])] if thesis else []
        epochs = sorted(set(row["best_epochs"]))
        span = f"{epochs[0]}-{epochs[-1]}" if len(epochs) > 1 else str(epochs[0])
        table.add_row(row["name"], row["title"], *cells, _short(row["num_parameters"]), span)
    return table


def steps_table(document: Mapping[str, Any], study: Mapping[str, Any]) -> Table:
    """The paired differences, tight and loose, with intervals and verdicts."""
    several, thesis = len(document["seeds"]) > 1, study["reference"] is None
    headers = []
    for kind in TOLERANCES_S:
        headers += [kind, "95 %", *(["seeds"] if several else []), "verdict"]
    table = _table("", "against", *headers, *(["thesis\ntight"] if thesis else []))
    for row in study["rows"]:
        against = row["against"]
        if against is None:
            continue
        cells: list[str | Text] = []
        for kind in TOLERANCES_S:
            found = against[kind]
            cells += [points(found["difference"]), _points_range(found["low"], found["high"])]
            if several:
                cells.append(_points_range(*_spread(found["by_seed"])))
            mark = NOT_EVERY_SEED if _seeds_differ(found) else ""
            cells.append(Text(found["verdict"] + mark, style=_STYLES[found["verdict"]]))
        cells += [points(against["thesis"])] if thesis else []
        table.add_row(row["name"], against["name"], *cells)
    return table


_STYLES = {"better": "bold green", "worse": "bold red", "cannot tell": "dim"}


def sentences(document: Mapping[str, Any], study: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers are, and what they are not."""
    number = study["num_comparisons"]
    if number > 1:
        yield (
            f"The {number} intervals of the differences hold together at 95 % (max-T over "
            "resampled games), tight and loose each for itself."
        )
    if len(document["seeds"]) > 1:
        yield (
            "Scores are means over the seeds, which are resampled together: intervals are over "
            "games alone. The columns 'seeds' show the lowest and the highest of the seeds."
        )
        if any(_seeds_differ(row["against"][kind]) for row in study["rows"] if row["against"]
               for kind in TOLERANCES_S):  # fmt: skip
            yield f"{NOT_EVERY_SEED} not with every seed: another seed may turn it round."
    else:
        yield (
            "Intervals are over games alone: they say that these trained models differ. What "
            "another seed would change is not in them; --seeds 3 shows it."
        )
    if document["windows"] == "fitted":
        how = "cross-fitted over games" if document["cross_fitted"] else "fitted on another split"
        yield f"NMS windows were {how}; nothing else was fitted on these games."
    else:
        yield "Nothing was fitted on these games: windows and threshold are fixed."


def actions_table(document: Mapping[str, Any], study: Mapping[str, Any]) -> Table:
    """Table 5.5: tight average precision by action, with the number of events."""
    rows = [row for row in study["rows"] if row["same_as"] is None]
    thesis = study["reference"] is None
    headers = [_break(row["name"]) for row in rows]
    table = _table("action", "events", *headers, *([f"thesis\n{REFERENCE}"] if thesis else []))
    for action, num_events in document["num_events"].items():
        cells = [percent(row["per_action"][action]) for row in rows]
        found = THESIS_PER_ACTION.get(action)
        cells += [NOTHING if found is None else f"{found:.2f}"] if thesis else []
        table.add_row(action, f"{num_events:,}", *cells, style=None if num_events else "dim")
    return table


def streams_table(study: Mapping[str, Any]) -> Table:
    """Table 5.6: validation loss of each stream's own head (Equation 4.1)."""
    rows = [row for row in study["rows"] if row["stream_losses"] and row["same_as"] is None]
    streams = list(dict.fromkeys(name for row in rows for name in row["stream_losses"]))
    thesis = study["reference"] is None and not THESIS_STREAM_LOSSES.keys().isdisjoint(streams)
    headers = [_break(row["name"]) for row in rows]
    table = _table("stream", *headers, *([f"thesis\n{REFERENCE}"] if thesis else []))
    for name in streams:
        cells = [_loss(row["stream_losses"].get(name)) for row in rows]
        table.add_row(name, *cells, *([_loss(THESIS_STREAM_LOSSES.get(name))] if thesis else []))
    return table


def percent(value: float | None) -> str:
    """A share of 1 with two decimals of percent."""
    return NOTHING if value is None else f"{100 * value:.2f}"


def points(value: float | None) -> str:
    """A difference in points, with its sign."""
    return NOTHING if value is None else f"{100 * value:+.2f}"


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    left = {"", "against", "95 %", "seeds", "verdict", "action", "stream"}
    for number, header in enumerate(headers):
        justify = "left" if header in left else "right"
        style = "dim" if header in {"95 %", "seeds"} else None
        table.add_column(header, justify=justify, no_wrap=number != 1, style=style)  # type: ignore[arg-type]
    return table


def _break(name: str) -> str:
    """A long name in two lines."""
    return name.replace("-", "\n", 1)


def _range(ends: Sequence[float]) -> str:
    return f"{100 * ends[0]:.1f}-{100 * ends[1]:.1f}"


def _points_range(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def _spread(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _seeds_differ(found: Mapping[str, Any]) -> bool:
    """Is there a verdict, and a seed that speaks against it?"""
    low, high = _spread(found["by_seed"])
    return found["verdict"] != "cannot tell" and low <= 0 <= high


def _loss(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _short(number: int | None) -> str:
    """A number of parameters."""
    if number is None:
        return NOTHING
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"
