"""The tables of a report, as text that the page escapes."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hmtas.config import Config
from hmtas.runs.record import RunRecord
from hmtas.spotting.evaluate import FittedWindows
from hmtas.terminal.text import estimate
from tune.report.scores import Scores
from tune.report.style import STATES
from tune.space.dimensions import nearest_point, point_of, setting_of
from tune.space.labels import in_order, label_of, percent, range_text, text_of
from tune.study.budget import Budget
from tune.study.finalists import Final
from tune.study.record import StudyRecord, pareto_front, score_of

PACKAGES = ("ray", "optuna", "torch", "numpy", "mlflow", "pyarrow", "plotly")


class Table(NamedTuple):
    """Headings, rows of text, and which columns hold numbers."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


def best_table(scores: Scores) -> Table:
    """The best models with their intervals, and each one's difference from the first."""
    rows = []
    for one in scores.candidates:
        cells = [one.trial, estimate(*one.scores["tight"]), estimate(*one.scores["loose"])]
        if scores.again:
            cells.append(" ".join(percent(value) for value in one.trainings))
        against = one.against
        if against is None:
            cells += ["", "", "", ""]
        else:
            interval = f"{100 * against.low:+.2f} to {100 * against.high:+.2f}"
            needed = "" if against.games_needed is None else str(against.games_needed)
            difference = f"{100 * against.difference:+.2f}"
            cells += [difference, interval, against.verdict, needed]
        rows.append(tuple(cells))
    heads = ["trial", "tight, % [95 %]", "loose, % [95 %]"]
    heads += [f"trainings, {scores.metric}, %"] if scores.again else []
    heads += ["difference from the first", "95 %, all together", "verdict", "games to tell"]
    words = {heads.index("trial"), heads.index("verdict")}
    return Table(tuple(heads), tuple(rows), frozenset(range(len(heads))) - words)


def action_table(scores: Scores) -> Table:
    """Average precision of every action, for every one of the best."""
    heads = ("action", "events", *(one.trial for one in scores.candidates))
    rows = tuple(
        (
            action,
            str(events),
            *(
                estimate(*one.actions[action]) if action in one.actions else ""
                for one in scores.candidates
            ),
        )
        for action, events in scores.num_events.items()
    )
    return Table(heads, rows, frozenset(range(1, len(heads))))


def trial_table(record: StudyRecord) -> Table:
    """Every trial with its settings, best first."""
    space, objective = record.settings.space, record.settings.options.objective
    keys = in_order(space)
    rows = []
    for row in sorted(record.trials, key=lambda row: -(score_of(row, objective) or -1.0)):
        point = point_of(row.settings, space)
        rows.append(
            (
                row.id,
                STATES[row.status][0],
                percent(row.best_tight),
                percent(row.best_loose),
                str(row.epochs),
                f"{row.seconds:.0f}",
                *(text_of(point[key]) if key in point else "" for key in keys),
            )
        )
    names = (label_of(key, space) for key in keys)
    heads = ("trial", "state", "tight, %", "loose, %", "epochs", "seconds", *names)
    return Table(heads, tuple(rows), frozenset(range(2, len(heads))))


def front_table(record: StudyRecord) -> Table:
    """The trials that no other one beats in both numbers."""
    rows = tuple(
        (row.id, percent(row.best_tight), percent(row.best_loose)) for row in pareto_front(record)
    )
    return Table(("trial", "tight, %", "loose, %"), rows, frozenset({1, 2}))


def failure_table(record: StudyRecord, final: Final | None) -> Table:
    """What failed, and why."""
    rows = [
        (row.id, f"after {row.epochs} epochs", row.error or "no reason was noted")
        for row in record.trials
        if row.status == "failed"
    ]
    rows += [("trained again", "", line) for line in (final.failed if final else ())]
    return Table(("trial", "when", "why"), tuple(rows))


def note_table(runs: Mapping[str, RunRecord]) -> Table:
    """What went wrong and was overcome."""
    rows = tuple((trial, note) for trial, run in runs.items() for note in run.notes)
    return Table(("trial", "what went wrong and was overcome"), rows)


