"""Arguments and options that several verbs share, of this package and of others."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from hmtas.errors import InputError
from hmtas.terminal.console import say
from hmtas.terminal.signals import Interrupted

# What the value of a parameter is called in every help text, by the parameter's name.
METAVARS = {
    name: metavar
    for metavar, names in {
        "N": "seed seeds trials concurrent workers cpus gpus top final_seeds folds width "
        "max_epochs grace_epochs epochs bootstrap train valid test challenge threshold "
        "tolerance grid_hz fps",
        "NAME": "name experiment preset_name protocol sampler objective pruner weights method "
        "combiners dtype sport",
        "NAME,...": "streams only_splits what kinds",
        "NAME=VALUE": "settings",
        "FOLDER": "features",
        "N,...": "parts",
        "FORMAT": "label_format",
        "MOMENT": "spot_at",
        "STREAM=HZ": "rate_hz",
        "STREAM=METHOD": "resample",
        "FILE": "splits config_file space_file encoder half_seconds",
        "SECONDS,...": "tolerance_s",
        "FRAMES,...": "tolerance_frames",
        "SECONDS": "slack_s radius_s nms_window_s",
        "MINUTES": "minutes",
        "HOURS": "hours",
        "RUN": "run runs probabilities",
        "STORE": "store",
        "OUT": "out",
        "GAMES": "games",
        "SPLIT": "split",
        "STUDY": "study earlier",
        "ENSEMBLE": "ensemble ensembles",
        "SELECTION": "selection",
        "ADDRESS": "address",
        "FILTER": "filter_",
    }.items()
    for name in names.split()
}


class Verb(TyperCommand):
    """A verb of the command line; its values have the names of `METAVARS`.

    Interrupted work ends with the exit code that shells give it.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for part in self.params:
            if part.metavar is None and not getattr(part, "is_flag", False):
                part.metavar = METAVARS.get(part.name or "")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the verb, and say which option that counts once is given twice."""
        words = [word.partition("=")[0] for word in args]
        for part in self.params:
            once = not (getattr(part, "multiple", False) or getattr(part, "is_flag", False))
            if once and sum(word in part.opts for word in words if word.startswith("--")) > 1:
                say(f"note: {part.opts[0]} is given twice; only the last one counts")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb.

        Raises:
            InputError: If a number is nan or infinite: no comparison with a bound finds that.
        """
        for part in self.params:
            value = ctx.params.get(part.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{part.opts[0]} must be a finite number, got {value}")
        try:
            return super().invoke(ctx)
        except Interrupted as asked:
            raise typer.Exit(asked.exit_code) from None


# A string, not a path: a path would make one slash of the two in s3://.
StorePlace = Annotated[
    str,
    typer.Argument(help="Embedding store, from `hmtas pack`: a folder, or `s3://BUCKET/FOLDER`."),
]
MovedStore = Annotated[
    str | None, typer.Option("--store", help="Where the store lies now, if it was moved.")
]
RunOut = Annotated[Path, typer.Option("--out", help="Run folder to write.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a setting, such as seq_len=4 or by_action.Goal=20 (repeat for several).",
    ),
]
NmsWindow = Annotated[
    float | None,
    typer.Option(
        help="One NMS window for all actions; by default those of the thesis, and for actions "
        "that it does not know what the gaps between their events say."
    ),
]
Bootstrap = Annotated[
    int, typer.Option(min=1, help="Resamples of the games behind the 95 % intervals.")
]
Experiment = Annotated[str, typer.Option(help="MLflow experiment.")]
Address = Annotated[
    str | None, typer.Option(help="A running Ray cluster, or `auto`; by default Ray starts here.")
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
