"""Who proposes points: the samplers of Optuna by name, and what each of them cannot do.

The Optuna study lives in memory inside the searcher, and Tune's snapshot of it is what a killed
driver goes on from.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from ray import cloudpickle
from ray.tune.search import Searcher, SearchGenerator
from ray.tune.search.optuna import OptunaSearch

from hmtas.errors import InputError
from hmtas.files import atomic_path
from tune.budget import out_of_time
from tune.options import Options
from tune.record import StudySettings
from tune.space import Choice, Space, encoded, first_points, suggest

STARTUP = 10  # points that a sampler with a model draws at random before it has one


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
        return _blind("gp", conditional, "conditions")
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
    notes = _blind("cmaes", chosen, "choices")
    return notes + _blind("cmaes", [key for key in conditional if key not in chosen], "conditions")


def _blind(name: str, keys: Sequence[str], what: str) -> list[str]:
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

    Args:
        options: Its name, and what is maximised.
        space: Where it samples.
        num_trials: How long the study is: of a short one, fewer points are drawn at random.
        seed: Of the sampler.
    """
    startup = min(STARTUP, max(2, num_trials // 3))
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


class Search(OptunaSearch):
    """Optuna as Tune asks it for points, until the hours of the study are spent.

    Args:
        folder: Of the study.
        search: As of `OptunaSearch`.
    """

    def __init__(self, folder: Path, **search: Any) -> None:
        self.folder = folder
        super().__init__(**search)

    def suggest(self, trial_id: str) -> Any:
        """The next point, or word that there is none."""
        return Searcher.FINISHED if out_of_time(self.folder) else super().suggest(trial_id)


def make_searcher(settings: StudySettings, folder: Path) -> Search:
    """The points to try first, then the sampler's.

    The preset's own setting comes first of all, so that a search never loses to its start.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options, space = settings.options, settings.space
    warm = options.warm
    points = first_points(settings.base, space, tried=warm.tried if warm else ())
    searcher = Search(
        folder,
        space=partial(suggest, space=space),
        metric=_one_or_all(options.metrics),
        mode=_one_or_all(("max",) * len(options.metrics)),
        sampler=make_sampler(options, space, num_trials=settings.num_trials, seed=settings.seed),
        points_to_evaluate=points,
    )
    for told in warm.told if warm else ():
        # OptunaSearch itself tells of no trials in a space that is sampled define-by-run.
        study: optuna.Study = searcher._ot_study  # type: ignore[assignment]
        study.add_trial(finished_trial(told.point, told.values, space))
    return searcher


def reopen(snapshots: Path) -> None:
    """Let a study whose time was out ask for points again: Tune's snapshot calls it finished.

    Args:
        snapshots: Where Tune keeps the study.
    """
    newest = max(map(str, snapshots.glob(SearchGenerator.CKPT_FILE_TMPL.format("*"))), default="")
    if not newest:
        return
    state = cloudpickle.loads(Path(newest).read_bytes())
    if state["finished"]:
        with atomic_path(Path(newest)) as path:
            opened = cloudpickle.dumps({**state, "finished": False})  # type: ignore[no-untyped-call]
            path.write_bytes(opened)


def finished_trial(
    point: Mapping[str, Any], values: Sequence[float], space: Space
) -> optuna.trial.FrozenTrial:
    """A point by dimension, and what came of it, as Optuna knows it.

    Args:
        point: A point of the space.
        values: One for each number that is maximised.
        space: Where it lies.
    """
    fixed = optuna.trial.FixedTrial(encoded(point))
    suggest(fixed, space=space)
    return optuna.trial.create_trial(
        params=fixed.params, distributions=fixed.distributions, values=list(values)
    )


def _one_or_all(values: Sequence[str]) -> Any:
    """OptunaSearch takes one number as a string, several as a list."""
    return values[0] if len(values) == 1 else list(values)
