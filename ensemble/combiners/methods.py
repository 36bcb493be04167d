"""All combiners by name, and fitted ones back from their records."""

from pathlib import Path
from typing import Any

import numpy as np

from ensemble.combiner import Combiner, Fitted, FittedWeights
from ensemble.combiners.shortlist import MOST_LEARNED, Shortlisted
from ensemble.combiners.weighting import Greedy, ScoreWeights
from ensemble.greedy.select import GreedyConfig
from ensemble.learned.combiner import FittedNetwork, Learned
from ensemble.learned.network import FusionConfig
from hmtas.errors import InputError, did_you_mean
from hmtas.runs.ensemble import EnsembleRecord, Space

POWERS = {"mean": 0, "weighted": 1, "squared": 2}
PER_ACTION, LOGIT, SMALL = "-per-action", "-logit", "-small"

METHODS = (
    *(f"{name}{space}" for name in POWERS for space in ("", LOGIT)),
    *(f"{name}{PER_ACTION}{space}" for name in ("weighted", "squared") for space in ("", LOGIT)),
    "greedy",
    f"greedy{LOGIT}",
    "learned",
    f"learned{SMALL}",
)
USUAL = ("mean", "weighted", "squared", f"squared{PER_ACTION}", f"squared{LOGIT}",
         "greedy", "learned")  # fmt: skip
"""One of each kind, the thesis's four among them: what a fit and a selection try by default."""


def candidate_of(method: str, combiner: Combiner) -> Combiner:
    """A combiner as an automated selection tries it: of the better models only."""
    most = MOST_LEARNED if method.startswith("learned") else None
    return Shortlisted(combiner=combiner, most=most)


def combiner_of(
    method: str,
    *,
    seed: int = 0,
    fusion: FusionConfig | None = None,
    greedy: GreedyConfig | None = None,
) -> Combiner:
    """A combiner by its name, one of `METHODS`.

    The seed replaces that of the settings; settings of a learned fusion of the other kind are left
    aside.

    Raises:
        InputError: If there is no such method.
    """
    if method not in METHODS:
        known = f"the combiners are {', '.join(METHODS)}"
        raise InputError(f"unknown combiner {method}; {known}{did_you_mean(method, METHODS)}")
    seeded = {"seed": seed}
    if method.startswith("learned"):
        usual = FusionConfig.small() if method.endswith(SMALL) else FusionConfig()
        config = fusion if fusion is not None and fusion.kind == usual.kind else usual
        return Learned(config=config.model_copy(update=seeded))
    space: Space = "logit" if method.endswith(LOGIT) else "probability"
    name = method.removesuffix(LOGIT)
    if name == "greedy":
        return Greedy(space=space, config=(greedy or GreedyConfig()).model_copy(update=seeded))
    return ScoreWeights(
        power=POWERS[name.removesuffix(PER_ACTION)],
        per_action=name.endswith(PER_ACTION),
        space=space,
    )


def vote_of(fitted: Fitted, m: int) -> dict[str, Any]:
    """Weight and score of one model, as far as there are any: fields of its `MemberRecord`."""
    vote: dict[str, Any] = {}
    if fitted.weights is not None:
        # One number for people and tables; what combines is the row, where there is one.
        vote["weight"] = float(fitted.weights[m].mean())
        if fitted.weights.ndim > 1:
            vote["weight_by_action"] = tuple(fitted.weights[m].tolist())
    if fitted.scores is not None:
        vote["tight"] = float(fitted.scores[m])
    return vote


def fitted_of(record: EnsembleRecord, run: Path, actions: tuple[str, ...]) -> Fitted:
    """A fitted combiner from the record and the folder of an ensemble, of this version or older.

    Raises:
        InputError: If its network is missing or damaged.
    """
    members = record.members
    if record.fusion is not None:
        return FittedNetwork.load(run, len(members), actions)
    weights = np.array([member.weight_by_action or member.weight for member in members])
    return FittedWeights(weights=weights, space=record.space)
