"""Pictures show what was found: a point per variant, a curve per run, a bar per action."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from hmtas.ablation.pictures import draw_losses, draw_positives, draw_study, write_pictures
from hmtas.ablation.results import (
    AblationResult,
    Curve,
    Difference,
    MeanScore,
    Positives,
    Step,
    StudyResult,
    VariantResult,
)
from hmtas.statistics.verdicts import Verdict
from hmtas.terminal.style import BLUE, GREEN, GREY, ORANGE, RED

CURVE = Curve(train=(0.5, 0.3, 0.2), validation=(0.4, 0.3, 0.35), best_epoch=2)


def row(
    name: str, mean: float, against: Step | None = None, same_as: str | None = None
) -> VariantResult:
    interval, by_seed = (mean - 0.02, mean + 0.03), (mean - 0.01, mean)
    score = MeanScore(mean=mean, interval=interval, by_seed=by_seed)
    return VariantResult(
        name=name,
        title=f"what {name} is",
        same_as=same_as,
        why_same=None,
        runs=(),
        num_parameters=9,
        best_epochs=(2, 2),
        num_epochs=(3, 3),
        train_seconds=(1.0, 1.0),
        tight=score,
        loose=score,
        thesis_tight=None,
        per_action={},
        stream_losses={},
        curves=(CURVE, CURVE),
        against=against,
    )


def step(difference: float, verdict: Verdict, thesis: float | None = None) -> Step:
    low, high = difference - 0.01, difference + 0.02
    found = Difference(difference, low, high, 0.01, 0.5, verdict, 9, (difference, difference))
    return Step(name="before", thesis=thesis, tight=found, loose=found)


def study_of(*rows: VariantResult) -> StudyResult:
    return StudyResult(
        name="ladder", title="The ladder", reference=None, num_comparisons=2, rows=rows
    )


LADDER = study_of(
    row("m0", 0.2),
    row("m1", 0.3, step(0.1, "better", 0.027)),
    row("m2", 0.3, same_as="m1"),
    row("m3", 0.25, step(-0.05, "worse")),
)
POSITIVES = Positives(
    seq_len=3,
    num_windows=10_000,
    counts={"background": 9_000, "Goal": 10, "Foul": 900, "Red card": 0},
)
RESULT = AblationResult(
    store="store",
    split="test",
    num_games=7,
    seeds=(0, 1),
    windows="config",
    cross_fitted=False,
    level=0.95,
    num_events={},
    positives=POSITIVES,
    studies=(LADDER,),
)


def markers(axes: Any, marker: str, colour: str, size: float) -> list[tuple[float, float]]:
    """Where the points of one look are."""
    found = []
    for line in axes.lines:
        looks = (line.get_marker(), to_hex(line.get_markeredgecolor()), line.get_markersize())
        if looks == (marker, colour, size):
            found.append((float(line.get_xdata()[0]), float(line.get_ydata()[0])))
    return found


def test_the_ladder_has_a_point_per_score_and_per_step() -> None:
    left, right = draw_study(RESULT, LADDER).axes
    assert markers(left, "o", BLUE, 7.5) == [
        (20, 0),
        (30, 1),
        (25, 3),
    ], "m2 is m1 and has no point"
    assert markers(right, "o", GREEN, 7.5) == [(10, 1)]
    assert markers(right, "o", RED, 7.5) == [(-5, 3)]
    assert markers(right, "o", GREY, 7.5) == []
    assert markers(right, "D", ORANGE, 6) == [(pytest.approx(2.7), 1)], "the thesis's step"
    ends = [sorted(line.get_xdata()) for line in right.lines if to_hex(line.get_color()) == GREEN]
    assert [pytest.approx([9, 12])] == [pair for pair in ends if len(pair) == 2]
    said = [text.get_text() for text in left.texts]
    assert "the same as m1" in said
    assert [label.get_text().split("\n")[0] for label in left.get_yticklabels()] == [
        "m0",
        "m1",
        "m2",
        "m3",
    ]
    top, bottom = left.get_ylim()[1], left.get_ylim()[0]
    assert top < bottom, "the first rung stands at the top"


def test_losses_have_an_axes_per_variant_and_two_curves_per_seed() -> None:
    figure = draw_losses(LADDER)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["m0", "m1", "m3"]
    for axes in figure.axes:
        curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert [to_hex(line.get_color()) for line in curves] == [BLUE, ORANGE] * 2
        np.testing.assert_allclose(curves[1].get_ydata(), [0.4, 0.3, 0.35])
        best = [line for line in axes.lines if line.get_markersize() == 8.5]
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in best] == [(2, 0.3)] * 2


def test_nine_variants_take_three_lines_of_axes() -> None:
    study = study_of(*(row(f"m{i}", 0.2) for i in range(9)))
    assert len(draw_losses(study).axes) == 9


def test_positives_are_shares_on_a_logarithmic_axis_most_first() -> None:
    (axes,) = draw_positives(POSITIVES).axes
    assert axes.get_xscale() == "log"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["background", "Foul", "Goal", "Red card"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([90, 9, 0.1, 0])
    assert axes.texts[-1].get_text().strip() == "none"
    assert axes.get_xlim()[0] < 0.1


def test_pictures_are_png_files_and_complete(tmp_path: Path) -> None:
    written = write_pictures(RESULT, tmp_path / "pictures")
    assert [path.name for path in written] == ["positives.png", "ladder.png", "ladder-losses.png"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == sorted(
        path.name for path in written
    ), "nothing half-written stays"
    for path in written:
        image = imread(path)
        assert image.shape[0] > 300
        assert image.shape[1] > 600
        assert image.std() > 0.02, "something is drawn"


def test_an_epoch_without_validation_is_left_out() -> None:
    curve = Curve(train=(0.5, 0.4), validation=(None, None), best_epoch=2)
    study = study_of(row("m0", 0.2).model_copy(update={"curves": (curve,)}))
    axes = draw_losses(study).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 0]
