"""Workers that average their gradients over parts of a batch do as one with the whole batch."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from hmtas.model.build import build_model
from hmtas.training.batches import Batch
from hmtas.training.stepping import Stepper, build_optimizer
from tests.support.small import STREAMS, make_config

NUM, NUM_OUTPUTS, INNER = 4, 3, 20
SMALL = {"reach_s": 4.0, "context_s": 32.0, "margin_s": 6.0, "displacement": True}
QUIET = {f"{part}_dropout": 0.0 for part in ("stream", "fusion", "head", "encoder")}


def make_batch(present_KE: Tensor | None) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = {name: torch.randn(NUM, 32, f, generator=generator) for name, f in STREAMS.items()}
    target = (torch.rand(NUM * INNER, NUM_OUTPUTS, generator=generator) < 0.2).float()
    shift = 3 * torch.randn(NUM * INNER, NUM_OUTPUTS - 1, generator=generator)
    # The second half has fewer steps near an event.
    near = (
        torch.rand(shift.shape, generator=generator) < torch.linspace(0.6, 0, len(shift))[:, None]
    )
    return Batch(x, present_KE, target, shift.masked_fill(~near, torch.nan))


def make_stepper(kind: str) -> Stepper:
    gamma = 0.7 if kind == "dense" else 1.0
    more = {"focal_exponent": 1.0, "gamma": gamma}
    config = make_config(kind=kind, **{**SMALL, **QUIET, **more})
    torch.manual_seed(0)
    model = build_model(STREAMS, NUM_OUTPUTS, config.model).train()
    return Stepper(
        model,
        build_optimizer(model, config.train),
        config.train,
        weight_C=torch.tensor([1.0, 10.0, 20.0]),
        device=torch.device("cpu"),
        seq_len=13,
        count_missing=config.model.labels_steps,
    )


def gradients(kind: str, present_KE: Tensor | None, parts: list[Tensor]) -> dict[str, Tensor]:
    """The mean over the workers of the gradients of their parts."""
    stepper = make_stepper(kind)
    for part in parts:
        batch = make_batch(present_KE).at(part)
        loss = stepper.loss(batch, np.random.default_rng(0)) / len(parts)
        loss.backward()  # type: ignore[no-untyped-call]
    return gradients_of(stepper.model)


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def work(rank: int, folder: Path, kind: str, present_KE: Tensor, part: Tensor) -> None:
    """One of two processes that average as those of Ray Train do: by torch's DDP, over gloo."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    stepper = make_stepper(kind)
    model = stepper.model
    stepper.model = DistributedDataParallel(model)
    loss = stepper.loss(make_batch(present_KE).at(part), np.random.default_rng(0))
    loss.backward()  # type: ignore[no-untyped-call]
    torch.save(gradients_of(model), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize(
    "present",
    [
        pytest.param(None, id="all streams"),
        pytest.param([[1, 1], [1, 1], [1, 0], [0, 1]], id="one worker lacks streams"),
        pytest.param([[1, 0], [1, 0], [1, 1], [1, 1]], id="a stream that one worker lacks"),
    ],
)
def test_two_workers_have_the_gradient_of_one(kind: str, present: list[list[int]] | None) -> None:
    present_KE = None if present is None else torch.tensor(present).bool()
    everything = torch.arange(NUM)
    whole = gradients(kind, present_KE, [everything])
    halves = gradients(kind, present_KE, list(everything.chunk(2)))
    assert whole.keys() == halves.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(halves[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_two_processes_have_the_gradient_of_one(kind: str, tmp_path: Path) -> None:
    present_KE = torch.tensor([[1, 0], [1, 0], [1, 1], [0, 1]]).bool()
    everything = torch.arange(NUM)
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=work, args=(rank, tmp_path, kind, present_KE, part))
        for rank, part in enumerate(everything.chunk(2))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    whole = gradients(kind, present_KE, [everything])
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == whole.keys()
        for name, gradient in whole.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
