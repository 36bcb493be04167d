"""Attention within a reach: every row attends to the rows near it, by relative position.

The rows are cut into blocks; the queries of a block meet the keys of that block and of `reach` rows
at each side, so the work grows with rows times reach and not with the square of the rows.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmtas.model.dropout import Dropout

SMALLEST_BLOCK = 16  # rows; products of fewer do not pay


class ReluLinear(nn.Linear):
    """A linear layer and ReLU, which prediction computes as one."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return super().forward(x).relu()


class ReachLayer(nn.Module):
    """A pre-norm encoder layer over (N, S, D) whose rows attend at most `reach` rows away.

    A learned bias for each head and offset stands for the relative position (Shaw et al. 2018, in
    the form of T5, Raffel et al. 2020, without buckets).
    """

    def __init__(
        self, width: int, num_heads: int, widening: int, *, reach: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads, self.reach = num_heads, reach
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.widen = ReluLinear(width, widening * width)
        self.narrow = nn.Linear(widening * width, width)
        self.bias_HR = nn.Parameter(torch.zeros(num_heads, 2 * reach + 1))
        self.dropout = Dropout(dropout)

    def forward(self, x_NSD: Tensor, unread: int = 0) -> Tensor:
        """Map rows to rows; those before the first and after the last are not attended to.

        So many rows at each end are left out of the result, though others attend to them.
        """
        attended = self.attend(self.before(x_NSD))
        return self.after(inner(x_NSD, unread), inner(attended, unread))

    def before(self, x_NSD: Tensor) -> Tensor:
        """Queries, keys and values (N, S, 3D), each row by itself."""
        qkv: Tensor = self.qkv(self.norm1(x_NSD))
        return qkv

    def attend(self, qkv: Tensor) -> Tensor:
        """What the rows gather from each other, (N, S, D)."""
        heads = (*qkv.shape[:2], 3, self.num_heads, -1)
        q, k, v = qkv.view(heads).permute(2, 0, 3, 1, 4).unbind(0)
        attended = attend_within(q, k, v, self.bias_HR.to(q.dtype))
        return attended.transpose(1, 2).flatten(2)

    def after(self, x_NSD: Tensor, attended_NSD: Tensor) -> Tensor:
        """The rest of the layer, each row by itself."""
        x_NSD = x_NSD + self.dropout(self.out(attended_NSD))
        wide = self.dropout(self.widen(self.norm2(x_NSD)))
        out: Tensor = x_NSD + self.dropout(self.narrow(wide))
        return out


class ReachEncoder(nn.Module):
    """Layers with attention within a reach, and the norm that pre-norm layers end with."""

    def __init__(self, layers: Iterable[ReachLayer], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width) if self.layers else nn.Identity()

    def forward(self, x_NSD: Tensor, unread: int = 0) -> Tensor:
        """Map (N, S, D) to (N, S - 2 * unread, D): rows at the ends that nobody reads are left out.

        Without layers it is what it is given.
        """
        for number, layer in enumerate(self.layers, 1):
            last = number == len(self.layers)
            x_NSD = layer(x_NSD, unread if last else 0)
        out: Tensor = self.norm(x_NSD if self.layers else inner(x_NSD, unread))
        return out


def inner(rows_KSD: Tensor, margin: int) -> Tensor:
    """Without so many rows at each end."""
    return rows_KSD[:, margin : rows_KSD.shape[1] - margin]


def attend_within(q: Tensor, k: Tensor, v: Tensor, bias_HR: Tensor) -> Tensor:
    """Scaled dot-product attention within a reach r.

    Args:
        q: Queries (N, H, S, D / H).
        k: Keys, of the same shape.
        v: Values, of the same shape.
        bias_HR: (H, 2 r + 1), added to the scores by the offset of the key, from -r to r.

    Returns:
        (N, H, S, D / H).
    """
    num, heads, length, size = q.shape
    reach = bias_HR.shape[1] // 2
    block = min(max(reach, SMALLEST_BLOCK), length)
    blocks = -(-length // block)
    padding = blocks * block - length
    if padding:
        q, k, v = (F.pad(x, (0, 0, 0, padding)) for x in (q, k, v))
    # All sequences lie one after the other, so that the keys and values of blocks are overlapping
    # views and nothing is copied for each; what a block sees of another sequence is masked.
    k, v = (
        F.pad(x.reshape(-1, size), (0, 0, reach, reach)).unfold(0, block + 2 * reach, block)
        for x in (k, v)
    )
    scores = q.reshape(-1, block, size) @ k  # `unfold` puts the rows last
    scores = torch.add(
        _mask(bias_HR, blocks, block, length),
        scores.view(num, heads, blocks, block, -1),
        alpha=size**-0.5,
    )
    attended = scores.softmax(dim=-1).flatten(0, 2) @ v.transpose(1, 2)
    return attended.view(num, heads, blocks * block, size)[:, :, :length]


def _mask(bias_HR: Tensor, blocks: int, block: int, length: int) -> Tensor:
    """(H, blocks, block, block + 2 r): the bias, minus infinity beyond the reach or the rows."""
    reach = bias_HR.shape[1] // 2
    device = bias_HR.device
    row = torch.arange(block, device=device)[:, None]
    key = torch.arange(block + 2 * reach, device=device)
    offset = key - row  # 0 is -r
    first = torch.arange(blocks, device=device)[:, None, None] * block
    place = first + key - reach
    seen = (offset >= 0) & (offset <= 2 * reach) & (place >= 0) & (place < length)
    # A row past the last one would attend to nothing, which has no softmax; nobody reads it.
    seen |= first + row >= length
    bias = bias_HR[:, offset.clamp(0, 2 * reach)]
    return torch.where(seen, bias[:, None], -torch.inf)
