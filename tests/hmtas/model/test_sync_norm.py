"""Two workers with half of a batch each train as one worker with the whole batch."""

import copy
import tempfile
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel

from hmtas.config import ModelConfig
from hmtas.model.build import build_model
from hmtas.model.loss import hmtas_loss
from hmtas.model.network import Projection, SpottingModel
from hmtas.model.sync_norm import SyncedBatchNorm1d

STREAMS = {"vtn": 6, "vggish": 3}
NUM_WORKERS, BATCH = 2, 16
# Of the second stream the first worker has no window at all, the second one some.
PRESENT = torch.tensor([[True, i in (9, 10, 14)] for i in range(BATCH)])


def make_model() -> SpottingModel:
    torch.manual_seed(0)
    plain = ModelConfig(
        width=8, num_heads=2, num_layers=1, stream_dropout=0, fusion_dropout=0, head_dropout=0,
        encoder_dropout=0,
    )  # fmt: skip
    return build_model(STREAMS, 4, plain).train()


def learn(model: nn.Module, part: slice, masked: bool) -> None:
    """One backward pass over a part of the batch."""
    generator = torch.Generator().manual_seed(1)
    x = {name: torch.randn(BATCH, 3, width, generator=generator) for name, width in STREAMS.items()}
    target = (torch.rand(BATCH, 4, generator=generator) < 0.3).float()
    present = PRESENT[part] if masked else None
    logits = model({name: rows[part] + 5 for name, rows in x.items()}, present)
    # The streams' loss is a mean over present windows, which differ from worker to worker.
    gamma = 1.0 if masked else 0.7
    hmtas_loss(
        logits, target[part], gamma=gamma, weight_C=torch.ones(4), present_BE=present
    ).backward()  # type: ignore[no-untyped-call]


def state_of(model: nn.Module) -> dict[str, Tensor]:
    gradients = {f"grad.{n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return gradients | {n: b.clone() for n, b in model.named_buffers()}


def work(rank: int, folder: str, masked: bool) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=NUM_WORKERS
    )
    model = make_model()
    half = BATCH // NUM_WORKERS
    wrapped = DistributedDataParallel(model, find_unused_parameters=masked)
    learn(wrapped, slice(rank * half, (rank + 1) * half), masked)
    torch.save(state_of(model), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def check(masked: bool) -> None:
    whole = make_model()
    learn(whole, slice(None), masked)
    expected = state_of(whole)
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, (folder, masked), nprocs=NUM_WORKERS)
        for rank in range(NUM_WORKERS):
            found = torch.load(Path(folder) / f"{rank}.pt", weights_only=True)
            for name, value in expected.items():
                torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_two_workers_have_the_gradient_and_the_statistics_of_one() -> None:
    check(masked=False)


def test_a_stream_that_one_worker_lacks() -> None:
    check(masked=True)


def test_alone_it_is_the_norm_of_torch() -> None:
    torch.manual_seed(0)
    ours, torchs = SyncedBatchNorm1d(5), nn.BatchNorm1d(5)
    x = torch.randn(7, 5)
    assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours.eval()(x), torchs.eval()(x))
    assert ours.state_dict().keys() == torchs.state_dict().keys()


def test_rows_that_are_masked_count_as_rows_that_are_left_out() -> None:
    """A GPU masks where a CPU picks: the same outputs, statistics and gradients."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(12, 3, 5, generator=generator)
    for present in (torch.arange(12) % 3 == 0, torch.arange(12) == 4, torch.zeros(12).bool()):
        for training in (True, False):
            torch.manual_seed(0)
            picks = Projection(5, 4).train(training)
            masks = copy.deepcopy(picks)
            weight = torch.randn(12, 3, 4, generator=generator)
            found, expected = masks.masked(x + 3, present), picks(x + 3, present)
            torch.testing.assert_close(found, expected)
            for rows in (found, expected):
                if rows.requires_grad:
                    (rows * weight).sum().backward()  # type: ignore[no-untyped-call]
            torch.testing.assert_close(masks.norm.running_var, picks.norm.running_var)
            torch.testing.assert_close(masks.norm.running_mean, picks.norm.running_mean)
            for ours, theirs in zip(masks.parameters(), picks.parameters(), strict=True):
                assert ours.grad is not None
                without = torch.zeros_like(theirs)  # where no row was left
                torch.testing.assert_close(
                    ours.grad, without if theirs.grad is None else theirs.grad
                )
