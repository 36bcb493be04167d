"""The tables of a report."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from hmtas.config import Config
from hmtas.runs.record import RunRecord
from hmtas.spotting.spots import FittedWindows
from hmtas.terminal.table import Table
from hmtas.terminal.text import NOTHING, counted, duration, estimate, interval, percent, points
from tune.report.scores import Scores
from tune.report.style import STATES
from tune.space.dimensions import point_of
from tune.space.labels import label_of, searched, text_of
from tune.study.budget import Budget
from tune.study.finalists import ComparedToPicked, Final
from tune.study.record import StudyRecord, pareto_front, score_of

PACKAGES = ("ray", "optuna", "torch", "numpy", "mlflow", "pyarrow", "plotly")
AGAINST = ("difference\nfrom the first", "95 %,\nall together", "verdict", "games\nto tell")


def against_cells(against: ComparedToPicked | None) -> tuple[str, ...]:
    """A model against the first one, under the headings `AGAINST`."""
    if against is None:
        return ("",) * len(AGAINST)
    return (
        points(against.difference),
        interval((against.low, against.high), signed=True),
        against.verdict,
        NOTHING if against.games_needed is None else f"{against.games_needed:,}",
    )


def best_table(scores: Scores) -> Table:
    """The best models with their intervals, and each one's difference from the first."""
    trainings = (f"trainings,\n{scores.metric}, %",) if scores.again else ()
    heads = ("trial", "tight, % [95 %]", "loose, % [95 %]", *trainings, *AGAINST)
    rows = tuple(
        (
            one.trial,
            estimate(*one.scores["tight"]),
            estimate(*one.scores["loose"]),
            *(" ".join(map(percent, one.trainings)) for _ in trainings),
            *against_cells(one.against),
        )
        for one in scores.candidates
    )
    return Table(heads=heads, rows=rows, words=frozenset({0, heads.index("verdict")}))


def action_table(scores: Scores) -> Table:
    """Average precision of every action, for each of the best models."""
    rows = tuple(
        (
            action,
            f"{events:,}",
            *(estimate(*one.actions.get(action, (None, None))) for one in scores.candidates),
        )
        for action, events in scores.num_events.items()
    )
    heads = ("action", "events", *(one.trial for one in scores.candidates))
    return Table(heads=heads, rows=rows)


def trial_table(record: StudyRecord) -> Table:
    """Every trial with its settings, best first."""
    space, objective = record.settings.space, record.settings.options.objective
    keys = searched(space)
    rows = []
    for row in sorted(record.trials, key=lambda row: -(score_of(row, objective) or -1.0)):
        point = point_of(row.settings, space)
        rows.append(
            (
                row.id,
                STATES[row.status].name,
                percent(row.best_tight),
                percent(row.best_loose),
                str(row.epochs),
                f"{row.seconds:.0f}",
                *(text_of(point[key]) if key in point else NOTHING for key in keys),
            )
        )
    names = (label_of(key, space) for key in keys)
    heads = ("trial", "state", "tight, %", "loose, %", "epochs", "seconds", *names)
    return Table(heads=heads, rows=tuple(rows), words=frozenset({0, 1}))


def front_table(record: StudyRecord) -> Table:
    """The trials that no other one beats in both numbers."""
    return Table(
        heads=("trial", "tight, %", "loose, %"),
        rows=tuple(
            (row.id, percent(row.best_tight), percent(row.best_loose))
            for row in pareto_front(record)
        ),
        title="No other trial is better in both",
    )


def failure_table(record: StudyRecord, final: Final | None) -> Table:
    """What failed, and why."""
    rows = [
        (row.id, f"after {counted(row.epochs, 'epoch')}", row.error or "no reason was noted")
        for row in record.trials
        if row.status == "failed"
    ]
    rows += [("trained again", "", line) for line in (final.failed if final else ())]
    return Table(heads=("trial", "when", "why"), rows=tuple(rows), words=frozenset({0, 1, 2}))


def note_table(runs: Mapping[str, RunRecord]) -> Table:
    """What went wrong and was overcome."""
    rows = tuple((trial, note) for trial, run in runs.items() for note in run.notes)
    heads = ("trial", "what went wrong and was overcome")
    return Table(heads=heads, rows=rows, words=frozenset({0, 1}))


def window_table(config: Config, actions: Sequence[str], fitted: FittedWindows | None) -> Table:
    """NMS rule and window of each action: of the configuration, and fitted afterwards."""
    spotting = config.spotting
    heads: tuple[str, ...] = ("action", "rule", "window, s")
    if fitted is not None:
        heads += ("fitted rule", "fitted window, s")
    rows = []
    for action in actions:
        cells = [action, spotting.kind_of(action), f"{spotting.window_of(action):g}"]
        if fitted is not None:
            width = fitted.windows_s.get(action)
            cells += [fitted.kinds.get(action, NOTHING), NOTHING if width is None else f"{width:g}"]
        rows.append(tuple(cells))
    return Table(heads=heads, rows=tuple(rows), words=frozenset({0, 1, 3}))


def time_table(record: StudyRecord, budget: Budget) -> Table:
    """What the search cost."""
    ended = [row for row in record.trials if row.epochs]
    seconds, epochs = sorted(row.seconds for row in ended), sum(row.epochs for row in ended)
    rows = [("search, all its drivers together", duration(budget.spent_s))]
    if budget.hours is not None:
        rows.append(("time it was given", duration(3600 * budget.hours)))
    rows.append(("training, all trials together", duration(sum(seconds))))
    rows.append(("epochs, all trials together", f"{epochs:,}"))
    if seconds:
        most = len(record.trials) * record.settings.base.train.max_epochs
        rows.append(("a trial, median", duration(seconds[len(seconds) // 2])))
        rows.append(("an epoch, mean", f"{sum(seconds) / epochs:.1f} s"))
        rows.append(("epochs of what full trials would take", f"{percent(epochs / most, 0)} %"))
    return Table(heads=("what", "how long"), rows=tuple(rows))


def about_table(folder: Path, record: StudyRecord) -> Table:
    """What decides the result, beside the space and the base configuration."""
    settings, options, load = record.settings, record.settings.options, record.load
    epochs = f"the work of {settings.grace_epochs} before it may be stopped, at most "
    again = f"the best {options.top}, {options.final_seeds} times each"
    at_once = load.concurrent if load else None
    rows = [
        ("study", str(folder)),
        ("created", record.created),
        ("store", settings.store),
        ("checksum of the store", settings.store_checksum),
        ("preset", settings.preset),
        ("seed of the search", str(settings.seed)),
        ("seed of the trainings", str(settings.base.train.seed)),
        ("sampler, objective, pruner", f"{options.sampler}, {options.objective}, {options.pruner}"),
        ("epochs of a trial", f"{epochs}{settings.base.train.max_epochs}"),
        ("split that every trial predicts", settings.split),
        ("trained again", again if options.top else "none"),
        ("trials at once", "as many as fit" if at_once is None else str(at_once)),
    ]
    if options.warm:
        rows.append(("learned from", options.warm.study))
    return Table(heads=("what", "value"), rows=tuple(rows), words=frozenset({0, 1}))


def version_table(record: StudyRecord) -> Table:
    """Versions: of this package when the study was made, of the others when the page was."""
    rows = [("hmtas, when the study began", record.version), ("Python", platform.python_version())]
    rows += [(package, importlib.metadata.version(package)) for package in PACKAGES]
    return Table(heads=("what", "version"), rows=tuple(rows), words=frozenset({0, 1}))
