"""The processes that fit one network together. Plain torch; who adds up is told from outside."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hmtas.runs import EpochRecord


@dataclass(frozen=True, kw_only=True)
class Team:
    """This process among those that fit one network; the default is to be alone.

    Every process holds the whole network, takes its share of the rows of each batch, and steps by
    the gradient of the whole batch. So all of them must call the same methods in the same order.

    Attributes:
        rank: From 0.
        size: Number of processes.
        add_up: Replaces a tensor by its sum over all processes, to the same bits on each.
        device: Where this process computes.
        report: Called in every process after every epoch.
    """

    rank: int = 0
    size: int = 1
    add_up: Callable[[Tensor], object] = lambda values: None
    device: torch.device | str = "cpu"
    report: Callable[[EpochRecord], None] = lambda entry: None

    def share(self, rows: Tensor) -> Tensor:
        """The rows of this process; no two shares differ by more than one row."""
        return rows[self.rank :: self.size]

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        values = torch.tensor([value], dtype=torch.float64, device=self.device)
        self.add_up(values)
        return values.item()

    def add_up_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its sum over all processes, in one meeting.

        A process without rows has no gradients: they count as 0.
        """
        if self.size == 1:
            return
        parameters = list(model.parameters())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.add_up(flat)
        parts = torch.split(flat, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
