"""Private names of torch, each with what we need it for; no other module uses any.

`tests/test_private_names.py` fails when one of them goes, and says what to do.

oneDNN multiplies faster by a matrix that was laid out for it once. The operators for that were made
for compiled models and have no public name; the public ones are an eighth slower in float32. What
oneDNN can do depends on the processor: in bfloat16 it needs AVX-512.
"""

from functools import cache

import torch
from torch import Tensor


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Do the operators for packed matrices work on this processor? Tried once per type."""
    x = torch.ones(16, 16, dtype=dtype)
    try:
        packed_linear(x, pack_weight(x), x[0], "relu")
    except (AttributeError, RuntimeError):
        return False
    return True


def pack_weight(weight: Tensor) -> Tensor:
    """Lay a matrix out for oneDNN."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return packed


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor, then: str) -> Tensor:
    """X @ weight.T + bias with a packed weight, `then` "none" or "relu"; all of one type."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, then, [], "")
    return y
