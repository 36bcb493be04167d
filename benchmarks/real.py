"""The whole path on real labels and commentary: `make real`.

HMTAS_REAL names a folder with `games.tar.xz` (SoccerNet labels and timed transcripts),
`splits.json` and `half_seconds.json`. Prints the table of models and ensembles on the 100 valid
games, everything that was fitted on them cross-fitted over games, with a linear model on the same
embeddings beside them. Test transcripts are not public, so nothing is said of the test split.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tarfile
import time
from pathlib import Path

from hmtas.commands.compare import compare
from hmtas.commands.demo import begin, fusing_steps, runs_below
from hmtas.errors import InputError
from hmtas.terminal.console import say
from hmtas.terminal.recipe import Step, run_recipe
from hmtas.terminal.signals import Interrupted

EXPERIMENT = "real"
WIDTH = "64"
# The default space, sized for two cores: a network of windows, or one that attends, sees a share of
# the rows in an epoch, so that all kinds cost about the same. No training is stopped: there are
# few, and each may be a member of an ensemble.
SWEEP = (
    *("--preset", "conv", "--trials", "8", "--max-epochs", "7", "--pruner", "none"),
    *("--top", "0", "--set", "width=96", "--set", "num_heads=4", "--set", "widening=2"),
    *("--set", "patience=7"),
)
SPACE = {
    "width": [64, 96, 128],
    "windows_share@windows": {"choices": [0.06], "when": {"kind": "hierarchy"}},
    "windows_share@dense": {"choices": [0.15], "when": {"kind": "dense"}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for everything it makes")
    parser.add_argument("--fresh", action="store_true", help="remove the folder and start over")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        run(arguments.out, fresh=arguments.fresh)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except Interrupted as asked:
        sys.exit(asked.exit_code)
    peak_mb = (
        max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        // 1024
    )
    seconds = round(time.monotonic() - started)
    say(f"{seconds // 60} min {seconds % 60} s; the largest process took {peak_mb} MB")
    if arguments.json:
        print(json.dumps({"seconds": seconds, "peak_mb_one_process": peak_mb}))


def run(out: Path, *, fresh: bool = False) -> None:
    """Run what has not run yet, then show the table."""
    source = Path(os.environ.get("HMTAS_REAL", ""))
    if not os.environ.get("HMTAS_REAL") or not (source / "games.tar.xz").is_file():
        raise InputError(
            f"HMTAS_REAL must name the folder that holds games.tar.xz, got {str(source)!r}"
        )
    begin(out, EXPERIMENT)
    games = out / "games"
    steps = [
        Step("Embed what the commentators said", lambda: embed(source, games)),
        Step(
            "Pack train and valid games into an Arrow store",
            lambda: ["pack", str(games), str(out / "store"), "--only-splits", "train,valid"],
        ),
        Step(
            "Fit a linear model on the same embeddings",
            lambda: ["baseline", str(out / "store"), "--split", "valid",
                     "--out", str(out / "linear"), "--experiment", EXPERIMENT],
        ),
        Step("Search models with Ray Tune and Optuna", lambda: sweep(out)),
        Step(
            "Tune the linear model's NMS windows",
            lambda: ["tune", "windows", str(out / "linear"), "--split", "valid"],
        ),
        *fusing_steps(
            runs_below(out / "studies" / "sweep" / "trials"),
            out / "ensembles",
            EXPERIMENT,
            test=False,
        ),
    ]  # fmt: skip
    run_recipe(steps, out, fresh=fresh)
    compare(experiment=EXPERIMENT)


def embed(source: Path, games: Path) -> list[str]:
    """Unpack what is not there yet, and say how to embed it."""
    if not (games / "splits.json").is_file():
        say("  unpacking")
        with tarfile.open(source / "games.tar.xz") as archive:
            if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(games)
        shutil.copyfile(source / "half_seconds.json", games / "half_seconds.json")
        shutil.copyfile(source / "splits.json", games / "splits.json")
    return ["embed", "commentary", str(games), "--width", WIDTH]


def sweep(out: Path) -> list[str]:
    """The search: small models of every kind."""
    space = out / "space.json"
    space.write_text(json.dumps(SPACE, indent=2))
    return ["tune", "model", str(out / "store"), "--name", "sweep", "--out", str(out / "studies"),
            *SWEEP, "--space", str(space), "--experiment", EXPERIMENT]  # fmt: skip


if __name__ == "__main__":
    main()
