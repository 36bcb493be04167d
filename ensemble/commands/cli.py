"""`hmtas ensemble`: combine models from their stored probabilities, no model is run."""

import typer

from ensemble.commands.fit import apply, fit, refit
from ensemble.commands.promote import promote
from ensemble.commands.select import select, sync
from hmtas.commands.options import Verb

app = typer.Typer(no_args_is_help=True)


@app.callback(rich_help_panel="Ensemble")
def _group() -> None:
    """Combine models from their stored probabilities; no model is run."""


for verb in (fit, select, apply, refit, promote, sync):
    app.command(verb.__name__, cls=Verb)(verb)
