"""Memory is used again when nobody holds it, and not before."""

import numpy as np
import torch

from hmtas.reuse import Pool

VALUES = np.arange(60, dtype=np.float16).reshape(20, 3)


def test_what_is_taken_is_what_numpy_takes() -> None:
    rows = np.array([3, 3, 19, 0])
    np.testing.assert_array_equal(Pool().take(VALUES, rows), VALUES[rows])


def test_memory_that_was_let_go_is_used_again() -> None:
    pool = Pool()
    first = torch.from_numpy(pool.take(VALUES, np.arange(8)))
    place = first.data_ptr()
    del first
    fewer = torch.from_numpy(pool.take(VALUES, np.arange(5)))
    assert fewer.data_ptr() == place


def test_a_view_of_a_tensor_is_never_overwritten() -> None:
    pool = Pool()
    kept = torch.from_numpy(pool.take(VALUES, np.arange(8))).view(4, 2, 3)[1:]
    before = kept.clone()
    for _ in range(3):
        other = torch.from_numpy(pool.take(VALUES, np.arange(8) + 10))
        assert other.data_ptr() != kept.data_ptr()
    assert torch.equal(kept, before)


def test_other_widths_and_types_have_memory_of_their_own() -> None:
    pool = Pool()
    pool.take(VALUES, np.arange(8))
    assert pool.array(8, 3, np.dtype(np.bool_)).dtype == np.bool_
    assert pool.array(30, 3, VALUES.dtype).shape == (30, 3)
