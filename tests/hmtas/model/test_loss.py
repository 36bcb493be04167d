"""The loss is Equations 4.1 to 4.3, worked by hand."""

import math

import pytest
import torch

from hmtas.model.loss import hmtas_loss, weighted_nll
from hmtas.model.network import Logits


def test_weighted_nll_of_one_window_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0]])  # both probabilities are 1/2
    loss = weighted_nll(logits, torch.tensor([[1.0, 0.0]]), torch.tensor([10.0, 10.0]))
    # 1/C (w_1 ln 2 + ln 2): the weight falls on the positive class alone.
    assert loss.item() == pytest.approx((10 + 1) * math.log(2) / 2)


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        pytest.param(1.0, math.log(2), id="fused only"),
        pytest.param(0.0, 0.0, id="streams only"),
        pytest.param(0.7, 0.7 * math.log(2), id="the thesis's mixture"),
    ],
)
def test_gamma_mixes_fused_and_stream_losses(gamma: float, expected: float) -> None:
    sure = torch.full((1, 2, 1), -100.0)  # the streams are right, at no cost
    logits = Logits(fused_BC=torch.zeros(1, 1), streams_BEC=sure)
    loss = hmtas_loss(logits, torch.zeros(1, 1), gamma=gamma, weight_C=torch.ones(1))
    assert loss.item() == pytest.approx(expected)


def test_a_missing_stream_has_no_loss() -> None:
    streams = torch.tensor([[[0.0], [50.0]]])  # the second is wrong, and missing
    logits = Logits(fused_BC=torch.zeros(1, 1), streams_BEC=streams)
    loss = hmtas_loss(
        logits,
        torch.zeros(1, 1),
        gamma=0.5,
        weight_C=torch.ones(1),
        present_BE=torch.tensor([[True, False]]),
    )
    assert loss.item() == pytest.approx(math.log(2))


def test_a_certain_mistake_is_finite() -> None:
    loss = weighted_nll(torch.tensor([[200.0]]), torch.tensor([[0.0]]), torch.ones(1))
    assert loss.item() == pytest.approx(200.0)
