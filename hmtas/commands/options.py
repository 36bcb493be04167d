"""Arguments and options that several verbs share, of this package and of others."""

from typing import Annotated, Literal

import typer

from hmtas.errors import InputError

# A string, not a path: a path would make one slash of the two in s3://.
StorePlace = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="Embedding store, from `hmtas pack`: a folder, or `s3://BUCKET/FOLDER`.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; `auto` takes a GPU if there is one."),
]
Address = Annotated[
    str | None,
    typer.Option(help="A running Ray cluster, such as `auto`; without it Ray starts here."),
]


def device_here(device: Literal["auto", "cpu", "cuda"]) -> str:
    """The device of this machine that `--device` names.

    Raises:
        InputError: If it is a GPU, and there is none.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise InputError("--device cuda: this machine has no GPU that torch can use; use cpu")
    return "cuda" if has_gpu and device == "auto" else device.replace("auto", "cpu")
