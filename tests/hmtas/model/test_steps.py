"""Models of contexts see what their reach says, leave missing streams out and never wait."""

import pytest
import torch
from torch import Tensor

from hmtas.config import ModelConfig, TrainConfig
from hmtas.errors import InputError
from hmtas.model.build import build_model
from hmtas.model.loss import training_loss
from hmtas.model.steps import PRIOR_LOGIT, ConvStack, DenseHMTAS, DilatedBlock, StepModel, rates_of

STREAMS = {"visual": 6, "audio": 3}
NUM_OUTPUTS = 4
KINDS = ("dense", "conv")


def make_model(kind: str, rate_hz: float = 1.0, **settings: object) -> StepModel:
    small = {"width": 8, "num_heads": 2, "num_layers": 1, "widening": 2, "reach_s": 3.0}
    torch.manual_seed(0)
    config = ModelConfig.model_validate({"kind": kind, **small, **settings})
    model = build_model(STREAMS, NUM_OUTPUTS, config, rate_hz)
    assert isinstance(model, StepModel)
    return model.eval()


def make_input(num: int = 2, length: int = 30) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(num, length, f, generator=generator) for name, f in STREAMS.items()}


def seen_from(model: StepModel, place: int, length: int = 60) -> list[int]:
    """The rows that the logits of one row depend on."""
    x = {name: value.requires_grad_() for name, value in make_input(1, length).items()}
    model(x).fused_BC.view(length, -1)[place].sum().backward()  # type: ignore[no-untyped-call]
    gradient = sum(value.grad.abs().sum(dim=2)[0] for value in x.values() if value.grad is not None)
    assert isinstance(gradient, Tensor)
    return gradient.nonzero().flatten().tolist()


@pytest.mark.parametrize(("rate_hz", "reach"), [(1.0, 3), (2.0, 6)])
def test_a_layer_of_dense_sees_its_reach_to_each_side(rate_hz: float, reach: int) -> None:
    assert seen_from(make_model("dense", rate_hz), 30) == list(range(30 - reach, 31 + reach))
    two = make_model("dense", rate_hz, sequence_layers=1)
    assert seen_from(two, 30) == list(range(30 - 2 * reach, 31 + 2 * reach))


@pytest.mark.parametrize("reach_s", [1.0, 3.0, 4.0, 6.0, 7.0, 8.0, 13.0, 16.0])
def test_a_pass_of_conv_sees_its_reach_to_each_side(reach_s: float) -> None:
    model = make_model("conv", reach_s=reach_s)
    reach = int(reach_s)
    assert seen_from(model, 30) == list(range(30 - reach, 31 + reach))


def test_conv_passes_follow_each_other() -> None:
    model = make_model("conv", reach_s=7.0, num_layers=2)
    assert isinstance(model, ConvStack)
    blocks = [block for block in model.blocks if isinstance(block, DilatedBlock)]
    assert [block.dilation for block in blocks] == [1, 2, 4, 1, 2, 4]
    assert seen_from(model, 30) == list(range(30 - 14, 31 + 14))


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_of_a_batch_do_not_see_each_other(kind: str) -> None:
    model, x = make_model(kind), make_input()
    alone = [model({k: v[i : i + 1] for k, v in x.items()}).fused_BC for i in range(2)]
    torch.testing.assert_close(model(x).fused_BC, torch.cat(alone))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"output_rate_hz": 2, "displacement": True}])
def test_margins_are_read_and_not_labelled(kind: str, settings: dict[str, object]) -> None:
    model, x = make_model(kind, **settings), make_input()
    whole, inner = model(x), model(x, seq_len=11)
    steps = model.num_steps
    assert steps == (2 if settings else 1)

    def cut(values: Tensor) -> Tensor:
        by_row = values.view(2, 30, steps, *values.shape[1:])
        return by_row[:, 5:-5].flatten(0, 2)

    assert inner.fused_BC.shape == (2 * 20 * steps, NUM_OUTPUTS)
    assert inner.streams_BEC.shape[1] == (2 if kind == "dense" else 0)
    torch.testing.assert_close(inner, whole.map(cut))
    assert (inner.shift_BA is not None) == bool(settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [100.0, float("nan")])
def test_the_rows_of_a_missing_stream_do_not_matter(kind: str, value: float) -> None:
    model, x = make_model(kind), make_input()
    other = {"visual": x["visual"], "audio": torch.full_like(x["audio"], value)}
    present = torch.tensor([[True, False]] * 2)
    torch.testing.assert_close(model(x, present).fused_BC, model(other, present).fused_BC)
    assert not torch.allclose(model(x).fused_BC, model(x, present).fused_BC)


def test_the_fusion_pools_over_the_streams_that_are_there() -> None:
    model = make_model("dense")
    assert isinstance(model, DenseHMTAS)
    tokens = torch.randn(2, 5, 2, 8)
    present = torch.tensor([[True, False], [True, True]])
    fused = model.fuse(tokens, present)
    torch.testing.assert_close(fused[:1], model.fuse(tokens[:1, :, :1], None))
    torch.testing.assert_close(fused[1:], model.fuse(tokens[1:], None))


