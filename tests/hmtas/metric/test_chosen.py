"""A chosen metric has a name for tables, one for MLflow, and a grid that windows are fitted on."""

import pytest

from hmtas.metric.chosen import ChosenMetric


@pytest.mark.parametrize(
    ("unit", "tolerances", "rate_hz", "title", "key"),
    [
        ("seconds", (1,), 2, "1 s", "map_1s_2hz"),
        ("seconds", (0.5, 2), 25, "0.5, 2 s, 25 Hz", "map_0.5_2s_25hz"),
        ("frames", (1,), 25, "1 frame, 25 fps", "map_1_frames_25fps"),
        ("frames", (0, 1, 2, 4), 29.97, "0, 1, 2, 4 frames, 29.97 fps",
         "map_0_1_2_4_frames_29.97fps"),
    ],
)  # fmt: skip
def test_names(
    unit: str, tolerances: tuple[float, ...], rate_hz: float, title: str, key: str
) -> None:
    metric = ChosenMetric.model_validate(
        {"unit": unit, "tolerances": tolerances, "rate_hz": rate_hz}
    )
    assert (metric.title, metric.key) == (title, key)
    assert ChosenMetric.model_validate_json(metric.model_dump_json()) == metric


def test_windows_for_frames_are_fitted_on_a_grid_of_frames_with_the_same_reach() -> None:
    seconds = ChosenMetric(unit="seconds", tolerances=(1, 2), rate_hz=25)
    assert seconds.grid == ((1, 2), 25)
    frames = ChosenMetric(unit="frames", tolerances=(0, 1, 4), rate_hz=25)
    assert frames.grid == ((1 / 25, 2 / 25, 8 / 25), 25)
    assert ChosenMetric(unit="frames", tolerances=(3,), rate_hz=2.0833).grid == ((3,), 2)
    assert ChosenMetric(unit="frames", tolerances=(3,), rate_hz=0.2).grid == ((6,), 1)
