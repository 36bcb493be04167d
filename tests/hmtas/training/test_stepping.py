"""A step whose loss is not finite changes nothing, then or later, however late one looks."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from hmtas.config import TrainConfig
from hmtas.errors import InputError
from hmtas.model.build import build_model
from hmtas.model.network import SpottingModel
from hmtas.training.batches import Batch
from hmtas.training.stepping import Stepper, build_optimizer
from tests.support.small import make_config

STREAMS = {"a": 4, "b": 2}


def make_stepper(**settings: object) -> tuple[SpottingModel, Stepper]:
    config = make_config(**settings)
    torch.manual_seed(0)
    model = build_model(STREAMS, 3, config.model).train()
    optimizer = build_optimizer(model, config.train)
    device = torch.device("cpu")
    return model, Stepper(model, optimizer, config.train, weight_C=torch.ones(3), device=device)


def batches(num: int, bad: int | None = None, value: float = math.nan) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    for number in range(1, num + 1):
        x = {name: torch.randn(8, 3, width, generator=generator) for name, width in STREAMS.items()}
        if number == bad:
            x["a"][3, 1, 2] = value
        yield Batch(x, None, torch.zeros(8, 3))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("look_every", [1, 4, 100])
def test_the_weights_stay_those_before_the_first_bad_batch(look_every: int, value: float) -> None:
    rng = np.random.default_rng(0)
    good, stepper = make_stepper()
    stepper.run(batches(2), rng, place="run", epoch=1)
    model, stepper = make_stepper()
    stepper.read_every = look_every
    with pytest.raises(InputError, match=r"run: the loss is (nan|inf) in epoch 7, batch 3; is"):
        stepper.run(batches(6, 3, value), rng, place="run", epoch=7)
    for ours, theirs in zip(model.parameters(), good.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_infinite_loss_with_finite_gradients_changes_nothing() -> None:
    model, stepper = make_stepper()
    before = [parameter.clone() for parameter in model.parameters()]
    infinite = torch.tensor(math.inf)
    stepper.loss = lambda batch, rng: sum(  # type: ignore[assignment,method-assign]
        (parameter.sum() for parameter in model.parameters()), infinite
    )
    loss = stepper.step(next(batches(1)), np.random.default_rng(0))
    assert loss.item() == math.inf
    for ours, theirs in zip(model.parameters(), before, strict=True):
        assert torch.equal(ours, theirs)


def test_a_broken_gradient_of_another_worker_counts() -> None:
    """The loss here is finite; averaging with the others made the gradients NaN."""
    model, stepper = make_stepper()
    before = [parameter.clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: gradient * math.nan)
    assert stepper.step(next(batches(1)), np.random.default_rng(0)).isnan()
    for ours, theirs in zip(model.parameters(), before, strict=True):
        assert torch.equal(ours, theirs)


def test_the_mean_is_that_of_every_loss() -> None:
    found = []
    for look_every in (1, 3):
        torch.manual_seed(0)
        _, stepper = make_stepper()
        stepper.read_every = look_every
        torch.manual_seed(0)
        found.append(stepper.run(batches(7), np.random.default_rng(0), place="run", epoch=1))
    assert found[0] == found[1]
    assert found[0][1] == 7 * 8


def test_the_optimizer_is_the_thesis_s() -> None:
    model, _ = make_stepper()
    (group,) = build_optimizer(model, TrainConfig()).param_groups
    assert (group["amsgrad"], group["lr"], group["weight_decay"]) == (True, 1e-3, 1e-5)
    assert group["fused"]
