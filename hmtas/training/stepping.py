"""Optimizer steps that never wait for the device, and never take a broken gradient.

A loss that is not finite makes every gradient NaN, on all workers once these are averaged. From
then on the fused optimizer skips its steps on the device itself, so that the weights stay what
they were although the program looks at the losses of a GPU only now and then.
"""

import contextlib
import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from hmtas.config import TrainConfig
from hmtas.errors import DivergedError
from hmtas.model.loss import training_loss
from hmtas.training.averaging import WeightAverage
from hmtas.training.batches import Batch, mix_up

READ_LOSSES_EVERY = 100  # steps between two looks at the losses of a GPU; on a CPU a look is free
LAST_RATE = 0.01  # share of the learning rate that a schedule ends with


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AMSGrad (Section 5.3), or Adam with decoupled weight decay; all parameters in one kernel."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
    return torch.optim.Adam(
        model.parameters(),
        config.learning_rate,
        weight_decay=config.weight_decay,
        amsgrad=True,
        fused=True,
    )


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 1 over the whole training."""
    warm = config.warmup_epochs * steps_per_epoch
    if step <= warm:
        return config.learning_rate * step / warm
    if config.schedule == "constant":
        return config.learning_rate
    last = config.max_epochs * steps_per_epoch
    done = min(1.0, (step - warm) / max(last - warm, 1))
    left = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * (LAST_RATE + (1 - LAST_RATE) * left)


class Stepper:
    """Trains a model on one batch after the other; the model is in training mode, on `device`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        *,
        weight_C: Tensor,
        device: torch.device,
        seq_len: int | None = None,
        steps_per_epoch: int = 1,
        average: WeightAverage | None = None,
        count_missing: bool = False,
    ) -> None:
        """See `hmtas.model.network.SpottingModel` for `seq_len`, `training_loss` for the last."""
        self.count_missing = count_missing
        self.seq_len, self.steps_per_epoch, self.average = seq_len, steps_per_epoch, average
        self.model, self.optimizer, self.config = model, optimizer, config
        self.weight_C, self.device = weight_C, device
        self.read_every = 1 if device.type == "cpu" else READ_LOSSES_EVERY
        # Averaged over the workers like any other, so all see the same.
        self._gradient_probe = list(model.parameters())[-1]
        self.broken = torch.zeros((), device=device)  # 1 from the first broken step on
        # The fused kernels skip a step where this is not 0.
        optimizer.found_inf = self.broken  # type: ignore[attr-defined]

    def run(
        self, batches: Iterable[Batch], rng: np.random.Generator, *, place: str, epoch: int
    ) -> tuple[float, int]:
        """Take a step with each of some batches; place and epoch are for the message of an error.

        Returns:
            Mean loss, and how many windows there were.

        Raises:
            DivergedError: If a loss is not finite; the weights are those before that step.
        """
        losses: list[Tensor] = []
        seen: list[float] = []
        num_windows = 0
        for number, batch in enumerate(batches, 1 + (epoch - 1) * self.steps_per_epoch):
            losses.append(self.step(batch, rng, number))
            num_windows += len(batch.target_BC)
            if len(losses) == self.read_every:
                seen += self._read_losses(losses, len(seen), place, epoch)
                losses = []
        seen += self._read_losses(losses, len(seen), place, epoch)
        return float(np.mean(seen)), num_windows

    def step(self, batch: Batch, rng: np.random.Generator, number: int = 1) -> Tensor:
        """One step, the training's `number`-th.

        Returns:
            The loss, on the device, NaN or infinite where the step was not taken.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, number, self.steps_per_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch.to(self.device), rng)
        # A loss can be infinite and its gradient finite; times NaN none is.
        loss.backward(torch.where(loss.isfinite(), 1.0, torch.nan))  # type: ignore[no-untyped-call]
        assert self._gradient_probe.grad is not None
        self.broken.copy_(
            self.broken.maximum(1 - self._gradient_probe.grad.isfinite().all().float())
        )
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, number)
        loss = loss.detach()
        return torch.where((self.broken > 0) & loss.isfinite(), torch.nan, loss)

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Equation 4.3 of one batch on the device, and the loss of the displacements."""
        train = self.config
        if train.mixup_alpha > 0:
            batch = mix_up(batch, train.mixup_alpha, rng)
        cast = (
            torch.autocast(self.device.type, torch.bfloat16)
            if train.precision == "bf16"
            else contextlib.nullcontext()
        )
        with cast:
            logits = self.model(batch.x, batch.present_BE, self.seq_len)
        return training_loss(
            logits.map(Tensor.float),
            batch.target_BC,
            batch.shift_BA,
            train,
            weight_C=self.weight_C,
            present_BE=batch.present_by_window,
            count_missing=self.count_missing,
        )

    def _read_losses(
        self, losses: list[Tensor], before: int, place: str, epoch: int
    ) -> list[float]:
        """The losses as numbers, checked: the one wait for the device."""
        seen: list[float] = torch.stack(losses).tolist() if losses else []
        for number, loss in enumerate(seen, before + 1):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"{place}: the loss is {loss} in epoch {epoch}, batch {number}; "
                    f"is learning_rate {self.config.learning_rate} too high?"
                )
        return seen
