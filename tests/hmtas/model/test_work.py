"""The work of a training, from its configuration, is what torch counts on the real model."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hmtas.config import Config
from hmtas.model import build_model
from hmtas.model.work import FORWARD, DataShape, epoch_flop, forward_flop
from hmtas.presets import preset
from tests.support.small import make_config

SHAPE = DataShape({"visual": 24, "audio": 8, "words": 16}, 5)
BATCH = 12
SMALL = {"width": 16, "num_heads": 2, "batch_size": BATCH, "seq_len": 4}


def counted(config: Config) -> int:
    """What torch counts of one training step, forwards and backwards."""
    torch.manual_seed(0)
    streams = {n: w for n, w in SHAPE.streams.items() if n not in config.model.exclude_streams}
    model = build_model(streams, SHAPE.num_actions + 1, config.model).train()
    chunk, seq_len = config.train.chunk_windows, config.train.seq_len
    samples, rows = (BATCH // chunk, chunk + seq_len - 1) if chunk else (BATCH, seq_len)
    x = {name: torch.randn(samples, rows, width) for name, width in streams.items()}
    with FlopCounterMode(display=False) as counter:
        logits = model(x, None, seq_len if chunk else None)
        (logits.fused_BC.sum() + logits.streams_BEC.sum()).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", FORWARD)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_layers": 3, "widening": 2},
        {"seq_len": 7, "width": 32},
        {"chunk_windows": 6},
        {"attention": "batch"},
        {"exclude_streams": "visual"},
    ],
)
def test_the_work_of_a_step_is_what_torch_counts(kind: str, settings: dict[str, Any]) -> None:
    alone = {} if kind == "hierarchy" else {"gamma": 1.0}
    config = make_config(**{**SMALL, **alone, **settings}, kind=kind)
    expected = BATCH * forward_flop(config, SHAPE).training
    assert counted(config) == pytest.approx(expected, rel=0.01)


def test_a_model_without_stream_heads_is_less_work() -> None:
    config = make_config(**SMALL, kind="hierarchy", stream_heads=False, gamma=1.0)
    assert counted(config) == pytest.approx(BATCH * forward_flop(config, SHAPE).training, rel=0.01)


def test_every_preset_has_its_work_and_an_epoch_sees_its_share() -> None:
    for name in ("m0", "m2", "m7"):
        config = preset(name)
        whole = epoch_flop(config, SHAPE)
        assert whole == forward_flop(config, SHAPE).training > 0
        assert epoch_flop(config.updated({"windows_share": 0.25}), SHAPE) == whole / 4
