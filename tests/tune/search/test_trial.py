"""A trial reports two numbers of one epoch: the best by what the study maximises."""

import pytest

from hmtas.runs.record import EpochRecord
from tune.search.trial import BestEpoch
from tune.study.options import GAMES, LOOSE, TIGHT, Objective


def epoch(number: int, tight: float, loose: float) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        train_loss=1.0,
        tight=tight,
        loose=loose,
        game_tight=(tight, loose),
        seconds=1.0,
        windows=1,
    )


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("tight", [(0.2, 0.5), (0.3, 0.4), (0.3, 0.4)]),
        ("both", [(0.2, 0.5), (0.3, 0.4), (0.3, 0.4)]),
        ("loose", [(0.2, 0.5), (0.2, 0.5), (0.1, 0.6)]),
    ],
)
def test_both_numbers_are_of_the_best_epoch_so_far(
    objective: Objective, expected: list[tuple[float, float]]
) -> None:
    best = BestEpoch(objective)
    reports = [
        best.metrics(e) for e in (epoch(1, 0.2, 0.5), epoch(2, 0.3, 0.4), epoch(3, 0.1, 0.6))
    ]
    assert [(r[TIGHT], r[LOOSE]) for r in reports] == expected
    assert [tuple(r[GAMES]) for r in reports] == expected
    assert [r["epoch"] for r in reports] == [1, 2, 3]
