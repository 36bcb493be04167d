"""What a study is and how far it got, from the files in its folder; no Ray, no Optuna."""

from tune.study.options import Options
from tune.study.record import StudyRecord, best_config, best_trial, read_study
from tune.study.rows import TrialRow
from tune.study.settings import Load, StudySettings
from tune.study.summary import Summary, summarize

__all__ = [
    "Load",
    "Options",
    "StudyRecord",
    "StudySettings",
    "Summary",
    "TrialRow",
    "best_config",
    "best_trial",
    "read_study",
    "summarize",
]
