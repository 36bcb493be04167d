"""The benchmarks count the work of the thesis's model right."""

import importlib
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hmtas.model.build import count_parameters
from tests.support.paths import ROOT


@pytest.fixture
def thesis_size(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("thesis_size")


def test_the_work_of_a_second_of_video_by_hand(thesis_size: ModuleType) -> None:
    square = 512 * 512
    rows = 2 * 512 * 8704 + 6 * 6 * square  # projections; query, key and value of layer 1
    layer = 18 * square  # output, feed-forward there and back
    streams = 18 * (2 * layer + 6 * square) + 18 * 2 * 4 * 3 * 512
    fusion = 6 * 2 * (layer + 6 * square) + 6 * 2 * 4 * 6 * 512
    heads = 7 * 2 * 512 * 18
    assert thesis_size.flop_per_row(shared=True) == rows + streams + fusion + heads
    assert thesis_size.flop_per_row(shared=False) == 3 * rows + streams + fusion + heads
    assert count_parameters(thesis_size.thesis_model()) == 48_660_606


@pytest.mark.parametrize("chunk", [0, 4])
def test_the_work_of_a_training_step_is_what_torch_counts(
    thesis_size: ModuleType, chunk: int
) -> None:
    model = thesis_size.thesis_model().train()
    num_windows, rows = (chunk, chunk + 2) if chunk else (2, 3)
    samples = 1 if chunk else num_windows
    x = {name: torch.randn(samples, rows, f) for name, f in thesis_size.STREAMS.items()}
    with FlopCounterMode(display=False) as counter:
        logits = model(x, None, 3 if chunk else None)
        (logits.fused_BC.sum() + logits.streams_BEC.sum()).backward()
    expected = num_windows * thesis_size.training_flop_per_window(chunk)
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-3)
