"""Arguments and options that several verbs share, of this package and of others."""

from typing import Annotated

import typer

# A string, not a path: a path would make one slash of the two in s3://.
StorePlace = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="Embedding store, from `hmtas pack`: a folder, or `s3://BUCKET/FOLDER`.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Address = Annotated[
    str | None,
    typer.Option(help="A running Ray cluster, such as `auto`; without it Ray starts here."),
]
