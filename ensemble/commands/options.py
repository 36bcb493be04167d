"""Options that `hmtas ensemble fit` and `select` share."""

from typing import Annotated

import typer

FittedSplit = Annotated[str, typer.Option(help="Split whose games are fitted on; never test.")]
Combiners = Annotated[
    list[str] | None,
    typer.Option(
        "--combiner",
        help="Combiner to fit (repeat for several): mean, weighted, squared, greedy, learned, with "
        "endings such as squared-per-action-logit or learned-small; by default one of each kind.",
    ),
]
Folds = Annotated[int, typer.Option(help="Folds of games for cross-fitting.")]
LabelStore = Annotated[
    str | None, typer.Option(help="Store of the labels; by default that of the models.")
]
Seed = Annotated[int, typer.Option(help="Seed of the folds and of the fits.")]
