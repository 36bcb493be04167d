"""DIR/NAME/report.html: what a study found and how, on one page that needs nothing else.

The page holds its pictures, their program (plotly.js) and its numbers; its own security policy
forbids a browser to load anything for it. It can be drawn at any time, of a study that still runs
too, from the folder of the study and, for scores with intervals, its store.
"""

import importlib.resources
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtas import __version__
from hmtas.errors import InputError
from hmtas.files import write_text
from hmtas.runs.record import RECORD, RunRecord, read_run
from hmtas.terminal.console import say
from tune.study.record import REPORT, read_study

if TYPE_CHECKING:
    from tune.report.facts import Facts

TEMPLATE = "page.html"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the report of a study.

    Args:
        folder: Of the study.
        out: Where to write it; its place in the study unless given.

    Returns:
        Where it is.

    Raises:
        InputError: If there is no study, or `out` cannot be written.
    """
    path = folder / REPORT if out is None else out
    if path.is_dir():
        raise InputError(f"--out {path}: this is a folder; name a file in it, such as {REPORT}")
    page = draw(gather(folder.absolute()))
    try:
        write_text(path, page)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def try_report(folder: Path) -> None:
    """Draw the report of a study that ends; what goes wrong is said, and costs nothing else."""
    say("drawing the report ...")  # some minutes of many games: windows are fitted, games resampled
    try:
        path = write_report(folder)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        say(f"warning: the report of this study could not be drawn ({reason}); "
            f"try again with: hmtas tune report {folder}")  # fmt: skip
    else:
        say(f"report: {path}")


def gather(folder: Path) -> "Facts":
    """All that a page is about, read from the folder of a study and its store.

    Raises:
        InputError: If there is no study.
    """
    from tune.report.facts import Facts, best_of
    from tune.report.importance import importances
    from tune.report.scores import score_best
    from tune.report.windows import windows_of
    from tune.study.budget import read_budget
    from tune.study.finalists import read_final

    record = read_study(folder)
    runs = {row.id: run for row in record.trials if (run := _run(folder / row.run)) is not None}
    final = read_final(folder)
    if final is not None and record.status != "done":
        final = None  # of an earlier end, before there were more trials
    try:
        scores, why_not = score_best(folder, record, final), ""
    except (InputError, OSError) as error:
        scores, why_not = None, str(error)
    best, settings = best_of(record, final), record.settings
    windows = None
    if best is not None and best.id in runs:
        config = runs[best.id].config
        windows = windows_of(folder / best.run, config, settings.store, settings.split)
    return Facts(
        folder=folder,
        record=record,
        final=final,
        budget=read_budget(folder),
        runs=runs,
        scores=scores,
        why_no_scores=why_not,
        importances=importances(record),
        windows=windows,
        now=datetime.now(UTC),
    )


def draw(facts: "Facts") -> str:
    """The page as text."""
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    from tune.report.head import lead, state, tiles
    from tune.report.sections import sections

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = importlib.resources.files("tune.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    content: dict[str, Any] = {
        "name": facts.record.name,
        "state": state(facts),
        "lead": lead(facts),
        "tiles": tiles(facts),
        "sections": sections(facts),
        "drawn": facts.now.isoformat(timespec="seconds"),
        "version": __version__,
        "plotly": Markup(get_plotlyjs()),
    }
    return environment.from_string(text).render(content)


def _run(run: Path) -> RunRecord | None:
    """The record of a run folder; None where no training has begun, or it is damaged."""
    if not (run / RECORD).is_file():
        return None
    try:
        return read_run(run)
    except InputError:
        return None
