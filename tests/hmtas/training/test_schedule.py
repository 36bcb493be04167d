"""Learning rates, clipped gradients and averaged weights, by hand."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hmtas.config import TrainConfig
from hmtas.model.build import build_model
from hmtas.model.network import SpottingModel
from hmtas.runs.record import WEIGHTS
from hmtas.store.local import EmbeddingStore
from hmtas.training import loop
from hmtas.training.averaging import WeightAverage
from hmtas.training.batches import Batch
from hmtas.training.loop import fit
from hmtas.training.stepping import Stepper, build_optimizer, learning_rate
from tests.support.small import make_config

HALF_COSINE = 0.01 + 0.99 / 2


def rates(steps: list[int], **settings: object) -> list[float]:
    """Shares of the learning rate, of a training of 4 epochs with 10 steps each."""
    config = TrainConfig.model_validate({"max_epochs": 4, "learning_rate": 2.0, **settings})
    return [learning_rate(config, step, 10) / 2.0 for step in steps]


@pytest.mark.parametrize(
    ("settings", "steps", "expected"),
    [
        pytest.param({}, [1, 20, 40, 99], [1, 1, 1, 1], id="constant"),
        pytest.param({"warmup_epochs": 2}, [1, 10, 20, 21], [0.05, 0.5, 1, 1], id="warm-up"),
        pytest.param({"warmup_epochs": 0.25}, [1, 2, 3], [0.4, 0.8, 1], id="part of an epoch"),
        pytest.param({"schedule": "linear"}, [20, 40, 50], [0.505, 0.01, 0.01], id="linear"),
        pytest.param({"schedule": "cosine"}, [20, 40, 50], [HALF_COSINE, 0.01, 0.01], id="cosine"),
        pytest.param(
            {"schedule": "cosine", "warmup_epochs": 2},
            [10, 20, 30, 40],
            [0.5, 1, HALF_COSINE, 0.01],
            id="cosine after a warm-up",
        ),
    ],
)
def test_the_rate_of_a_step(
    settings: dict[str, object], steps: list[int], expected: list[float]
) -> None:
    assert rates(steps, **settings) == pytest.approx(expected)


def test_cosine_stays_above_linear_first_and_below_it_last() -> None:
    cosine, linear = (rates([10, 30], schedule=name) for name in ("cosine", "linear"))
    assert cosine[0] > linear[0]
    assert cosine[1] < linear[1]


def make_stepper(**settings: object) -> tuple[SpottingModel, Stepper]:
    config = make_config(kind="fcnn", gamma=1.0, **settings)
    torch.manual_seed(0)
    model = build_model({"a": 4}, 3, config.model).train()
    average = WeightAverage(model, config.train.ema_decay) if config.train.ema_decay else None
    return model, Stepper(
        model,
        build_optimizer(model, config.train),
        config.train,
        weight_C=torch.ones(3),
        device=torch.device("cpu"),
        steps_per_epoch=5,
        average=average,
    )


def make_batch() -> Batch:
    return Batch({"a": 100 * torch.ones(8, 3, 4)}, None, torch.ones(8, 3))


def norm_of(model: nn.Module) -> float:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return float(torch.stack([gradient.norm() for gradient in gradients]).norm())


def test_a_long_gradient_is_clipped_and_a_short_one_is_not() -> None:
    rng = np.random.default_rng(0)
    free, stepper = make_stepper()
    stepper.step(make_batch(), rng)
    length = norm_of(free)
    for limit, expected in [(length / 3, length / 3), (length * 3, length)]:
        model, stepper = make_stepper(clip_norm=limit)
        stepper.step(make_batch(), rng)
        assert norm_of(model) == pytest.approx(expected, rel=1e-4)


def test_steps_are_counted_over_epochs() -> None:
    _, stepper = make_stepper(schedule="linear", max_epochs=4, learning_rate=1.0)
    rng = np.random.default_rng(0)
    stepper.run([make_batch()] * 5, rng, place="run", epoch=2)
    (group,) = stepper.optimizer.param_groups
    assert group["lr"] == pytest.approx(0.01 + 0.99 / 2)  # step 10 of 20


class Weighted(SpottingModel):
    """One weight, one integer and one real buffer."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.register_buffer("real", torch.tensor([value]))
        self.register_buffer("count", torch.tensor(int(value)))

    forward = None  # type: ignore[assignment]


def test_an_average_by_hand() -> None:
    average = WeightAverage(Weighted(0.0), decay=0.3)
    average.update(Weighted(10.0), step=1)  # the share kept is 2 / 11 at first
    assert average.model.weight.item() == pytest.approx(10 * 9 / 11)
    average.update(Weighted(20.0), step=100)  # and then the decay
    assert average.model.weight.item() == pytest.approx(0.3 * 10 * 9 / 11 + 0.7 * 20)
    buffers = dict(average.model.named_buffers())
    assert (buffers["real"].item(), buffers["count"].item()) == (20.0, 20)


def test_the_average_lags_and_leaves_the_training_alone() -> None:
    rng = np.random.default_rng(0)
    alone, stepper = make_stepper(learning_rate=0.1)
    stepper.run([make_batch()] * 5, rng, place="run", epoch=1)
    model, stepper = make_stepper(learning_rate=0.1, ema_decay=0.9)
    assert stepper.average is not None
    start = [p.detach().clone() for p in model.parameters()]
    stepper.run([make_batch()] * 5, rng, place="run", epoch=1)
    followed = list(stepper.average.model.parameters())
    for first, mean, last, same in zip(
        start, followed, model.parameters(), alone.parameters(), strict=True
    ):
        assert torch.equal(last, same)
        assert 0 < (mean - first).norm() < (last - first).norm()
        assert mean.grad is None


def test_what_is_scored_and_saved_is_the_average(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[dict[str, torch.Tensor]] = []
    validate, trained = loop.validate, loop.WeightAverage.update

    def keep(model: SpottingModel, *arguments: object, **named: object) -> object:
        scored.append(copy.deepcopy(model.state_dict()))
        return validate(model, *arguments, **named)  # type: ignore[arg-type]

    last: list[dict[str, torch.Tensor]] = []

    def follow(self: WeightAverage, model: nn.Module, step: int) -> None:
        trained(self, model, step)
        last[:] = [copy.deepcopy(model.state_dict())]

    monkeypatch.setattr(loop, "validate", keep)
    monkeypatch.setattr(loop.WeightAverage, "update", follow)
    fit(store, make_config(max_epochs=1, ema_decay=0.9), tmp_path, name="run")
    saved = load_file(tmp_path / WEIGHTS)
    assert all(torch.equal(saved[name], scored[0][name]) for name in saved)
    weight = "head.1.weight"
    assert not torch.equal(saved[weight], last[0][weight])
