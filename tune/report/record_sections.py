"""What a report says of the record: trials, failures, time, settings, and how to repeat it."""

import json

from tune.report import figures, tables
from tune.report.facts import Code, Facts, Section
from tune.report.repeat import SPACE_FILE, commands, reproduce_line, train_line
from tune.report.style import html_of
from tune.space.default import space_document


def trials(facts: Facts) -> Section:
    """All trials as a table."""
    return Section(
        anchor="trials",
        title="All trials",
        text=["Best first, by the search's own score. Click a heading to sort."],
        tables=[("", tables.trial_table(facts.record))],
    )


def failures(facts: Facts) -> Section:
    """Trials and trainings that failed, and what their runs note."""
    failed = tables.failure_table(facts.record, facts.final)
    notes = tables.note_table(facts.runs)
    return Section(
        anchor="failures",
        title="Failures",
        text=[] if failed.rows else ["No trial failed."],
        tables=([("", failed)] if failed.rows else []) + ([("", notes)] if notes.rows else []),
    )


def time(facts: Facts) -> Section:
    """What the trials took, and what is left of the budget."""
    spent = any(row.seconds for row in facts.record.trials)
    return Section(
        anchor="time",
        title="Time",
        figure=html_of(figures.durations(facts.record), "durations") if spent else None,
        tables=[("", tables.time_table(facts.record, facts.budget))],
    )


def space(facts: Facts) -> Section:
    """The space, as a table and as the file that searches it again."""
    document = space_document(facts.record.settings.space)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return Section(
        anchor="space",
        title="What was searched",
        tables=[("", tables.space_table(facts.record))],
        codes=[Code(f"The space, for --space {SPACE_FILE}", text, SPACE_FILE)],
    )


def settings(facts: Facts) -> Section:
    """Where the search began, the best configuration, and the versions."""
    base = facts.record.settings.base.model_dump(mode="json")
    codes = [Code("Where the search began, and what it held fixed", _json(base), "base.json")]
    run = facts.runs.get(facts.best.id) if facts.best else None
    if run is not None and facts.best is not None:
        config = _json(run.config.model_dump(mode="json"))
        codes.insert(
            0, Code(f"Configuration of the best, trial {facts.best.id}", config, "best.json")
        )
    return Section(
        anchor="settings",
        title="The exact configuration",
        tables=[
            ("", tables.about_table(facts.folder, facts.record)),
            ("Versions when this page was drawn", tables.version_table(facts.record)),
        ],
        codes=codes,
    )


def repeat(facts: Facts) -> Section:
    """The commands that do it again."""
    codes = [Code(one.what, one.line) for one in commands(facts.folder, facts.record)]
    if facts.best is not None:
        run = facts.folder / facts.best.run
        codes[1:1] = [
            Code("Train the best model again", train_line(facts.record, run)),
            Code("Make it again as it was, and compare", reproduce_line(run)),
        ]
    once = facts.record.load is not None and facts.record.load.concurrent == 1
    text = "With one trial at a time the same seed proposes the same points."
    if not once:
        text += " Several trials ran at a time here: which of them ends first is not repeated."
    return Section(anchor="repeat", title="How to repeat it", text=[text], codes=codes)


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
