"""How many threads torch computes with."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def torch_threads(number: int | None) -> Iterator[int]:
    """Compute with so many threads meanwhile, or as before if None; gives how many it was before.

    Sums over more threads are other sums, in the last bit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
