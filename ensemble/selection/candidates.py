"""The models of a selection: which take part, which are passed over, and which may not.

A model that was fitted on one of the games is refused, as for every ensemble
(`ensemble.build.members.check_games`), and so is one whose input seems to hold the labels
(`ensemble.selection.leaks`). A model whose epoch was chosen on some of the games may take part, and
every score that it has a share in says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ensemble.build.plan import Plan, plan_fit
from ensemble.selection.leaks import leaking_features, too_good
from hmtas.errors import InputError
from hmtas.runs.record import predictions_path, read_run
from hmtas.scoring.games import how_to_predict
from hmtas.statistics.folds import game_folds

FEWEST_GAMES = 4


class Gathered(NamedTuple):
    """Run folders that take part, and those that do not, each with the reason."""

    runs: tuple[Path, ...]
    skipped: Mapping[str, str]


def gather(runs: Sequence[Path], split: str) -> Gathered:
    """Pass over what cannot be combined: of hundreds of trials some failed or were stopped early.

    Raises:
        InputError: If none is left.
    """
    kept, skipped = [], {}
    for run in runs:
        try:
            record = read_run(run)
        except InputError as error:
            skipped[str(run)] = str(error)
            continue
        if record.kind == "ensemble":
            skipped[str(run)] = "an ensemble itself: its members are what is combined"
        elif not predictions_path(run, split).is_file():
            skipped[str(run)] = f"no stored probabilities of split {split!r}"
        else:
            kept.append(run)
    if not kept:
        reasons = "; ".join(dict.fromkeys(skipped.values())) or "none was named"
        unpredicted = [run for run in runs if "no stored" in skipped.get(str(run), "")]
        advice = f"; {how_to_predict(unpredicted[0], split)}" if unpredicted else ""
        raise InputError(f"none of {len(runs)} runs can be selected from: {reasons[:300]}{advice}")
    return Gathered(tuple(kept), skipped)


def read_candidates(
    runs: Sequence[Path],
    split: str,
    *,
    store: str | Path | None = None,
    num_folds: int = 5,
    seed: int = 0,
) -> Plan:
    """Read the models, each once, and refuse games that must not shape a selection of them.

    Raises:
        InputError: If a rule of `ensemble.build.members` or `ensemble.stack.align` is broken, or
            there are too few games.
    """
    plan = plan_fit(runs, split, methods=("mean",), store=store, seed=seed, copies="drop")
    games = plan.evidence.games
    if len(games) < FEWEST_GAMES:
        raise InputError(
            f"a selection needs at least {FEWEST_GAMES} games of split {split!r}, got "
            f"{len(games)}: it fits on some of them and scores on others; predict more games"
        )
    return replace(plan, folds=game_folds(games, num_folds, seed))


def find_leaks(plan: Plan, *, on_game: Callable[[], None]) -> list[str]:
    """Models that are too good, and streams of the store that hold its labels, in sentences."""
    evidence = plan.evidence
    stacked = evidence.stacked
    found = too_good(stacked.models, evidence.scores(evidence.games), stacked.actions)
    streams = sorted({name for member in plan.members for name in member.record.streams})
    return found + leaking_features(plan.store, evidence.games, streams, on_game=on_game)


def refuse_leaks(leaks: Sequence[str]) -> None:
    """Refuse to select from models that seem to know the labels.

    Raises:
        InputError: If there is a suspicion.
    """
    if leaks:
        more = f" (and {len(leaks) - 1} more such findings)" if len(leaks) > 1 else ""
        raise InputError(
            f"{leaks[0]}{more}; were labels copied into its input? Leave the model out, or "
            "use --allow-suspicious if you know better: the record will say so"
        )
