"""Attention within a reach is plain attention with a mask, whatever the blocks it is cut into."""

import pytest
import torch
from torch import Tensor

from hmtas.model.reach import SMALLEST_BLOCK, ReachEncoder, ReachLayer, attend_within

BLOCK = SMALLEST_BLOCK


def plain(q: Tensor, k: Tensor, v: Tensor, bias_HR: Tensor) -> Tensor:
    """Every row with every row, then the mask."""
    length, reach = q.shape[2], bias_HR.shape[1] // 2
    offset = torch.arange(length) - torch.arange(length)[:, None]
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    scores = scores + bias_HR[:, (offset + reach).clamp(0, 2 * reach)]
    return scores.masked_fill(offset.abs() > reach, -torch.inf).softmax(dim=-1) @ v


def make_parts(length: int, reach: int) -> list[Tensor]:
    """Queries, keys, values of two samples and three heads, and biases."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(2, 3, length, 4)] * 3 + [(3, 2 * reach + 1)]
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]


@pytest.mark.parametrize(
    ("length", "reach"),
    [
        pytest.param(1, 1, id="one row"),
        pytest.param(5, 2, id="shorter than a block"),
        pytest.param(BLOCK, 3, id="one block"),
        pytest.param(3 * BLOCK, 4, id="whole blocks"),
        pytest.param(3 * BLOCK + 1, 4, id="one row too many"),
        pytest.param(4 * BLOCK - 1, BLOCK + 3, id="blocks as long as the reach"),
        pytest.param(7, 20, id="a reach beyond the rows"),
    ],
)
def test_it_is_plain_attention_with_a_mask_and_so_are_its_gradients(
    length: int, reach: int
) -> None:
    parts = make_parts(length, reach)
    found, expected = attend_within(*parts), plain(*parts)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((x * weight).sum(), parts) for x in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def make_layer(reach: int) -> ReachLayer:
    torch.manual_seed(0)
    layer = ReachLayer(8, 2, 2, reach=reach, dropout=0.5).eval()
    torch.nn.init.normal_(layer.bias_HR)
    return layer


def test_a_row_is_seen_within_the_reach_and_no_further() -> None:
    layer, x = make_layer(5), torch.randn(1, 40, 8)
    other = x.clone()
    other[0, 20, 0] += 1.0  # of one feature: the norm would take away what all have
    with torch.no_grad():
        changed = (layer(x) != layer(other)).any(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == list(range(15, 26))


def test_positions_are_relative() -> None:
    layer, x = make_layer(5), torch.randn(1, 40, 8)
    with torch.no_grad():
        whole, later = layer(x), layer(x[:, 7:])
    torch.testing.assert_close(whole[:, 7 + 5 :], later[:, 5:])
    assert not torch.allclose(whole[:, 7:9], later[:, :2])  # these see the rows before


@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_rows_that_nobody_reads_are_left_out_and_attended_to(num_layers: int) -> None:
    torch.manual_seed(0)
    layers = (ReachLayer(8, 2, 2, reach=3, dropout=0.0) for _ in range(num_layers))
    encoder = ReachEncoder(layers, 8).eval()
    x = torch.randn(2, 40, 8)
    torch.testing.assert_close(encoder(x, 5), encoder(x)[:, 5:-5])
