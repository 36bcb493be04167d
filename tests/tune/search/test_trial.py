"""A trial reports two numbers of one epoch: the one that its training keeps."""

import pytest

from hmtas.config import StopOn
from hmtas.runs.record import EpochRecord
from tune.search.trial import BestEpoch
from tune.study.options import GAMES, LOOSE, TIGHT


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
    ("stop_on", "expected"),
    [
        ("tight", [(0.2, 0.5), (0.3, 0.3), (0.3, 0.3)]),
        ("mean", [(0.2, 0.5), (0.2, 0.5), (0.1, 0.7)]),
        ("loose", [(0.2, 0.5), (0.2, 0.5), (0.1, 0.7)]),
    ],
)
def test_both_numbers_are_of_the_best_epoch_so_far(
    stop_on: StopOn, expected: list[tuple[float, float]]
) -> None:
    best = BestEpoch(stop_on)
    reports = [
        best.metrics(e) for e in (epoch(1, 0.2, 0.5), epoch(2, 0.3, 0.3), epoch(3, 0.1, 0.7))
    ]
    assert [(r[TIGHT], r[LOOSE]) for r in reports] == expected
    assert [tuple(r[GAMES]) for r in reports] == expected
    assert [r["epoch"] for r in reports] == [1, 2, 3]
