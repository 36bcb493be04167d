"""Verbs."""

import typer

app = typer.Typer(no_args_is_help=True, help="todo")


@app.callback()
def _main() -> None:
    pass
