"""What the verbs of `hmtas tune` print: a study, and scores before and after fitting windows."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from hmtas.terminal.console import emit, say, show
from tune.commands.final_table import best_document, show_best
from tune.study.record import StudyRecord, score_of
from tune.study.summary import summarize
from tune.windows.fit import Tuned

_LEFT = {"trial", "status", "settings", "run", "method", "rules"}


def show_study(study: StudyRecord, folder: Path, as_json: bool) -> None:
    """The trials of a study, best first, as a table or as JSON."""
    if as_json:
        more = best_document(study, folder)
        more["progress"] = summarize(folder, study).model_dump(mode="json")
        emit({"folder": str(folder), **study.model_dump(mode="json"), **more})
        return
    objective = study.settings.options.objective
    status = summarize(folder, study).status
    table = Table(title=f"Study {study.name}: {status}", title_justify="left")
    for heading in ("trial", "status", "tight, %", "loose, %", "epochs", "seconds", "settings"):
        table.add_column(heading, justify="left" if heading in _LEFT else "right")
    for row in sorted(study.trials, key=lambda row: -(score_of(row, objective) or -1.0)):
        scores = ["" if v is None else f"{100 * v:.2f}" for v in (row.best_tight, row.best_loose)]
        what = row.error or _short(row.settings, study.settings.space.dimensions)
        table.add_row(row.id, row.status, *scores, str(row.epochs), f"{row.seconds:.0f}", what)
    show(table)
    show_best(study, folder)
    if status == "interrupted":
        say(f"nobody drives it; go on with: hmtas tune resume {shlex.quote(str(folder))}")
    say(f"run folders: {folder}/trials/; the best configuration: hmtas tune best {folder}")


def _short(settings: dict[str, Any], searched: Any) -> str:
    """The sampled settings by their last names; one per action would be too many."""
    few = {path: settings[path] for path in searched if path in settings}
    per_action = [path for path in few if ".by_action." in path or ".windows_s." in path]
    parts = [f"{path.rpartition('.')[2]} {few[path]:.4g}"
             if isinstance(few[path], int | float) else f"{path.rpartition('.')[2]} {few[path]}"
             for path in few if path not in per_action]  # fmt: skip
    return ", ".join(parts + ([f"and {len(per_action)} per action"] if per_action else []))


def show_tuned(tuned: list[Tuned], split: str, as_json: bool) -> None:
    """Scores before and after the windows were fitted, as a table or as JSON."""
    if as_json:
        emit(
            [
                {
                    "run": str(item.run),
                    "windows": item.fitted.model_dump(mode="json"),
                    "before": item.before,
                    "after": item.after,
                    "difference": list(item.difference),
                }
                for item in tuned
            ]
        )
        return
    title = f"Tight Average-mAP on {split}, cross-fitted over games, % [95 % interval]"
    table = Table(title=title, title_justify="left")
    for heading in ("run", "method", "rules", "before", "after", "difference"):
        table.add_column(heading, justify="left" if heading in _LEFT else "right")
    for item in tuned:
        scores = (item.before["tight"], item.after["tight"])
        cells = [_percent(score["average_map"], *score["interval"]) for score in scores]
        counted = Counter(item.fitted.kinds.values()).most_common()
        rules = ", ".join(f"{count} {kind}" for kind, count in counted)
        difference = _percent(*item.difference, sign="+")
        table.add_row(str(item.run), item.fitted.method, rules, *cells, difference)
    show(table)
    say(f"wrote windows.json and scores/{split}.json in each run folder")


def _percent(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f} [{100 * low:{sign}.2f}, {100 * high:{sign}.2f}]"
