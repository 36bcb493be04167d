"""A trained model that labels steps, over a whole half: each second is encoded once."""

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from hmtas.config import Precision
from hmtas.model.network import Encoder, Logits
from hmtas.model.reach import ReachLayer, ReluLinear, inner
from hmtas.model.steps import Rates, StepModel
from hmtas.prediction.shared_windows import DTYPES, Linear, SharedEncoder

TOKENS_AT_ONCE = 768  # of a layer on a CPU: few enough that its hidden layer stays in the cache


class WholeHalf:
    """A model in evaluation mode, for all rows of a half at once.

    Matrices are laid out once, as in `hmtas.prediction.shared_windows`. When the weights change,
    make a new one; the model itself is not changed.
    """

    def __init__(self, model: StepModel, precision: Precision = "fp32") -> None:
        dtype = DTYPES[precision]
        memo: dict[int, object] = {id(p): p for p in model.parameters()}
        for module in model.modules():
            if isinstance(module, Encoder) and module.sees_tokens:
                memo[id(module)] = _FusionInParts(SharedEncoder(module, 1, dtype))
            elif isinstance(module, nn.Linear):
                memo[id(module)] = _Packed(module, dtype)
        for module in model.modules():
            if isinstance(module, ReachLayer):
                memo[id(module)] = _LayerInParts(copy.deepcopy(module, memo))
        self.model = copy.deepcopy(model, memo)

    @torch.no_grad()
    def logits(self, rows: Mapping[str, Tensor], present_E: Tensor | None, seq_len: int) -> Logits:
        """Logits of the steps of a half.

        Args:
            rows: {stream: (T + L - 1, F)}, the first and the last row repeated at the ends.
            present_E: False where a stream is missing; None where every stream is present.
            seq_len: L, twice the margin of a context and 1.
        """
        x = {name: value[None] for name, value in rows.items()}
        found: Logits = self.model(x, None if present_E is None else present_E[None], seq_len)
        return found.map(Tensor.float)


class _Packed(nn.Module):
    """An `nn.Linear` in a given type, on matrices laid out for it; the result is float32."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        bias = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
        self.is_hidden = isinstance(linear, ReluLinear)
        then = "relu" if self.is_hidden else "none"
        self.linear = Linear(linear.weight, bias, dtype, then)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        # The next product takes a hidden layer as it is.
        return y if self.is_hidden else y.float()


class _LayerInParts(nn.Module):
    """What a layer does to each row by itself, some rows at a time."""

    def __init__(self, layer: ReachLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_NSD: Tensor, unread: int = 0) -> Tensor:
        attended = self.layer.attend(self.layer.before(x_NSD))
        return _in_parts(self.layer.after, inner(x_NSD, unread), inner(attended, unread), dim=1)


class _FusionInParts(nn.Module):
    """The fusion, some rows at a time."""

    def __init__(self, encoder: SharedEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x_BKD: Tensor, missing_BK: Tensor | None = None) -> Tensor:
        given = (x_BKD,) if missing_BK is None else (x_BKD, missing_BK)
        return _in_parts(self.encoder, *given, dim=0, tokens_per_row=x_BKD.shape[1])


def _in_parts(
    work: Callable[..., Tensor], *given: Tensor, dim: int, tokens_per_row: int = 1
) -> Tensor:
    """Some rows at a time on a CPU, all at once on other devices."""
    length = given[0].shape[dim]
    is_cpu = given[0].device.type == "cpu"
    at_once = max(1, TOKENS_AT_ONCE // tokens_per_row) if is_cpu else length
    parts = zip(*(torch.split(values, at_once, dim) for values in given), strict=True)
    return torch.cat([work(*part) for part in parts], dim)


def moved(score_SA: Tensor, shift_SA: Tensor | None, rates: Rates) -> Tensor:
    """Bring scores to where their displacements point, and to the output rate.

    Args:
        score_SA: In [0, 1], of steps of `rates.steps_hz`.
        shift_SA: Seconds; None where there is no displacement.
        rates: Of the model.

    Returns:
        (T', A) at `rates.output_hz`. The largest of the scores that come to one place wins
        (Soares & Shah 2022); a place that none comes to has 0.
    """
    num_steps = len(score_SA)
    if shift_SA is None and rates.output_hz == rates.steps_hz:
        return score_SA
    moment_s = torch.arange(num_steps, device=score_SA.device)[:, None] / rates.steps_hz
    length = math.ceil(num_steps * rates.output_hz / rates.steps_hz - 1e-9)
    place_s = moment_s if shift_SA is None else moment_s + shift_SA
    # Halves go up: `round` takes them to even places, so that every other one would have more rows.
    place = (place_s * rates.output_hz + 0.5).floor().long().clamp(0, length - 1)
    empty = score_SA.new_zeros(length, score_SA.shape[1])
    return empty.scatter_reduce(0, place.expand_as(score_SA), score_SA, "amax")
