"""`hmtas demo`: the whole path on a synthetic season."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from hmtas.commands.options import Json
from hmtas.place import check_folder
from hmtas.terminal.console import say
from hmtas.terminal.recipe import Step, run_recipe

EXPERIMENT = "demo"
SEASON = ("--train", "12", "--valid", "10", "--test", "10", "--minutes", "22")
SWEEP = (
    *("--preset", "smoke", "--trials", "6", "--max-epochs", "4", "--set", "windows_share=0.5"),
    *("--top", "2"),
)


def demo(
    out: Annotated[Path, typer.Argument(help="Folder for everything the demo makes.")] = Path(
        "demo"
    ),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove the folder and start over.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole path on a synthetic season, in a few minutes.

    A season is generated and packed, models are searched with Ray Tune and Optuna, their
    probabilities stored, NMS windows tuned, combiners fitted, and everything compared in
    MLflow. Each step is a command of its own and shown as such: the same commands work on your
    own games, and on a Ray cluster with `--address`. After an interruption the same command
    resumes.
    """
    begin(out, EXPERIMENT)
    worked = run_recipe(demo_steps(out), out, fresh=fresh)
    if not worked:
        say(f"{out}: the demo is done; --fresh starts over (FRESH=1 with make)")
    from hmtas.commands.compare import compare

    compare(experiment=EXPERIMENT, as_json=as_json)


def demo_steps(out: Path) -> list[Step]:
    """The commands of the demo."""
    games, store, ensembles = str(out / "games"), str(out / "store"), out / "ensembles"
    study = out / "studies" / "sweep"
    return [
        Step("Generate a synthetic season", lambda: ["season", games, *SEASON]),
        Step("Pack it into an Arrow store", lambda: ["pack", games, store]),
        Step(
            "Search models with Ray Tune and Optuna",
            lambda: ["tune", "model", store, "--name", study.name, "--out", str(study.parent),
                     *SWEEP, "--experiment", EXPERIMENT],
        ),
        *fusing_steps(runs_below(study / "trials"), ensembles, EXPERIMENT, test=True),
    ]  # fmt: skip


def fusing_steps(
    models: Callable[[], list[str]], ensembles: Path, experiment: str, *, test: bool
) -> list[Step]:
    """From trained models to scored ensembles; with `test`, the test split is scored once."""
    fused = runs_below(ensembles)

    def fit() -> Sequence[str]:
        return ["ensemble", "fit", *models(), "--split", "valid", "--out", str(ensembles),
                "--experiment", experiment]  # fmt: skip

    def on(split: str, runs: Callable[[], list[str]], *verb: str) -> Callable[[], list[str]]:
        return lambda: [*verb, *runs(), "--split", split]

    windows = ("tune", "windows")
    steps = [
        Step("Tune the models' NMS windows on validation games", on("valid", models, *windows)),
        Step("Fit combiners on validation games, cross-fitted", fit),
        Step("Tune the ensembles' NMS windows", on("valid", fused, *windows)),
    ]
    if test:
        steps += [
            Step("Predict the test games", on("test", models, "predict")),
            Step("Fuse the test games", on("test", fused, "ensemble", "apply")),
            Step("Score the test games, once",
                 lambda: ["score", *models(), *fused(), "--split", "test"]),
        ]  # fmt: skip
    selection = ["--out", str(ensembles.parent / "selection"), "--experiment", experiment]
    once = ["--test"] if test else []
    steps.append(
        Step("Select: the best combination, or the single model",
             lambda: ["ensemble", "select", *models(), *selection, *once])
    )  # fmt: skip
    return steps


def runs_below(folder: Path) -> Callable[[], list[str]]:
    """The run folders of a folder that have stored probabilities, when asked."""
    return lambda: sorted(
        str(path.parent.parent) for path in folder.glob("*/predictions/valid.arrow")
    )


def begin(out: Path, experiment: str) -> None:
    """Let all steps log where the user says, else to a database in `out`; try these places."""
    from hmtas.tracking.client import DATABASE, VARIABLE
    from hmtas.tracking.run import check_tracking

    check_folder(out)
    if os.environ.get(VARIABLE):
        check_tracking([out], experiment)
    else:  # not opened yet: --fresh removes it
        os.environ[VARIABLE] = f"sqlite:///{out.absolute() / DATABASE}"
