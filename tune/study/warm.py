"""What a study takes over from an earlier one, even one of another space.

A trial of the earlier study whose configuration is a point of the new space, trained and stopped
the same way on the same store, is as good as one of the new study: the sampler learns from it.
Where only the training differs, such as its epochs, the best points are tried first, as their
scores do not count here. The rest lies outside of the new space.
"""

from pathlib import Path
from typing import Any

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.runs.record import find_run
from tune.space.dimensions import nearest_point, setting_of, settings_of_point, value_at
from tune.study.options import KnownTrial, WarmStart
from tune.study.optuna_trials import values_of
from tune.study.record import RECORD, StudyRecord, read_study, score_of
from tune.study.rows import TrialRow
from tune.study.settings import StudySettings

MAX_TRIED = 3  # points of another training that are trained here first
SEED = "train.seed"


def warm_start(study: Path, settings: StudySettings) -> WarmStart:
    """Sort the trials of an earlier study, finished or not, by what they are to a new one.

    Raises:
        InputError: If there is no study, or none of its trials has a score.
    """
    earlier = read_study(study)
    rows = [row for row in earlier.trials if row.succeeded]
    scored = [(score, row) for row in rows if (score := score_of(row, settings.options.objective))]
    if not scored:
        raise InputError(f"--from {study}: no trial of that study has a score to learn from")
    told: list[KnownTrial] = []
    tried: list[dict[str, Any]] = []
    outside = 0
    for _, row in sorted(scored, key=lambda one: -one[0]):
        config = _config(study, earlier, row)
        point = _point(config, settings)
        if point is None or not _same_searched(config, point, earlier, settings):
            outside += 1
            continue
        values = values_of(row, settings.options.metrics)
        if values is not None and _counts_here(config, point, earlier, settings):
            told.append(KnownTrial(trial=row.id, point=point, values=values))
        else:
            tried.append(point)
    return WarmStart(
        study=str(study.absolute()),
        told=tuple(told),
        tried=tuple(tried[:MAX_TRIED]),
        outside=outside,
    )


def with_warm_start(
    settings: StudySettings, study: Path | None, folder: Path | None
) -> StudySettings:
    """The settings of a new study with what it takes over from an earlier one, if it does.

    `folder` is that of the new study: if it resumes, it keeps what it took over when it began, as
    the earlier study may have grown since. None if it starts over.
    """
    if study is None:
        return settings
    warm = None
    if folder is not None and (folder / RECORD).is_file():
        begun = read_study(folder).settings.options.warm
        warm = begun if begun is not None and begun.study == str(study.absolute()) else None
    if warm is None:
        warm = warm_start(study, settings)
    options = settings.options.model_copy(update={"warm": warm})
    return settings.model_copy(update={"options": options})


def describe(warm: WarmStart) -> str:
    """One line on what was taken over."""
    parts = [
        f"{len(warm.told)} trials told to the sampler" if warm.told else "",
        f"{len(warm.tried)} points tried first" if warm.tried else "",
        f"{warm.outside} outside of this space" if warm.outside else "",
    ]
    return f"from {warm.study}: {', '.join(part for part in parts if part)}"


def _config(study: Path, earlier: StudyRecord, row: TrialRow) -> Config:
    run = find_run(study / row.run)
    return earlier.settings.base.updated(row.settings) if run is None else run.config


def _point(config: Config, settings: StudySettings) -> dict[str, Any] | None:
    """The configuration as a point of the new space, if each of its values lies inside."""
    dimensions, point = settings.space.dimensions, nearest_point(config, settings.space)
    inside = all(dimensions[key].contains(value_at(config, setting_of(key))) for key in point)
    return point if inside else None


def _same_searched(
    config: Config, point: dict[str, Any], earlier: StudyRecord, settings: StudySettings
) -> bool:
    """Is the point the same model in everything that either study searches or fixes by hand?"""
    there = _rebuilt(point, settings)
    paths = {setting_of(key) for key in earlier.settings.space.dimensions}
    paths |= {path for head in list(paths) for path in earlier.settings.space.tied.get(head, ())}
    paths |= settings.space.fixed.keys() | earlier.settings.space.fixed.keys()
    return all(value_at(config, path) == value_at(there, path) for path in paths)


def _counts_here(
    config: Config, point: dict[str, Any], earlier: StudyRecord, settings: StudySettings
) -> bool:
    """Would this study train, stop and score the point in the same way, the seed aside?"""
    if earlier.settings.store_checksum != settings.store_checksum:
        return False
    if settings.options.sampler not in ("tpe", "gp"):  # the others do not learn from other trials
        return False
    there = _rebuilt(point, settings)
    return config.updated({SEED: 0}) == there.updated({SEED: 0})


def _rebuilt(point: dict[str, Any], settings: StudySettings) -> Config:
    return settings.base.updated(settings_of_point(point, settings.space))
