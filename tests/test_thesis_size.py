"""The benchmarks count the work of the thesis's model right."""

import importlib
import sys
from pathlib import Path

from hmtas.model import count_parameters


def test_the_work_of_a_second_of_video_by_hand() -> None:
    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    thesis_size = importlib.import_module("thesis_size")
    square = 512 * 512
    rows = 2 * 512 * 8704 + 6 * 6 * square  # projections; query, key and value of layer 1
    layer = 18 * square  # output, feed-forward there and back
    streams = 18 * (2 * layer + 6 * square) + 18 * 2 * 4 * 3 * 512
    fusion = 6 * 2 * (layer + 6 * square) + 6 * 2 * 4 * 6 * 512
    heads = 7 * 2 * 512 * 18
    assert thesis_size.flop_per_row(shared=True) == rows + streams + fusion + heads
    assert thesis_size.flop_per_row(shared=False) == 3 * rows + streams + fusion + heads
    assert count_parameters(thesis_size.thesis_model()) == 48_660_606
