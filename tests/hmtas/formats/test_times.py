"""Moments become frames without leaving their half second, where frames allow it."""

import numpy as np
import pytest

from hmtas.formats.times import nearest_frames


def test_times_become_the_nearest_frame() -> None:
    assert nearest_frames(np.array([0.019, 0.021, 12.5, 0.5]), 25).tolist() == [0, 1, 313, 13]
    assert nearest_frames(0.5, 29.97).item() == 15


@pytest.mark.parametrize("fps", [25, 50, 29])
def test_a_whole_or_half_second_stays_in_its_cell_of_half_a_second(fps: int) -> None:
    cell_N = np.arange(14_400)
    time_s = nearest_frames(cell_N / 2, fps) / fps
    np.testing.assert_array_equal((2 * time_s).astype(int), cell_N)
    assert np.abs(time_s - cell_N / 2).max() <= 0.5 / fps + 1e-9


@pytest.mark.parametrize("fps", [25, 29.97])
def test_a_frame_stays_itself(fps: float) -> None:
    frame_N = np.arange(200_000)
    np.testing.assert_array_equal(nearest_frames(frame_N / fps, fps), frame_N)
