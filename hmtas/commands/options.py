"""Arguments and options that several verbs share, of this package and of others."""

from pathlib import Path
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
MovedStore = Annotated[
    str | None,
    typer.Option("--store", metavar="STORE", help="Where the store lies now, if it was moved."),
]
RunOut = Annotated[Path, typer.Option("--out", metavar="OUT", help="Run folder to write.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a setting, such as seq_len=4 or by_action.Goal=20 (repeat for several).",
    ),
]
NmsWindow = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="One NMS window for all actions; by default those of the thesis."
    ),
]
Bootstrap = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Resamples of the games behind the 95 % intervals."),
]
Experiment = Annotated[str, typer.Option(metavar="NAME", help="MLflow experiment.")]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="A running Ray cluster, or `auto`; by default Ray starts here."
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="Where to compute; `auto` takes a GPU if there is one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def device_here(device: Literal["auto", "cpu", "cuda"]) -> str:
    """The device of this machine that `--device` names.

    Raises:
        InputError: If it is a GPU, and there is none.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise InputError("--device cuda: torch finds no GPU here; use --device cpu")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


def names_in(text: str | None) -> list[str] | None:
    """The names of a list such as a,b."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
