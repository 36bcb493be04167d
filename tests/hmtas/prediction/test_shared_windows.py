"""Windows that share their rows score as windows that do not."""

import pytest
import torch
from torch import Tensor

from hmtas.config import ModelConfig
from hmtas.model.build import build_model
from hmtas.model.network import SpottingModel
from hmtas.model.windows import window_rows
from hmtas.prediction.shared_windows import SharedWindows, attend
from hmtas.prediction.slide import pad_rows
from hmtas.presets import PRESETS

NUM_FEATURES = {"visual": 6, "pose": 5, "audio": 4}
NUM_ROWS = 11
KINDS = {
    name: PRESETS[name].config.model.model_copy(update={"width": 16, "num_heads": 4})
    for name in ("m0", "m2", "m3", "m4", "m7")
}


def make_model(config: ModelConfig) -> SpottingModel:
    """In evaluation mode, with running statistics and norms that are not the identity."""
    torch.manual_seed(0)
    model = build_model(NUM_FEATURES, 3, config).eval()
    for name, value in [*model.named_buffers(), *model.named_parameters()]:
        if "norm" in name and value.is_floating_point():
            value.data += torch.rand_like(value)
    return model


def make_rows() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(NUM_ROWS, f, generator=generator) for name, f in NUM_FEATURES.items()}


def naive(
    model: SpottingModel, x: dict[str, Tensor], seq_len: int, present_E: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Every window cut out, edges repeated, and given to the model."""
    index = torch.from_numpy(window_rows(NUM_ROWS, seq_len))
    present = None if present_E is None else present_E.expand(NUM_ROWS, -1)
    with torch.no_grad():
        logits = model({name: value[index] for name, value in x.items()}, present)
    return tuple(logits)


def shared(
    windows: SharedWindows, x: dict[str, Tensor], present_E: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    rows = windows.project(x, None if present_E is None else present_E.expand(NUM_ROWS, -1))
    rows = {name: pad_rows(value, windows.seq_len) for name, value in rows.items()}
    return tuple(windows.encode(rows, present_E))


@pytest.mark.parametrize("seq_len", range(1, 8))
@pytest.mark.parametrize("name", KINDS)
def test_the_logits_are_those_of_naive_windows(name: str, seq_len: int) -> None:
    model, x = make_model(KINDS[name]), make_rows()
    found = shared(SharedWindows(model, seq_len), x)
    torch.testing.assert_close(found, naive(model, x, seq_len), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["m4", "m7"])
def test_a_missing_stream(name: str) -> None:
    model, x = make_model(KINDS[name]), make_rows()
    present_E = torch.tensor([True, False, True])
    found = shared(SharedWindows(model, 3), x, present_E)
    expected = naive(model, x, 3, present_E)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected[0], naive(model, x, 3)[0], atol=1e-3)


def test_batch_attention_sees_the_whole_batch() -> None:
    model = make_model(KINDS["m7"].model_copy(update={"attention": "batch"}))
    x = make_rows()
    windows = SharedWindows(model, 3)
    assert not windows.shares
    torch.testing.assert_close(shared(windows, x), naive(model, x, 3), atol=1e-5, rtol=1e-5)


def test_without_packed_matrices_the_logits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = make_model(KINDS["m7"]), make_rows()
    packed = shared(SharedWindows(model, 3), x)
    monkeypatch.setattr("hmtas.prediction.shared_windows.can_pack", lambda dtype: False)
    plain = shared(SharedWindows(model, 3), x)
    torch.testing.assert_close(plain, packed, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_bf16_is_near_and_not_the_same(name: str) -> None:
    model, x = make_model(KINDS[name]), make_rows()
    found = shared(SharedWindows(model, 3, "bf16"), x)[0].sigmoid()
    difference = (found - naive(model, x, 3)[0].sigmoid()).abs().max()
    assert 0 < difference < 0.03
    assert found.dtype == torch.float32


def test_attention_in_bf16_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(3)
    q, k, v = torch.randn(3, 5, 4, 6, 8, generator=generator)
    missing = torch.rand(5, 6, generator=generator) < 0.4
    missing[:, 0] = False
    mask = ~missing[:, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask).float()
    torch.testing.assert_close(found, expected, atol=3e-2, rtol=3e-2)


def test_a_missing_stream_in_bf16() -> None:
    model, x = make_model(KINDS["m7"]), make_rows()
    present_E = torch.tensor([True, False, True])
    found = shared(SharedWindows(model, 3, "bf16"), x, present_E)[0].sigmoid()
    expected = naive(model, x, 3, present_E)[0].sigmoid()
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)


def test_the_model_stays_as_it_is() -> None:
    model, x = make_model(KINDS["m7"]), make_rows()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shared(SharedWindows(model, 3, "bf16"), x)
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)
    names = {name for name, _ in model.named_modules()}
    assert "encoders.visual.layers.0.self_attn" in names