def window_table(config: Config, actions: Sequence[str], fitted: FittedWindows | None) -> Table:
    """NMS rule and window of each action: of the configuration, and fitted afterwards."""
    heads: tuple[str, ...] = ("action", "rule", "window, s")
    rows = []
    for action in actions:
        spotting = config.spotting
        cells: tuple[str, ...] = (
            action,
            spotting.kind_of(action),
            f"{spotting.window_of(action):g}",
        )
        if fitted is not None:
            window = fitted.windows_s.get(action)
            cells = (*cells, fitted.kinds.get(action, ""), "" if window is None else f"{window:g}")
        rows.append(cells)
    if fitted is not None:
        heads = (*heads, "fitted rule", "fitted window, s")
    return Table(heads, tuple(rows), frozenset({2, 4}))


def space_table(record: StudyRecord) -> Table:
    """What was searched, where the search started, and the best trial's value."""
    settings, space = record.settings, record.settings.space
    first = nearest_point(settings.base, space)
    rows = []
    for key in in_order(space):
        dimension = space.dimensions[key]
        only = "; ".join(
            f"{label_of(k, space)} is {' or '.join(map(text_of, v))}"
            for k, v in dimension.when.items()
        )
        start = text_of(first[key]) if key in first else ""
        rows.append((label_of(key, space), setting_of(key), range_text(dimension), only, start))
    rows += [
        (path.rpartition(".")[2], path, f"fixed: {text_of(value)}", "", "")
        for path, value in space.fixed.items()
    ]
    return Table(("what", "setting", "values", "only where", "first"), tuple(rows))


def time_table(record: StudyRecord, budget: Budget) -> Table:
    """What the search cost."""
    ended = [row for row in record.trials if row.epochs]
    seconds = sorted(row.seconds for row in ended)
    epochs = sum(row.epochs for row in ended)
    rows = [
        ("search, all its drivers together", duration(budget.spent_s)),
        ("training, all trials together", duration(sum(seconds))),
        ("epochs, all trials together", str(epochs)),
    ]
    if budget.hours is not None:
        rows.insert(1, ("time it was given", duration(3600 * budget.hours)))
    if seconds:
        rows.append(("a trial, median", duration(seconds[len(seconds) // 2])))
        rows.append(("an epoch, mean", f"{sum(seconds) / max(epochs, 1):.1f} s"))
        most = len(record.trials) * record.settings.base.train.max_epochs
        rows.append(("epochs of what full trials would take", f"{100 * epochs / most:.0f} %"))
    return Table(("what", "how long"), tuple(rows), frozenset({1}))


def duration(seconds: float) -> str:
    """Such as "2 h 05 min"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def about_table(folder: Path, record: StudyRecord) -> Table:
    """What decides the result, beside the space and the base configuration."""
    settings, options, load = record.settings, record.settings.options, record.load
    rows = [
        ("study", str(folder)),
        ("created", record.created),
        ("store", settings.store),
        ("checksum of the store", settings.store_checksum),
        ("preset", settings.preset),
        ("seed of the search", str(settings.seed)),
        ("seed of the trainings", str(settings.base.train.seed)),
        ("sampler, objective, pruner", f"{options.sampler}, {options.objective}, {options.pruner}"),
        ("epochs of a trial", f"{settings.grace_epochs} before it may be stopped, "
                              f"at most {settings.base.train.max_epochs}"),
        ("split that every trial predicts", settings.split),
        ("trained again", f"the best {options.top}, {options.final_seeds} times each"
                          if options.top else "none"),
        ("trials at once", "as many as fit" if not load or load.concurrent is None
                           else str(load.concurrent)),
    ]  # fmt: skip
    if options.warm:
        rows.append(("learned from", options.warm.study))
    return Table(("what", "value"), tuple(rows))


def version_table(record: StudyRecord) -> Table:
    """Versions: of this package when the study was made, of the others when the page was."""
    rows = [("hmtas, when the study began", record.version), ("Python", platform.python_version())]
    for package in PACKAGES:
        rows.append((package, importlib.metadata.version(package)))
    return Table(("what", "version"), tuple(rows))
