"""A study learns from an earlier one what counts in it, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from tests.support.small import make_config
from tests.support.tracked import make_run
from tune.space.default import build_space
from tune.study.options import Options
from tune.study.record import StudyRecord, write_study
from tune.study.rows import TrialRow
from tune.study.settings import StudySettings, sweep_base
from tune.study.warm import describe, warm_start

LENGTHS = {"dimensions": {"seq_len": {"low": 2, "high": 5}, "gamma": {"low": 0.5, "high": 1}}}


def make_settings(overrides: dict[str, Any], **changes: Any) -> StudySettings:
    base = sweep_base(make_config())
    settings: dict[str, Any] = {
        "store": "store",
        "store_checksum": "abc",
        "preset": "smoke",
        "base": base,
        "space": build_space(base, ACTIONS, overrides=overrides),
        "num_trials": 4,
        "grace_epochs": 1,
    }
    return StudySettings(**(settings | changes))


def make_earlier(folder: Path, settings: StudySettings) -> None:
    """Trials of L = 2, 3, 4, the longer the better; one that failed and one that still runs."""
    rows = []
    for i, (seq_len, status) in enumerate(
        [(2, "done"), (3, "stopped"), (4, "done"), (5, "failed"), (5, "running")]
    ):
        point = {"train.seq_len": seq_len, "train.gamma": 0.8}
        config = settings.base.updated(point)
        make_run(folder / "trials" / str(i), config=config)
        rows.append(
            TrialRow(
                id=str(i),
                status=status,  # type: ignore[arg-type]
                settings=point,
                best_tight=seq_len / 10,
                best_loose=0.9 - seq_len / 10,
                run=f"trials/{i}",
            )
        )
    record = StudyRecord(
        name="earlier", version="0", created="now", settings=settings, trials=tuple(rows)
    )
    write_study(folder, record)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    make_earlier(tmp_path, make_settings(LENGTHS))
    return tmp_path


def test_trials_of_the_same_training_are_told(earlier: Path) -> None:
    warm = warm_start(earlier, make_settings(LENGTHS))
    assert [(one.trial, one.point, one.values) for one in warm.told] == [
        ("2", {"train.seq_len": 4, "train.gamma": 0.8}, (0.4,)),
        ("1", {"train.seq_len": 3, "train.gamma": 0.8}, (0.3,)),
        ("0", {"train.seq_len": 2, "train.gamma": 0.8}, (0.2,)),
    ]
    assert (warm.tried, warm.outside) == ((), 0)
    assert describe(warm).endswith(": 3 trials told to the sampler")
    both = warm_start(earlier, make_settings(LENGTHS, options=Options(objective="both")))
    assert both.told[0].values == (0.4, 0.5)


@pytest.mark.parametrize(
    ("overrides", "told", "outside"),
    [
        ({"dimensions": {**LENGTHS["dimensions"], "seq_len": {"low": 3, "high": 9}}}, "21", 1),
        # A dimension more: the trials lie where it has the value of the preset.
        ({"dimensions": {**LENGTHS["dimensions"], "width": [8, 16]}}, "210", 0),
        ({"dimensions": {**LENGTHS["dimensions"], "width": [16, 32]}}, "", 3),
        ({"dimensions": {"seq_len": [2, 3]}, "fixed": {"gamma": 0.8}}, "10", 1),
        ({"dimensions": {"seq_len": [2, 3]}, "fixed": {"gamma": 0.9}}, "", 3),
    ],
)
def test_a_changed_space_keeps_the_trials_inside_it(
    earlier: Path, overrides: dict[str, Any], told: str, outside: int
) -> None:
    warm = warm_start(earlier, make_settings(overrides))
    assert "".join(one.trial for one in warm.told) == told
    assert (warm.tried, warm.outside) == ((), outside)


@pytest.mark.parametrize(
    "changes",
    [
        {"store_checksum": "other"},
        {"base": sweep_base(make_config(max_epochs=9))},
        {"options": Options(sampler="cmaes")},
    ],
)
def test_points_whose_scores_do_not_count_here_are_tried_first(
    earlier: Path, changes: dict[str, Any]
) -> None:
    warm = warm_start(earlier, make_settings(LENGTHS, **changes))
    assert warm.told == ()
    assert [point["train.seq_len"] for point in warm.tried] == [4, 3, 2]


def test_another_seed_counts_as_the_same_training(earlier: Path) -> None:
    settings = make_settings(LENGTHS, base=sweep_base(make_config(seed=7)))
    assert len(warm_start(earlier, settings).told) == 3


def test_a_study_without_a_score_has_nothing_to_teach(tmp_path: Path) -> None:
    settings = make_settings(LENGTHS)
    write_study(tmp_path, StudyRecord(name="e", version="0", created="now", settings=settings))
    with pytest.raises(InputError, match="no trial of that study has a score"):
        warm_start(tmp_path, settings)
