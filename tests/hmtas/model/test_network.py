"""HMTAS has the thesis's size, and its windows, seconds and streams see what they should."""

import pytest
import torch
from torch import Tensor

from hmtas.config import ModelConfig
from hmtas.model.build import build_model, count_parameters
from hmtas.model.network import SpottingModel
from hmtas.presets import PRESETS

NUM_FEATURES = {"visual": 6, "audio": 4}
THESIS = {"tpn": 2048, "gta": 2048, "vtn": 384, "ircsn": 2048, "i3d_slow": 2048, "vggish": 128}
SMALL = ModelConfig(width=8, num_heads=2, num_layers=2)


def make_input(num_windows: int = 5, seq_len: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(num_windows, seq_len, f, generator=generator)
        for name, f in NUM_FEATURES.items()
    }


def make_model(config: ModelConfig = SMALL) -> SpottingModel:
    torch.manual_seed(0)
    return build_model(NUM_FEATURES, 3, config).eval()


def test_hmtas_has_the_parameters_of_the_thesis() -> None:
    model = build_model(THESIS, 18, PRESETS["m7"].config.model)
    assert count_parameters(model) == 48_660_606


@pytest.mark.parametrize("name", ["m0", "m2", "m4", "m7"])
def test_windows_of_a_batch_do_not_see_each_other(name: str) -> None:
    kind = PRESETS[name].config.model
    model = make_model(SMALL.model_copy(update={"kind": kind.kind, "num_layers": kind.num_layers}))
    x = make_input()
    together = model(x).fused_BC
    alone = [model({k: v[i : i + 1] for k, v in x.items()}).fused_BC for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_seconds_of_a_window_see_each_other() -> None:
    # The maximum over a window whose first seconds repeat is blind to the repetition unless the
    # seconds attend to each other.
    model = make_model()
    x = make_input(1, 3)
    token = model.encoders["visual"]  # type: ignore[union-attr,index]
    rows = model.project(x)["visual"]
    changed = rows.clone()
    changed[0, 2] += 1.0
    before = token.layers[0](rows)[0, 0]
    assert not torch.allclose(before, token.layers[0](changed)[0, 0])


def test_batch_attention_repeats_the_mistake_of_the_thesis() -> None:
    model = make_model(SMALL.model_copy(update={"attention": "batch"}))
    x = make_input()
    other = {name: value.clone() for name, value in x.items()}
    other["visual"][4] += 1.0
    assert not torch.allclose(model(x).fused_BC[0], model(other).fused_BC[0])


def test_a_missing_stream_is_as_if_it_were_not_there() -> None:
    model = make_model()
    x = make_input()
    other = {"visual": x["visual"], "audio": x["audio"] + 100.0}
    present = torch.tensor([[True, False]] * 5)
    torch.testing.assert_close(model(x, present).fused_BC, model(other, present).fused_BC)
    assert not torch.allclose(model(x).fused_BC, model(other).fused_BC)


def test_windows_that_lack_a_stream_stay_out_of_its_batch_statistics() -> None:
    x = make_input()
    present = torch.tensor([[True, True]] * 3 + [[True, False]] * 2)
    other = {"visual": x["visual"], "audio": x["audio"].clone()}
    other["audio"][3:] = 100.0
    first, second = make_model().train(), make_model().train()
    first.project(x, present)
    second.project(other, present)
    torch.testing.assert_close(first.state_dict(), second.state_dict())


def test_every_stream_present_is_no_mask() -> None:
    model = make_model()
    x = make_input()
    present = torch.ones(5, 2, dtype=torch.bool)
    torch.testing.assert_close(model(x, present).fused_BC, model(x).fused_BC)


def cut_windows(x: dict[str, Tensor], seq_len: int) -> dict[str, Tensor]:
    """Every window inside each chunk, one slice at a time."""
    num_chunks, num_rows, _ = next(iter(x.values())).shape
    return {
        name: torch.stack(
            [
                value[k, start : start + seq_len]
                for k in range(num_chunks)
                for start in range(num_rows - seq_len + 1)
            ]
        )
        for name, value in x.items()
    }


@pytest.mark.parametrize("seq_len", [1, 3, 4, 6])
@pytest.mark.parametrize("name", ["m0", "m2", "m7"])
def test_chunks_give_the_logits_of_the_windows_inside(name: str, seq_len: int) -> None:
    kind = PRESETS[name].config.model.kind
    model = make_model(SMALL.model_copy(update={"kind": kind}))
    chunks = make_input(2, 6)
    present = torch.tensor([[True, False], [True, True]])
    windows = cut_windows(chunks, seq_len)
    found = model(chunks, seq_len=seq_len)
    assert len(found.fused_BC) == 2 * (6 - seq_len + 1)
    torch.testing.assert_close(found, model(windows))
    masked = model(windows, present.repeat_interleave(6 - seq_len + 1, dim=0))
    torch.testing.assert_close(model(chunks, present, seq_len), masked)


def test_chunks_count_a_row_once_in_the_batch_statistics() -> None:
    model = make_model().train()
    chunks = make_input(2, 6)
    model(chunks, seq_len=3)
    norm = model.projections["audio"].norm  # type: ignore[union-attr,index]
    mean = model.projections["audio"].linear(chunks["audio"]).flatten(0, 1).mean(0)  # type: ignore[union-attr,index]
    torch.testing.assert_close(norm.running_mean, norm.momentum * mean)


def test_chunks_shorter_than_a_window() -> None:
    with pytest.raises(ValueError, match="chunks of 3 rows hold no window of 4"):
        make_model()(make_input(2, 3), seq_len=4)


def test_layers_of_an_encoder_start_from_different_weights() -> None:
    first, second = make_model().encoders["visual"].layers  # type: ignore[union-attr,index]
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_a_model_without_stream_heads_gives_fused_logits_only() -> None:
    logits = make_model(SMALL.model_copy(update={"stream_heads": False}))(make_input())
    assert logits.fused_BC.shape == (5, 3)
    assert logits.streams_BEC.shape == (5, 0, 3)


def test_width_must_split_into_heads() -> None:
    with pytest.raises(ValueError, match=r"width \(10\) must be a multiple of num_heads \(4\)"):
        ModelConfig(width=10, num_heads=4)


def test_a_stream_that_is_not_given_is_an_error() -> None:
    with pytest.raises(KeyError, match="audio"):
        make_model()({"visual": make_input()["visual"]})
