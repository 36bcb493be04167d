"""The best combination of models, or the news that the best single model is as good. Numpy only.

Every combiner is fitted by nested cross-fitting (`ensemble.selection.nested`), so is the single
model that validation would have picked (`ensemble.combiners.shortlist.Single`), and they are
compared on games that none of them was fitted on.

The guard: a combination takes the place of the single model only if the lower end of its paired
interval is above 0. There is one comparison for each combiner, and the intervals hold together
(`hmtas.statistics.verdicts`): trying ten combiners does not find one that is better by luck.

The claim: of several better combinations the one with the best score is taken, which luck helped;
and luck helped too to bring the difference out on its side of the guard's threshold. What is
claimed of the answer is corrected for both (`_claim`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from ensemble.combiner import Combiner, Evidence, nothing
from ensemble.combiners.crossfit import Folds
from ensemble.combiners.shortlist import Single
from ensemble.selection.nested import Nested, fitting_sets, nested_fit, num_steps
from hmtas.errors import InputError
from hmtas.spotting.table import Setting
from hmtas.statistics.intervals import Resampled, clipped, resample
from hmtas.statistics.verdicts import Comparison, compare_to
from hmtas.statistics.winner import corrected_winner
from hmtas.terminal.text import counted, estimate, gain

SINGLE = "single"


class Ranked(NamedTuple):
    """One combiner in the result; Average-mAP in [0, 1], on games it was not fitted on."""

    nested: Nested  # its fits
    tight: float
    tight_interval: tuple[float, float]  # 95 %
    loose: float
    loose_interval: tuple[float, float]
    # Tight, minus the single model's, in an interval that holds together with those of the other
    # combiners; None for the single model itself.
    against_single: Comparison | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """What was selected, and everything it was selected from."""

    ranked: tuple[Ranked, ...]  # all combiners and the single model, the best tight score first
    chosen: str  # name of the answer
    claimed: float  # its expected tight Average-mAP on as many unseen games
    interval: tuple[float, float]  # 95 %, of the claim
    reason: str

    def of(self, method: str) -> Ranked:
        """One of them by its name."""
        return next(each for each in self.ranked if each.nested.method == method)


def search(
    evidence: Evidence,
    combiners: Mapping[str, Combiner],
    folds: Folds,
    settings: Sequence[Setting],
    *,
    split: str = "valid",
    seed: int = 0,
    on_step: Callable[[], None] = nothing,
) -> Selection:
    """Fit every combiner and the single model by nested cross-fitting, and choose.

    The windows of the evidence are not used. `on_step` is called `num_search_steps` times.

    Raises:
        InputError: If a combiner is named as the single model is, or nothing can be fitted.
    """
    if SINGLE in combiners:
        raise InputError(f"{SINGLE!r} is the best model alone and always takes part")
    sets = fitting_sets(evidence, folds, settings, on_model=on_step)
    fits = [
        nested_fit(name, combiner, sets, folds, settings, split=split, on_step=on_step)
        for name, combiner in {SINGLE: Single(), **combiners}.items()
    ]
    return choose(fits, seed=seed)


def num_search_steps(combiners: Mapping[str, Combiner], num_models: int, num_folds: int) -> int:
    """How often `search` calls `on_step`."""
    every = [Single(), *combiners.values()]
    return num_models + sum(num_steps(combiner, num_folds) for combiner in every)


def choose(fits: Sequence[Nested], *, seed: int = 0) -> Selection:
    """Choose among combiners fitted on the same games, one of which is the single model."""
    names = [fit.method for fit in fits]
    single = names.index(SINGLE)
    tight = resample([fit.tight for fit in fits], seed=seed)
    loose = resample([fit.loose for fit in fits], seed=seed)
    # The reference was not picked among these: other games chose it, fold by fold.
    against = compare_to(tight, single, picked=False) if len(fits) > 1 else {}
    better = [m for m, found in against.items() if found.verdict == "better"]
    chosen = max(better, key=lambda m: tight.scores[m]) if better else single
    ranked = sorted(
        (
            Ranked(
                fit,
                float(tight.scores[m]),
                tight.interval(m),
                float(loose.scores[m]),
                loose.interval(m),
                against.get(m),
            )
            for m, fit in enumerate(fits)
        ),
        key=lambda each: (-each.tight, each.nested.method),
    )
    claimed = _claim(fits, tight, against, chosen, seed)
    return Selection(
        ranked=tuple(ranked),
        chosen=names[chosen],
        claimed=claimed,
        interval=clipped(claimed, tight.reach(chosen)),
        reason=_reason(names, against, chosen, single),
    )


def _claim(
    fits: Sequence[Nested],
    tight: Resampled,
    against: Mapping[int, Comparison],
    chosen: int,
    seed: int,
) -> float:
    """The score of the chosen one, less what it owes to having been chosen.

    Twice it was. Of several combinations it is the best: what survives of its lead is known from
    halvings of the games. And it is a combination, or the single model, because a difference came
    out on one side of a threshold: of two normal scores s1 and s2, of which the first counts if
    s1 - s2 > c, the one that counts is on average too high by e phi((c - d) / e), where d is the
    true difference, e its standard error and phi the normal density. d is put as observed.
    """
    own = float(tight.scores[chosen])
    if chosen in against:
        winner = corrected_winner([fit.tight for fit in fits], seed=seed)
        mean = float(tight.scores.mean())
        lead = winner.score - mean
        kept = (winner.corrected - mean) / lead if lead > 0 else 1.0
        own = mean + kept * (own - mean)
    rivals = [against[chosen]] if chosen in against else list(against.values())
    return own - max((_luck_of_the_side(found) for found in rivals), default=0.0)


def _luck_of_the_side(found: Comparison) -> float:
    """By how much a difference is flattered by the side of the threshold that it came out on."""
    if found.standard_error == 0 or found.low <= -1:  # copies; or one game, which says nothing
        return 0.0
    return found.standard_error * NormalDist().pdf(found.low / found.standard_error)


def _reason(
    names: Sequence[str], against: Mapping[int, Comparison], chosen: int, single: int
) -> str:
    if chosen != single:
        found = against[chosen]
        others = sum(other.verdict == "better" for other in against.values()) - 1
        more = f"; so {'is' if others == 1 else 'are'} {others} more" if others else ""
        return (
            f"{names[chosen]} is better than the single model by "
            f"{estimate(found.difference, (found.low, found.high))} points{more}"
        )
    if not against:
        return "no combiner was tried"
    best = max(against, key=lambda m: against[m].difference)
    found = against[best]
    needed = f"; {counted(found.games_needed, 'game')} would tell" if found.games_needed else ""
    verdict = "is worse" if found.verdict == "worse" else f"cannot be told from it{needed}"
    return (
        f"the single model stays: the best combination, {names[best]}, differs by "
        f"{gain(found.difference, (found.low, found.high))} points and {verdict}"
    )
