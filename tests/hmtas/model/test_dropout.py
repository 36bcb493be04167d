"""Dropout with cheap random numbers is dropout: how much it drops, scales, and passes back."""

import pytest
import torch
from torch import nn

from hmtas.model.dropout import Dropout, draw_cheaply


@pytest.mark.parametrize("share", [0.1, 0.4, 0.75])
def test_it_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 1003)
    dropped = Dropout(share)(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.003)
    assert dropped.max().item() == pytest.approx(1 / (1 - share))
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)


def test_rows_and_columns_and_calls_are_dropped_by_themselves() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.5)
    first, second = (layer(torch.ones(4000, 8)) > 0 for _ in range(2))
    values = torch.cat([first, second], dim=1).float()
    correlation = torch.corrcoef(values.T) - torch.eye(16)
    assert correlation.abs().max() < 0.08
    neighbours = (first[1:] == first[:-1]).float().mean()
    assert neighbours.item() == pytest.approx(0.5, abs=0.02)


def test_the_gradient_passes_where_values_did() -> None:
    torch.manual_seed(0)
    x = torch.ones(7, 5, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


def test_the_seed_decides_and_bfloat16_stays() -> None:
    layer, x = Dropout(0.3), torch.ones(33, 3, dtype=torch.bfloat16)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(first, layer(x))
    assert first.dtype == torch.bfloat16


def test_evaluation_and_no_dropout_change_nothing() -> None:
    x = torch.randn(4, 3)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_layers_of_torch_draw_cheaply_too_and_keep_their_shares() -> None:
    layer = nn.Sequential(nn.TransformerEncoderLayer(8, 2, dropout=0.3), nn.Dropout(0.2))
    draw_cheaply(layer)
    found = [module for module in layer.modules() if isinstance(module, nn.Dropout)]
    assert [type(module) for module in found] == [Dropout] * 4
    assert [module.p for module in found] == [0.3, 0.3, 0.3, 0.2]
