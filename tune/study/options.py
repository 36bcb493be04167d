"""How a study searches, as data: sampler, objective, pruner, what is retrained, what it knows."""

from typing import Any, Literal

from pydantic import Field

from hmtas.validation import Frozen

SamplerName = Literal["tpe", "cmaes", "gp", "random"]
Objective = Literal["tight", "loose", "both"]
PrunerName = Literal["asha", "wilcoxon", "none"]
Metric = Literal["tight", "loose"]

# What a trial reports of its best epoch so far, Average-mAP in [0, 1]. The epoch is the one that
# its training keeps: the two numbers are of one model.
TIGHT = "best_tight"
LOOSE = "best_loose"
GAMES = "game_tight"  # of that epoch, by game
METRICS: dict[Objective, tuple[str, ...]] = {
    "tight": (TIGHT,),
    "loose": (LOOSE,),
    "both": (TIGHT, LOOSE),
}


# How many of the best trials `hmtas tune model` trains again by default, and how often each.
# More finalists, or a third training, did not pick better ones (docs/search.md).
TOP = 3
FINAL_SEEDS = 2


class KnownTrial(Frozen):
    """A trial of an earlier study that is a point of this one's space."""

    trial: str  # its id there
    point: dict[str, Any]  # by dimension (tune.space.dimensions)
    values: tuple[float, ...]  # in the order of METRICS


class WarmStart(Frozen):
    """What a study took over from an earlier one."""

    study: str  # folder of the earlier study
    # The sampler learns from these as if they were trials of this study
    told: tuple[KnownTrial, ...] = ()
    # Points that are trained here first, best first: their scores there do not count here, as the
    # store, the training or the sampler differs.
    tried: tuple[dict[str, Any], ...] = ()
    outside: int = 0  # number of its trials that are not points of this study's space


class Options(Frozen):
    """How a study searches; a study that is resumed must search as it did."""

    sampler: SamplerName = "tpe"  # who proposes points (tune.search.samplers)
    # `both` looks for the front of models that no other one beats in both
    objective: Objective = "tight"
    pruner: PrunerName = "asha"  # what ends a trial early (tune.search.pruning)
    top: int = Field(default=0, ge=0)  # best trials to train again (tune.search.retrain)
    final_seeds: int = Field(default=2, ge=1)  # trainings of each of them
    warm: WarmStart | None = None  # what it took over from an earlier study (tune.study.warm)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The reported numbers that are maximised, the one that trials are stopped on first."""
        return METRICS[self.objective]

    @property
    def metric(self) -> Metric:
        """What trials are ranked by: loose Average-mAP if that alone is maximised, else tight."""
        return "loose" if self.objective == "loose" else "tight"
