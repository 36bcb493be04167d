"""Who proposes points: the samplers of Optuna by name, and what each of them cannot do."""

import warnings
from collections.abc import Sequence

import optuna

from hmtas.errors import InputError
from tune.space.dimensions import Choice, Space
from tune.study.options import Options

NUM_STARTUP_TRIALS = 10  # points that a sampler with a model draws at random before it has one


def check_sampler(options: Options, space: Space) -> list[str]:
    """What a sampler cannot do in a space, one line each; it still samples there.

    Raises:
        InputError: If it cannot sample there at all.
    """
    name, dimensions = options.sampler, space.dimensions
    if not dimensions:
        raise InputError("the space has no dimension left to search; leave one of them unfixed")
    chosen = [key for key, dimension in dimensions.items() if isinstance(dimension, Choice)]
    conditional = [key for key, dimension in dimensions.items() if dimension.when]
    if name in ("tpe", "random"):
        return []
    if name == "gp":
        return _unmodelled("gp", conditional, "conditions")
    if options.objective == "both":
        raise InputError(
            "--sampler cmaes maximises one number, and --objective both asks for two; "
            "use tpe or gp, or --objective tight"
        )
    modelled = [key for key in dimensions if key not in chosen and key not in conditional]
    if len(modelled) < 2:
        raise InputError(
            "--sampler cmaes needs at least 2 ranges without a condition, and this space has "
            f"{len(modelled)}; use tpe"
        )
    notes = _unmodelled("cmaes", chosen, "choices")
    return notes + _unmodelled(
        "cmaes", [key for key in conditional if key not in chosen], "conditions"
    )


def _unmodelled(name: str, keys: Sequence[str], what: str) -> list[str]:
    if not keys:
        return []
    return [
        f"{name} has no model of dimensions with {what} and draws them at random: "
        + ", ".join(keys)
    ]


def make_sampler(
    options: Options, space: Space, *, num_trials: int, seed: int
) -> optuna.samplers.BaseSampler:
    """A sampler by name; the same seed samples the same points where one trial runs at a time.

    A short study draws fewer points at random before the sampler has a model.
    """
    startup = min(NUM_STARTUP_TRIALS, max(2, num_trials // 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if options.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if options.sampler == "gp":
            return optuna.samplers.GPSampler(
                seed=seed, n_startup_trials=startup, warn_independent_sampling=False
            )
        if options.sampler == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return optuna.samplers.TPESampler(
            multivariate=True,
            # Dimensions that hold under the same condition are modelled together.
            group=any(dimension.when for dimension in space.dimensions.values()),
            constant_liar=True,  # trials that still run count as bad: spread out
            n_startup_trials=startup,
            seed=seed,
        )
