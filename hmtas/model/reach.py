"""Attention within a reach: every row attends to the rows near it, by relative position.

The rows are cut into blocks; the queries of a block meet the keys of that block and of `reach` rows
at each side, so the work grows with rows times reach and not with the square of the rows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST_BLOCK = 16  # rows; products of fewer do not pay


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
        self.widen = nn.Linear(width, widening * width)
        self.narrow = nn.Linear(widening * width, width)
        self.bias_HR = nn.Parameter(torch.zeros(num_heads, 2 * reach + 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_NSD: Tensor) -> Tensor:
        """Map rows to rows; those before the first and after the last are not attended to."""
        qkv = self.qkv(self.norm1(x_NSD))
        heads = (*x_NSD.shape[:2], 3, self.num_heads, -1)
        q, k, v = qkv.view(heads).permute(2, 0, 3, 1, 4).unbind(0)
        attended = attend_within(q, k, v, self.bias_HR.to(q.dtype))
        x_NSD = x_NSD + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        wide = self.widen(self.norm2(x_NSD)).relu()
        out: Tensor = x_NSD + self.dropout(self.narrow(self.dropout(wide)))
        return out


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
    num, heads, length, _ = q.shape
    reach = bias_HR.shape[1] // 2
    block = min(max(reach, SMALLEST_BLOCK), length)
    blocks = -(-length // block)
    padding = blocks * block - length
    span = block + 2 * reach
    q = F.pad(q, (0, 0, 0, padding)).reshape(num, heads * blocks, block, -1)
    k, v = (
        F.pad(x, (0, 0, reach, reach + padding)).unfold(2, span, block).flatten(1, 2)
        for x in (k, v)
    )
    mask = _mask(bias_HR, blocks, block, length).flatten(0, 1)
    # `unfold` puts the rows last: the keys lie as the product takes them.
    scores = torch.baddbmm(
        mask.expand(num, -1, -1, -1).flatten(0, 1),
        (q * q.shape[-1] ** -0.5).flatten(0, 1),
        k.flatten(0, 1),
    )
    attended = scores.softmax(dim=-1) @ v.flatten(0, 1).transpose(1, 2)
    return attended.view(num, heads, blocks * block, -1)[:, :, :length]


def _mask(bias_HR: Tensor, blocks: int, block: int, length: int) -> Tensor:
    """(H, blocks, block, block + 2 r): the bias, minus infinity beyond the reach or the rows."""
    reach = bias_HR.shape[1] // 2
    device = bias_HR.device
    row, key = torch.arange(block, device=device), torch.arange(block + 2 * reach, device=device)
    offset = key - row[:, None]  # 0 is -r
    within = (offset >= 0) & (offset <= 2 * reach)
    bias = bias_HR[:, offset.clamp(0, 2 * reach)].masked_fill(~within, -torch.inf)
    place = torch.arange(blocks, device=device)[:, None] * block + key - reach
    # A row past the last one would attend to nothing, which has no softmax; nobody reads it.
    beyond = (place < 0) | (place >= length)
    unread = torch.arange(blocks, device=device)[:, None] * block + row >= length
    mask = bias[:, None].masked_fill(beyond[:, None], -torch.inf)
    return mask.masked_fill(unread[:, :, None], 0.0)
