"""The best of a study on a terminal: its front, and what became of them when trained again."""

from pathlib import Path
from typing import Any

from rich.table import Table

from hmtas.terminal.console import say, show
from tune.study.finalists import Final, read_final, verdict_of
from tune.study.record import StudyRecord, pareto_front


def show_final(final: Final) -> None:
    """The finalists with their differences from the picked one, and what that means."""
    title = f"Trained again, {final.metric} on {final.num_games} games of {final.split}, %"
    table = Table(title=title, title_justify="left")
    for heading in ("trial", "mean", "trainings", "difference", "95 %, all together", "verdict"):
        table.add_column(heading, justify="left" if heading in ("trial", "verdict") else "right")
    for one in final.finalists:
        trainings = " ".join(f"{100 * score:.2f}" for score in one.scores)
        cells = [one.trial, f"{100 * one.score:.2f}", trainings]
        against = one.against
        if against is not None:
            interval = f"{100 * against.low:+.2f} to {100 * against.high:+.2f}"
            cells += [f"{100 * against.difference:+.2f}", interval, against.verdict]
        table.add_row(*cells)
    show(table)
    if final.seed_deviation is not None:
        say(f"trainings that differ in their seed: {100 * final.seed_deviation:.2f} points apart")
    else:
        say("one training of each says nothing of seeds: the intervals are of the games alone")
    for line in final.failed:
        say(f"training {line}")
    say(verdict_of(final))


def show_front(record: StudyRecord) -> None:
    """The trials that no other one beats in both tight and loose."""
    title = "No other trial is better in both: on the games that stop the training, %"
    table = Table(title=title, title_justify="left")
    for heading in ("trial", "tight", "loose"):
        table.add_column(heading, justify="left" if heading == "trial" else "right")
    for row in pareto_front(record):
        table.add_row(row.id, *(f"{100 * (v or 0):.2f}" for v in (row.best_tight, row.best_loose)))
    show(table)


def show_best(record: StudyRecord, folder: Path) -> None:
    """What there is beside the table of trials."""
    if record.settings.options.objective == "both":
        show_front(record)
    final = read_final(folder)
    if final is not None:
        show_final(final)


def best_document(record: StudyRecord, folder: Path) -> dict[str, Any]:
    """The same as JSON: `front`, where two numbers are maximised, and `final`, or null."""
    final = read_final(folder)
    both = record.settings.options.objective == "both"
    rows = [row.model_dump(mode="json") for row in pareto_front(record)] if both else None
    return {"front": rows, "final": final and final.model_dump(mode="json")}
