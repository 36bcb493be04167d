"""The benchmarks count the work of the thesis's model right."""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hmtas.model.build import count_parameters
from hmtas.training.labels import labels_of
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


def test_the_work_of_a_second_in_a_long_context_by_hand(thesis_size: ModuleType) -> None:
    square = 512 * 512
    layer = 24 * square  # query, key, value, output, feed-forward there and back
    rows = 2 * 512 * 8704 + 6 * 2 * (layer + 4 * (16 + 2 * 16) * 512)  # blocks of 16 see 48
    fusion = 6 * 2 * (layer + 4 * 6 * 512)
    heads = 7 * 2 * 512 * 18
    assert thesis_size.dense_flop_per_row() == rows + fusion + heads
    assert rows + fusion + heads == pytest.approx(160e6, rel=0.02)


def test_the_work_of_a_second_in_a_long_context_is_what_torch_counts(
    thesis_size: ModuleType,
) -> None:
    model = thesis_size.thesis_model(thesis_size.DENSE).train()  # else torch fuses what it counts
    x = {name: torch.randn(1, 64, f) for name, f in thesis_size.STREAMS.items()}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert counter.get_total_flops() == pytest.approx(
        64 * thesis_size.dense_flop_per_row(), rel=1e-3
    )


@pytest.mark.parametrize("settings", [{}, {"chunk_windows": 4}, {"kind": "dense"}])
def test_the_work_of_a_training_step_is_what_torch_counts(
    thesis_size: ModuleType, settings: dict[str, Any]
) -> None:
    config = thesis_size.CONFIG.updated({"batch_size": 4, **settings})
    model = thesis_size.thesis_model(config).train()
    cut = labels_of(config, rate_hz=1.0).layout
    x = {name: torch.randn(1, cut.num_rows, f) for name, f in thesis_size.STREAMS.items()}
    with FlopCounterMode(display=False) as counter:
        logits = model(x, None, cut.seq_len if settings else None)
        (logits.fused_BC.sum() + logits.streams_BEC.sum()).backward()
    expected = cut.num_windows * thesis_size.training_flop_per_row(config)
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-3)
