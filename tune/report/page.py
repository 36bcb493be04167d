"""DIR/NAME/report.html: what a study found and how, on one page that needs nothing else.

The page holds its pictures, their program (plotly.js) and its numbers; its own security policy
forbids a browser to load anything for it. It can be drawn at any time, of a study that still runs
too, from the folder of the study and, for scores with intervals, its store.
"""

import base64
import functools
import gzip
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hmtas import __version__
from hmtas.errors import InputError
from hmtas.files import write_text
from hmtas.terminal import text
from hmtas.terminal.console import say
from tune.space.default import space_document
from tune.space.labels import label_of, space_table
from tune.study.record import REPORT

if TYPE_CHECKING:
    from tune.report.facts import Facts


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Draw the report of a study, in its place in the study unless `out` is given.

    Raises:
        InputError: If there is no study, or `out` cannot be written.
    """
    from tune.report.facts import gather

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
    """Draw the report of a study that ends; a failure is a warning, and costs nothing else."""
    say("drawing the report ...")  # minutes for many games: windows are fitted, games resampled
    try:
        path = write_report(folder)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        say(f"warning: the report of this study could not be drawn ({reason}); "
            f"try again with: hmtas tune report {shlex.quote(str(folder))}")  # fmt: skip
    else:
        say(f"report: {path}")


def draw(facts: "Facts") -> str:
    """The page as text: the words are in page.html, which asks for figures and tables."""
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    from tune.report import figures, repeat, tables
    from tune.report.importance import FEWEST
    from tune.report.style import html_of

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tune.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = label_of
    return environment.get_template("page.html").render(
        facts=facts,
        figures=figures,
        tables=tables,
        text=text,
        repeat=repeat,
        FEWEST=FEWEST,
        html_of=lambda figure, name: Markup(html_of(figure, name)),
        space_table=space_table,
        space_document=space_document,
        as_json=functools.partial(json.dumps, indent=2, ensure_ascii=False),
        plotly=Markup(_packed(get_plotlyjs())),
        version=__version__,
    )


def _packed(program: str) -> str:
    """A program in a form that a page can hold in a third of the room."""
    return base64.b64encode(gzip.compress(program.encode(), mtime=0)).decode()
