"""A selection on a terminal: its combiners, the diversity of the models, and the answer."""

from collections.abc import Iterator

from ensemble.selection.record import CombinerRecord, DiversityRecord, SelectionRecord
from hmtas.statistics.verdicts import Comparison
from hmtas.terminal.table import Table
from hmtas.terminal.text import counted, estimate, gain

SHOWN_MEMBERS = 4


def combiners_table(record: SelectionRecord) -> Table:
    """The combiners, the best first; those that chosen epochs flatter have a mark."""
    flattered = record.stopped_on.keys()
    return Table(
        title=f"{counted(record.num_models, 'model')}, {counted(record.num_games, 'game')} of "
        f"{record.split}, {record.num_folds} folds; no game scored by what it helped to fit",
        heads=("combiner", "tight, %", "loose, %", "minus the single model, tight", "members"),
        rows=tuple(
            (
                row.name + ("*" if flattered & set(row.used) else ""),
                estimate(row.tight, row.tight_interval),
                estimate(row.loose, row.loose_interval),
                against(row.against_single),
                _members(row),
            )
            for row in record.combiners
        ),
        words=frozenset({0, 3, 4}),
        strong=frozenset(n for n, row in enumerate(record.combiners) if row.name == record.chosen),
        caption="* a model of some fold chose its epoch on some of these games: flattered"
        if flattered
        else "",
    )


def against(found: Comparison | None) -> str:
    """Such as "better, +0.42 [+0.11, +0.73]", in points."""
    if found is None:
        return ""
    return f"{found.verdict}, {gain(found.difference, (found.low, found.high))}"


def _members(row: CombinerRecord) -> str:
    shown = [
        part.name if part.weight is None else f"{part.name} {part.weight:.2f}"
        for part in row.members[:SHOWN_MEMBERS]
    ]
    more = len(row.members) - SHOWN_MEMBERS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def diversity_table(diversity: DiversityRecord) -> Table:
    """How much the models err together, by action."""
    return Table(
        title=f"Correlation of the errors of {counted(len(diversity.models), 'model')}, "
        "mean over their pairs",
        heads=("action", "moments", "correlation"),
        rows=tuple(
            (action, f"{diversity.moments[action]:,}", "" if value is None else f"{value:.2f}")
            for action, value in diversity.per_action.items()
        ),
    )


def answer(record: SelectionRecord) -> Iterator[str]:
    """The answer in sentences, with its test score if there is one."""
    yield f"chosen: {record.chosen}; {record.reason}"
    claimed = estimate(record.claimed, record.interval)
    yield f"to expect on as many unseen games: {claimed} % tight"
    if record.test is not None:
        for name, found in (("selected", record.test.selected), ("single", record.test.single)):
            shown = estimate(found.tight.average_map, found.tight.interval)
            yield f"test, {name}: {shown} % tight"
        if record.test.difference is not None:
            difference, *ends = record.test.difference
            yield f"test, difference: {gain(difference, ends)} points"
