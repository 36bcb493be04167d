"""A trained model that computes once what overlapping windows share.

In evaluation mode a window needs the projection of each of its rows and, for the first layer of its
stream, query, key and value. Neither depends on the other rows, so both are computed once per row
and shared by the L windows that hold it. All later work depends on the whole window.

The products of the encoders run in float32 or bfloat16, the rest (sums, norms, softmax, heads)
in float32. Matrices are laid out once for oneDNN, which on CPUs multiplies by them faster than
the default does.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmtas.config import Precision
from hmtas.model.network import Encoder, Logits, WindowModel, unfold_windows
from hmtas.model.torch_private import can_pack, pack_weight, packed_linear

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def slow_precision(precision: Precision, device: torch.device | str) -> str | None:
    """One line if a precision makes products no faster on a device; None if it does."""
    if precision == "fp32":
        return None
    if torch.device(device).type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return None
    elif can_pack(DTYPES[precision]):
        return None
    return f"this device has no fast {precision} products; fp32 is faster here, and more precise"


class SharedWindows:
    """A model in evaluation mode, for the windows of consecutive rows.

    When the weights change, make a new one; the model itself is not changed. Models that do not
    attend over the rows of a window (`fcnn`, and `attention="batch"`) share only their projections.
    """

    def __init__(self, model: WindowModel, seq_len: int, precision: Precision = "fp32") -> None:
        self.seq_len = seq_len
        self.dtype = DTYPES[precision]
        encoders = [m for m in model.modules() if isinstance(m, Encoder)]
        self.shares = bool(encoders) and all(encoder.sees_tokens for encoder in encoders)
        # A copy that shares the parameters and has other encoders in their places.
        memo: dict[int, object] = {id(p): p for p in model.parameters()}
        if self.shares:
            memo |= {id(e): SharedEncoder(e, seq_len, self.dtype) for e in encoders}
        self.model = copy.deepcopy(model, memo)

    @torch.no_grad()
    def project(
        self, x: Mapping[str, Tensor], present_RE: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Map {stream: (R, F)} to {name: (R, D)} float32; see `WindowModel.project`."""
        with self._autocast(x):
            rows = self.model.project(x, present_RE)
        return {name: value.float() for name, value in rows.items()}

    @torch.no_grad()
    def encode(self, rows: Mapping[str, Tensor], present_E: Tensor | None = None) -> Logits:
        """Logits of every window inside consecutive projected rows.

        Args:
            rows: {name: (S, D)}, S at least L.
            present_E: False where a stream is missing; None where every stream is present.

        Returns:
            Logits (S - L + 1, C) and (S - L + 1, E, C), float32.
        """
        num_windows = len(next(iter(rows.values()))) - self.seq_len + 1
        present_BE = None if present_E is None else present_E.expand(num_windows, -1)
        if self.shares:
            return self.model.encode(rows, present_BE)
        windows = {name: unfold_windows(x[None], self.seq_len) for name, x in rows.items()}
        with self._autocast(rows):
            logits = self.model.encode(windows, present_BE)
        return logits.map(Tensor.float)

    def _autocast(self, x: Mapping[str, Tensor]) -> torch.autocast:
        device = next(iter(x.values())).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.dtype == torch.bfloat16)


class SharedEncoder(nn.Module):
    """What `Encoder` does in evaluation mode, of (S, D) rows or of (B, tokens, D)."""

    def __init__(self, encoder: Encoder, seq_len: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.seq_len = seq_len
        self.layers = [_Layer(layer, dtype) for layer in encoder.layers]

    def forward(self, x: Tensor, missing_BK: Tensor | None = None) -> Tensor:
        """Map the windows inside (S, D), or the tokens of (B, K, D), to one (B, D)."""
        for layer in self.layers:
            qkv = layer.qkv(x)
            if x.ndim == 2:
                x, qkv = self._windows(x), self._windows(qkv)
            x = layer.after_qkv(x, qkv, missing_BK)
        if missing_BK is not None:
            x = x.masked_fill(missing_BK.unsqueeze(-1), -torch.inf)
        return x.amax(dim=1)

    def _windows(self, x_SD: Tensor) -> Tensor:
        """A view: nothing is copied."""
        return x_SD.unfold(0, self.seq_len, 1).transpose(1, 2)


class _Layer:
    """A post-norm `nn.TransformerEncoderLayer` in two steps: query, key and value, and the rest."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        assert isinstance(layer, nn.TransformerEncoderLayer)
        attention = layer.self_attn
        self.num_heads = attention.num_heads
        self.qkv = Linear(attention.in_proj_weight, attention.in_proj_bias, dtype)
        self.out = Linear(attention.out_proj.weight, attention.out_proj.bias, dtype)
        self.widen = Linear(layer.linear1.weight, layer.linear1.bias, dtype, "relu")
        self.narrow = Linear(layer.linear2.weight, layer.linear2.bias, dtype)
        self.norm1, self.norm2 = layer.norm1, layer.norm2

    def after_qkv(self, x_BKD: Tensor, qkv: Tensor, missing_BK: Tensor | None) -> Tensor:
        """(B, K, D) of the tokens and (B, K, 3D) of their queries, keys and values."""
        heads = (*x_BKD.shape[:2], self.num_heads, -1)
        q, k, v = (part.view(heads).transpose(1, 2) for part in qkv.chunk(3, 2))
        mask = None if missing_BK is None else ~missing_BK[:, None, None]
        attended = attend(q, k, v, mask)
        x_BKD = self.norm1(x_BKD + self.out(attended.transpose(1, 2).flatten(2)))
        out: Tensor = self.norm2(x_BKD + self.narrow(self.widen(x_BKD)))
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of (B, H, K, D / H); `mask` is False at keys to leave out.

    For few tokens in bfloat16 on a CPU plain products take less than half the time of torch's
    fused kernel.
    """
    if q.device.type != "cpu" or q.dtype == torch.float32:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    attended: Tensor = scores.softmax(dim=-1) @ v
    return attended


class Linear:
    """x @ weight.T + bias in a given type, `then` "none" or "relu"."""

    def __init__(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, then: str = "none"
    ) -> None:
        self.dtype, self.then = dtype, then
        self.weight, self.bias = weight.detach().to(dtype), bias.detach().to(dtype)
        self.packed = weight.device.type == "cpu" and can_pack(dtype)
        if self.packed:
            self.weight = pack_weight(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (..., inputs) of any type to (..., outputs) of the given one."""
        x = x.to(self.dtype)
        if self.packed:
            return packed_linear(x, self.weight, self.bias, self.then)
        y = F.linear(x, self.weight, self.bias)
        return y.relu_() if self.then == "relu" else y
