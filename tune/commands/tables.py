"""What the verbs of `hmtas tune` print: a study, its finalists, and windows that were fitted."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from hmtas.terminal.console import emit, say, show
from hmtas.terminal.table import Table
from hmtas.terminal.text import counted, estimate, gain, percent
from tune.report.tables import AGAINST, against_cells, front_table
from tune.space.dimensions import Space
from tune.space.labels import text_of
from tune.study.finalists import Final, read_final, verdict_of
from tune.study.record import StudyRecord, pareto_front, score_of
from tune.study.summary import summarize
from tune.windows.fit import Tuned

SHOWN = 100  # trials of a study


def show_study(study: StudyRecord, folder: Path, as_json: bool) -> None:
    """The trials of a study, best first, as a table or as JSON."""
    summary = summarize(folder, study)
    if as_json:
        more = best_document(study, folder)
        more["progress"] = summary.model_dump(mode="json")
        emit({"folder": str(folder), **study.model_dump(mode="json"), **more})
        return
    show(study_table(study, summary.status))
    if len(study.trials) > SHOWN:
        say(f"the best {SHOWN} of {counted(len(study.trials), 'trial')}; --json has all")
    show_best(study, folder)
    if summary.repeats:
        say(f"the sampler proposed {counted(summary.repeats, 'point')} again: not trained again")
    if summary.points is not None and study.is_exhausted:
        say(f"every point of the space was tried ({counted(summary.points, 'point')}); --space or "
            "another --seed with another --name makes more models")  # fmt: skip
    quoted = shlex.quote(str(folder))
    if summary.status == "interrupted":
        say(f"no process runs it; resume it with: hmtas tune resume {quoted}")
    say(f"run folders: {folder}/trials/; the best configuration: hmtas tune best {quoted}")


def study_table(study: StudyRecord, status: str) -> Table:
    """The trials, best first, and of many only the best."""
    objective, space = study.settings.options.objective, study.settings.space
    rows = [
        (
            row.id,
            row.status,
            percent(row.best_tight),
            percent(row.best_loose),
            str(row.epochs),
            f"{row.seconds:.0f}",
            row.error or _short(row.settings, space),
        )
        for row in sorted(study.trials, key=lambda row: -(score_of(row, objective) or -1.0))[:SHOWN]
    ]
    return Table(
        heads=("trial", "status", "tight, %", "loose, %", "epochs", "seconds", "settings"),
        rows=tuple(rows),
        words=frozenset({0, 1, 6}),
        title=f"Study {study.name}: {status}",
    )


def _short(settings: dict[str, Any], space: Space) -> str:
    """The sampled settings by their last names; one per action would be too many."""
    few = {path: settings[path] for path in space.dimensions if path in settings}
    per_action = [path for path in few if ".by_action." in path or ".windows_s." in path]
    parts = [
        f"{path.rpartition('.')[2]} {text_of(few[path])}" for path in few if path not in per_action
    ]
    return ", ".join(parts + ([f"and {len(per_action)} per action"] if per_action else []))


def show_best(record: StudyRecord, folder: Path) -> None:
    """What there is beside the table of trials: the front, and the finalists trained again."""
    if record.settings.options.objective == "both":
        show(front_table(record))
    final = read_final(folder)
    if final is None:
        return
    show(final_table(final))
    if final.seed_deviation is not None:
        say(f"trainings that differ in their seed: {percent(final.seed_deviation)} points apart")
    else:
        say("one training of each says nothing about seeds: the intervals are over games alone")
    for line in final.failed:
        say(f"training {line}")
    say(verdict_of(final))


def final_table(final: Final) -> Table:
    """The finalists with their differences from the picked one."""
    heads = ("trial", "mean", "trainings", *AGAINST)
    rows = [
        (
            one.trial,
            percent(one.score),
            " ".join(map(percent, one.scores)),
            *against_cells(one.against),
        )
        for one in final.finalists
    ]
    return Table(
        heads=heads,
        rows=tuple(rows),
        words=frozenset({0, heads.index("verdict")}),
        title=f"Trained again, {final.metric} on {counted(final.num_games, 'game')} of "
        f"{final.split}, %",
    )


def best_document(record: StudyRecord, folder: Path) -> dict[str, Any]:
    """The same as JSON: `front`, where two numbers are maximised, and `final`, or null."""
    final = read_final(folder)
    both = record.settings.options.objective == "both"
    rows = [row.model_dump(mode="json") for row in pareto_front(record)] if both else None
    return {"front": rows, "final": final and final.model_dump(mode="json")}


def show_tuned(tuned: list[Tuned], split: str, as_json: bool) -> None:
    """Scores before and after the windows were fitted, as a table or as JSON."""
    if as_json:
        emit(
            [
                {
                    "run": str(item.run),
                    "windows": item.fitted.model_dump(mode="json"),
                    "before": item.before.model_dump(mode="json"),
                    "after": item.after.model_dump(mode="json"),
                    "difference": list(item.difference),
                }
                for item in tuned
            ]
        )
        return
    show(tuned_table(tuned, split))
    say(f"wrote windows.json and scores/{split}.json in each run folder")


def tuned_table(tuned: list[Tuned], split: str) -> Table:
    """The score of each run before and after, and the rules that were chosen."""
    rows = []
    for item in tuned:
        rules = Counter(item.fitted.kinds.values()).most_common()
        before, after = (
            item.before.chosen or item.before.tight,
            item.after.chosen or item.after.tight,
        )
        rows.append(
            (
                str(item.run),
                item.fitted.method,
                ", ".join(f"{count} {kind}" for kind, count in rules),
                estimate(before.average_map, before.interval),
                estimate(after.average_map, after.interval),
                gain(item.difference[0], item.difference[1:]),
            )
        )
    chosen = tuned[0].after.chosen if tuned else None
    what = "Tight Average-mAP" if chosen is None else f"mAP at {chosen.metric.title},"
    return Table(
        heads=("run", "method", "rules", "before", "after", "difference"),
        rows=tuple(rows),
        words=frozenset({0, 1, 2}),
        title=f"{what} on {split}, cross-fitted over games, % [95 % interval]",
    )
