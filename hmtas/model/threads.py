"""How many threads torch computes with."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def torch_threads(number: int | None) -> Iterator[int]:
    """Compute with this many threads, with as many as before if None; gives the number before.

    Sums over another number of threads differ in the last bit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
