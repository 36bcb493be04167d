"""The thesis's Table 5.7: do ensembles of L = 2, 3, 4, 5 of one model help, and which strategy?

    hmtas ablate STORE --out OUT --what length-2,length-4,length-5 --seeds 3 --split valid ...
    python benchmarks/strategies.py OUT [--json]

For each seed every strategy combines the four models of that seed, fitted by nested cross-fitting
over the validation games (`ensemble.selection.nested`): weights, networks and NMS windows on the
other folds, also the windows of each model alone. `single` is the model that the other folds pick.
A score is the mean over the seeds; its interval resamples games, the same for all seeds and
strategies, and intervals of differences hold together.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ensemble.combiner import Combiner, Evidence, FittedWeights, nothing
from ensemble.combiners.methods import candidate_of, combiner_of
from ensemble.combiners.shortlist import Single
from ensemble.selection.candidates import read_candidates
from ensemble.selection.nested import Nested, fitting_sets, nested_fit, settings_to_try
from ensemble.selection.table import against
from hmtas.runs.ensemble import CombinerSettings
from hmtas.statistics.intervals import resample
from hmtas.statistics.seeds import average_seeds
from hmtas.statistics.verdicts import compare_to
from hmtas.terminal.console import say, show
from hmtas.terminal.text import estimate

LENGTHS = {2: "length-2", 3: "m7", 4: "length-4", 5: "length-5"}  # names of `hmtas ablate`
METHODS = ("mean", "weighted", "squared", "squared-per-action", "mean-logit", "squared-logit",
           "greedy", "greedy-logit", "learned", "learned-small")  # fmt: skip
SINGLE = "single"
NAMES = {"mean": "mean", "weighted": "weighted mean", "squared": "squared weighted mean",
         "learned": "learned fusion (Figure 5.22)"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Only(Combiner):
    """One model, whichever scores best."""

    model: int

    @property
    def settings(self) -> CombinerSettings:
        return CombinerSettings()

    def fit(
        self, evidence: Evidence, games: Sequence[str], on_step: Callable[[], None] = nothing
    ) -> FittedWeights:
        del games, on_step
        return FittedWeights(weights=np.eye(len(evidence.stacked.models))[self.model])


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of an ablation of lengths")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS), help="of hmtas ensemble fit")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args(given)
    methods = arguments.methods.split(",")
    by_seed = [
        fit_seed(arguments.out, seed, arguments.split, methods) for seed in range(arguments.seeds)
    ]
    rows = rows_of(by_seed)
    _show(rows, arguments)
    if arguments.json:
        sys.stdout.write(json.dumps({row["name"]: row["tight"] for row in rows}) + "\n")


def fit_seed(out: Path, seed: int, split: str, methods: Sequence[str]) -> dict[str, Nested]:
    """Each model alone, the one that is picked, and every strategy, on the models of one seed."""
    runs = [out / "runs" / f"{name}-s{seed}" for name in LENGTHS.values()]
    plan = read_candidates(runs, split)
    settings = settings_to_try(plan.evidence.stacked.rate_hz)
    sets = fitting_sets(plan.evidence, plan.folds, settings)
    alone = {f"L = {length}": Only(model=m) for m, length in enumerate(LENGTHS)}
    combined = {name: candidate_of(name, combiner_of(name)) for name in methods}
    every = {**alone, SINGLE: Single(), **combined}
    fits = {}
    for name, combiner in every.items():
        fits[name] = nested_fit(name, combiner, sets, plan.folds, settings, split=split)
        say(f"seed {seed}: {name}")
    return fits


def rows_of(by_seed: Sequence[dict[str, Nested]]) -> list[dict[str, Any]]:
    """A row of the table for each strategy: the mean of its seeds, on the same resamples."""
    names = list(by_seed[0])
    fits = [of_seed[name] for name in names for of_seed in by_seed]
    num_seeds = len(by_seed)
    groups = [range(m * num_seeds, (m + 1) * num_seeds) for m in range(len(names))]
    each = resample([fit.tight for fit in fits])
    tight = average_seeds(each, groups)
    loose = average_seeds(resample([fit.loose for fit in fits]), groups)
    single = names.index(SINGLE)
    found = compare_to(tight, single, picked=False)
    own = each.scores.reshape(len(names), num_seeds)
    steps = own - own[single]
    return [
        {
            "name": name,
            "tight": round(float(tight.scores[m]), 5),
            "tight_interval": tight.interval(m),
            "loose": float(loose.scores[m]),
            "loose_interval": loose.interval(m),
            "against_single": found.get(m),
            "seeds": (float(steps[m].min()), float(steps[m].max())),
        }
        for m, name in enumerate(names)
    ]


def _show(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> None:
    table = Table(title=f"Table 5.7 again, {arguments.seeds} seeds, {arguments.out.name}")
    for name in ("strategy", "tight, %", "loose, %", "minus single, tight", "by seed"):
        table.add_column(name)
    for row in rows:
        low, high = (100 * value for value in row["seeds"])
        table.add_row(
            NAMES.get(row["name"], row["name"]),
            estimate(row["tight"], row["tight_interval"]),
            estimate(row["loose"], row["loose_interval"]),
            against(row["against_single"]),
            "" if row["name"] == SINGLE else f"{low:+.2f} to {high:+.2f}",
        )
    show(table)


if __name__ == "__main__":
    main()