def test_a_missing_stream_has_no_loss_of_its_own() -> None:
    model, x = make_model("dense"), make_input()
    present_KE = torch.tensor([[True, False], [True, True]])
    logits = model(x, present_KE)
    present_BE = present_KE.repeat_interleave(30, dim=0)
    target, weight = torch.zeros(60, NUM_OUTPUTS), torch.ones(NUM_OUTPUTS)

    def loss_of(streams_BEC: Tensor) -> Tensor:
        return training_loss(
            logits._replace(streams_BEC=streams_BEC), target, None, TrainConfig(),
            weight_C=weight, present_BE=present_BE,
        )  # fmt: skip

    wrong = logits.streams_BEC.clone()
    wrong[:30, 1] = 50.0
    assert torch.equal(loss_of(wrong), loss_of(logits.streams_BEC))
    wrong[30:, 1] = 50.0
    assert loss_of(wrong) > loss_of(logits.streams_BEC)


def test_dropped_streams_never_leave_none() -> None:
    model, x = make_model("dense", drop_streams=0.9).train(), torch.zeros(400, 1, 1)
    kept = model.keep_streams(x, None)
    assert kept is not None
    assert kept.any(dim=1).all()
    assert (~kept).any(dim=0).all()
    present = torch.tensor([[False, True]]).expand(400, 2)
    kept = model.keep_streams(x, present)
    assert kept is not None
    assert torch.equal(kept, present)
    assert model.eval().keep_streams(x, None) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", ["time_mask", "drop_streams"])
def test_what_training_hides_is_seen_in_evaluation(kind: str, setting: str) -> None:
    quiet = {f"{part}_dropout": 0.0 for part in ("stream", "fusion", "head", "encoder")}
    model, x = make_model(kind, **quiet, **{setting: 0.5}), make_input()
    assert torch.equal(model(x).fused_BC, model(x).fused_BC)
    model.train()
    assert not torch.equal(model(x).fused_BC, model(x).fused_BC)


def test_a_masked_row_is_the_learned_vector() -> None:
    model = make_model("dense", time_mask=0.5, stream_dropout=0.0).train()
    assert isinstance(model, DenseHMTAS)
    projection = model.projections["visual"]
    with torch.no_grad():
        projection.mask_D.fill_(-7.0)  # type: ignore[union-attr,operator]
        rows = projection(torch.randn(4, 500, 6))
    masked = (rows == -7.0).all(dim=-1)
    assert ((rows >= 0).all(dim=-1) | masked).all()  # whole rows, after a ReLU
    assert 0.45 < masked.float().mean() < 0.55


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_every_step_is_background(kind: str) -> None:
    model = make_model(kind, output_rate_hz=2)
    with torch.no_grad():
        model.head[-1].weight.zero_()  # type: ignore[union-attr,operator]
        logits = model(make_input()).fused_BC
    assert logits.unique(dim=0).tolist() == [[-PRIOR_LOGIT] + [PRIOR_LOGIT] * 3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_forward_pass_never_waits_for_the_device(kind: str, training: bool) -> None:
    """Tensors on `meta` have no values: to read one of them is an error."""
    hides = {"time_mask": 0.1, "drop_streams": 0.1, "displacement": True, "sequence_layers": 1}
    model = make_model(kind, **hides).to("meta").train(training)
    x = {name: value.to("meta") for name, value in make_input().items()}
    present = torch.ones(2, 2, dtype=torch.bool, device="meta")
    with torch.set_grad_enabled(training):
        logits = model(x, present, seq_len=5)
    loss = training_loss(
        logits,
        torch.zeros(52, NUM_OUTPUTS, device="meta"),
        torch.zeros(52, NUM_OUTPUTS - 1, device="meta"),
        TrainConfig(focal_exponent=1.0),
        weight_C=torch.ones(NUM_OUTPUTS, device="meta"),
        present_BE=present.repeat_interleave(26, dim=0),
    )
    assert loss.is_meta


@pytest.mark.parametrize(
    ("rows_hz", "output_hz", "steps_per_row"),
    [(1, None, 1), (2, None, 1), (1, 2, 2), (2, 1, 1), (0.5, 2, 4), (1 / 3, 1, 3), (4, 1, 1)],
)
def test_rates_that_fit(rows_hz: float, output_hz: int | None, steps_per_row: int) -> None:
    rates = rates_of(ModelConfig(kind="dense", output_rate_hz=output_hz), rows_hz)  # type: ignore[arg-type]
    assert rates.steps_per_row == steps_per_row
    assert rates.output_hz == (output_hz or rows_hz)
    assert rates.steps_hz == pytest.approx(max(rows_hz, rates.output_hz))


@pytest.mark.parametrize(("rows_hz", "output_hz"), [(3, 2), (1.5, 1), (2 / 3, 1)])
def test_rates_that_do_not_fit(rows_hz: float, output_hz: int) -> None:
    config = ModelConfig(kind="conv", output_rate_hz=output_hz)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one must be a multiple of the other"):
        rates_of(config, rows_hz)
