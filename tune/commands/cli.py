"""`hmtas tune`: search models, search NMS windows, look at a study."""

import typer

from hmtas.commands.options import Verb
from tune.commands.model import model, resume
from tune.commands.space import space
from tune.commands.study import best, mirror, report, status, sync
from tune.commands.windows import windows

app = typer.Typer(no_args_is_help=True)


@app.callback(rich_help_panel="Search")
def _group() -> None:
    """Search L, gamma, class weights and NMS windows; look at a study."""


for verb in (model, resume, sync, mirror, space, windows, status, best, report):
    app.command(verb.__name__, cls=Verb)(verb)
