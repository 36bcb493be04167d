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
from hmtas.model.loss import hmtas_loss
from hmtas.training.batches import Batch, mix_up

READ_LOSSES_EVERY = 100  # steps between two looks at the losses of a GPU; on a CPU a look is free


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    """AMSGrad (Section 5.3), all parameters in one kernel."""
    return torch.optim.Adam(
        model.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        amsgrad=True,
        fused=True,
    )


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
    ) -> None:
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
        for batch in batches:
            losses.append(self.step(batch, rng))
            num_windows += len(batch.target_BC)
            if len(losses) == self.read_every:
                seen += self._read_losses(losses, len(seen), place, epoch)
                losses = []
        seen += self._read_losses(losses, len(seen), place, epoch)
        return float(np.mean(seen)), num_windows

    def step(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """One step; returns the loss, on the device, NaN or infinite where it was not taken."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch.to(self.device), rng)
        # A loss can be infinite and its gradient finite; times NaN none is.
        loss.backward(torch.where(loss.isfinite(), 1.0, torch.nan))  # type: ignore[no-untyped-call]
        assert self._gradient_probe.grad is not None
        self.broken.copy_(
            self.broken.maximum(1 - self._gradient_probe.grad.isfinite().all().float())
        )
        self.optimizer.step()
        loss = loss.detach()
        return torch.where((self.broken > 0) & loss.isfinite(), torch.nan, loss)

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Equation 4.3 of one batch on the device."""
        train = self.config
        if train.mixup_alpha > 0:
            batch = mix_up(batch, train.mixup_alpha, rng)
        cast = (
            torch.autocast(self.device.type, torch.bfloat16)
            if train.precision == "bf16"
            else contextlib.nullcontext()
        )
        with cast:
            seq_len = train.seq_len if train.chunk_windows else None
            logits = self.model(batch.x, batch.present_BE, seq_len)
        return hmtas_loss(
            type(logits)(*(part.float() for part in logits)),
            batch.target_BC,
            gamma=train.gamma,
            weight_C=self.weight_C,
            present_BE=batch.present_by_window,
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
