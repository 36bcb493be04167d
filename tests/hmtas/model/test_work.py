"""The work of a training, from its configuration, is what torch counts on the real model."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hmtas.config import Config
from hmtas.model.build import build_model
from hmtas.model.work import FORWARD, DataShape, epoch_flop, forward_flop
from hmtas.presets import PRESETS
from hmtas.training.labels import labels_of
from tests.support.small import make_config

SHAPE = DataShape({"visual": 24, "audio": 8, "words": 16}, 5)
BATCH = 12
SMALL = {"width": 16, "num_heads": 2, "batch_size": BATCH, "seq_len": 4}
OF_WINDOWS = ("fcnn", "encoder", "hierarchy")


def make(kind: str, **settings: Any) -> Config:
    has_heads = kind in ("hierarchy", "dense") and settings.get("stream_heads", True)
    return make_config(**{**SMALL, "gamma": 0.7 if has_heads else 1.0, **settings}, kind=kind)


def counted(config: Config, shape: DataShape = SHAPE) -> float:
    """What torch counts of one training step, forwards and backwards, per row that is labelled."""
    torch.manual_seed(0)
    streams = shape.of(config).streams
    model = build_model(streams, shape.num_outputs, config.model, shape.rate_hz).train()
    labels = labels_of(config, shape.rate_hz)
    samples, cut = labels.num_samples(BATCH), labels.layout
    x = {name: torch.randn(samples, cut.num_rows, width) for name, width in streams.items()}
    in_windows = not config.model.labels_steps and not config.train.chunk_windows
    with FlopCounterMode(display=False) as counter:
        logits = model(x, None, None if in_windows else cut.seq_len)
        shift = 0.0 if logits.shift_BA is None else logits.shift_BA.sum()
        (logits.fused_BC.sum() + logits.streams_BEC.sum() + shift).backward()
    return counter.get_total_flops() / (samples * cut.num_windows)


def test_every_kind_has_its_work() -> None:
    kinds = Config.model_fields["model"].annotation.model_fields["kind"].annotation
    assert set(FORWARD) == set(kinds.__args__)


@pytest.mark.parametrize("kind", FORWARD)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_layers": 3, "widening": 2},
        {"seq_len": 7, "width": 32},
        {"exclude_streams": "visual"},
        {"exclude_streams": "visual,audio"},
    ],
)
def test_the_work_of_a_step_is_what_torch_counts(kind: str, settings: dict[str, Any]) -> None:
    config = make(kind, **settings)
    assert counted(config) == pytest.approx(forward_flop(config, SHAPE).training, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((kind, {"chunk_windows": 6}) for kind in OF_WINDOWS),
        *((kind, {"attention": "batch"}) for kind in OF_WINDOWS),
        ("hierarchy", {"stream_heads": False}),
    ],
)
def test_so_is_that_of_other_windows(kind: str, settings: dict[str, Any]) -> None:
    config = make(kind, **settings)
    assert counted(config) == pytest.approx(forward_flop(config, SHAPE).training, rel=0.01)


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize(
    ("settings", "rate_hz"),
    [
        ({"reach_s": 40.0}, 1.0),
        ({"reach_s": 5.0}, 1.0),
        ({"context_s": 40.0, "margin_s": 3.0}, 1.0),
        ({"displacement": True, "output_rate_hz": 2}, 1.0),
        ({"displacement": True, "output_rate_hz": 1}, 2.0),
        ({"drop_streams": 0.2, "time_mask": 0.2}, 1.0),
    ],
)
def test_so_is_that_of_contexts(kind: str, settings: dict[str, Any], rate_hz: float) -> None:
    config, shape = make(kind, **settings), SHAPE._replace(rate_hz=rate_hz)
    assert counted(config, shape) == pytest.approx(forward_flop(config, shape).training, rel=0.01)


@pytest.mark.parametrize("settings", [{"sequence_layers": 2}, {"stream_heads": False}])
def test_so_is_that_of_the_parts_of_a_dense_model(settings: dict[str, Any]) -> None:
    config = make("dense", **settings)
    assert counted(config) == pytest.approx(forward_flop(config, SHAPE).training, rel=0.01)


def test_every_preset_has_its_work_and_an_epoch_sees_its_share() -> None:
    for preset in PRESETS.values():
        whole = epoch_flop(preset.config.updated({"windows_share": 1.0}), SHAPE)
        assert whole == forward_flop(preset.config, SHAPE).training > 0
        quarter = preset.config.updated({"windows_share": 0.25})
        assert epoch_flop(quarter, SHAPE) == whole / 4
