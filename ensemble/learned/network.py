"""Learned fusion: a transformer over the models' probabilities (thesis Figure 5.22), or less.

Difference from the thesis: it counts 902,571 parameters for four models of 17 actions. Its class
holds three Linear(68, 17) heads, of which the forward pass uses one; the two others never get a
gradient. Ours has the 900,225 parameters that act: 900,225 + 2 * 1,173 = 902,571. It also fitted
on train, validation and test games together; here the caller decides the games, and
`hmtas.scoring.games.check_fitting` refuses test games.
"""

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ensemble.stack.mean import EDGE
from hmtas.model.threads import torch_threads
from hmtas.model.windows import window_rows
from hmtas.validation import Frozen

SEQ_LEN = 3  # seconds t-1, t, t+1
PREDICT_BATCH = 512
NUM_THREADS = 1
"""The matrices are so small that threads wait for each other: on two busy cores one thread was five
times as fast as two. It also makes the sums, and so the weights, repeatable."""


class FusionConfig(Frozen):
    """The network and its training.

    The defaults fit eight models on eighty games in half a minute of one core: a narrower
    feed-forward, a share of the background rows, few and larger steps. Rows left out make actions
    look more frequent, which raises all probabilities as a class weight would. `thesis()` has the
    thesis's numbers, which take hours on a CPU.
    """

    kind: Literal["attention", "shared"] = "attention"
    num_layers: int = Field(default=3, ge=1)
    feedforward: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=256, ge=1)
    rows_share: float = Field(
        default=0.1, gt=0, le=1, description="share of the background rows seen in one epoch"
    )
    max_rows: int | None = Field(
        default=8_192, ge=1, description="most rows, of both kinds, seen in one epoch"
    )
    positive_weight: float = Field(default=1.0, gt=0, description="weight of every action")
    weights_by_action: dict[str, float] = Field(
        default_factory=dict, description="weights of single actions, in place of the above"
    )
    held_out_share: float = Field(
        default=0.1, ge=0, lt=1, description="share of the games that choose the epoch"
    )
    patience: int = Field(default=3, ge=1, description="epochs without improvement")
    seed: int = Field(default=0, ge=0)

    @classmethod
    def thesis(cls) -> "FusionConfig":
        """Figure 5.22 and Section 5.6: feed-forward 2048, 50 epochs over every row."""
        return cls(
            feedforward=2048,
            learning_rate=1e-3,
            epochs=50,
            batch_size=512,
            rows_share=1.0,
            max_rows=None,
            held_out_share=0.0,
        )

    @classmethod
    def small(cls) -> "FusionConfig":
        """Weights that all actions share."""
        return cls(kind="shared", learning_rate=1e-2, epochs=20)


class LearnedFusion(nn.Module):
    """Fuse M models' probabilities of the rows t-1, t and t+1 into logits of row t.

    Attention runs over the three rows of one moment, never over the batch. No dropout but the
    encoder's, no positional encoding: as in the thesis. There are M heads, which divide the width
    M * A evenly.
    """

    def __init__(self, num_models: int, num_actions: int, config: FusionConfig) -> None:
        super().__init__()
        width = num_models * num_actions
        layer = nn.TransformerEncoderLayer(
            d_model=width,
            nhead=num_models,
            dim_feedforward=config.feedforward,
            dropout=config.dropout,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config.num_layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, num_actions)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, M * A) probabilities to (B, A) logits."""
        logits: Tensor = self.head(self.encoder(x).amax(dim=1))
        return logits


class SharedFusion(nn.Module):
    """Fuse M models' logits of the rows t-1, t and t+1 by weights that all actions share.

    A logit of row t is the weighted sum of the 3 * M logits of its action, times a scale and plus
    an offset of the action: 3 * M + 2 * A parameters, where Figure 5.22 has hundreds of thousands.
    It begins as the mean of the models' logits.
    """

    def __init__(self, num_models: int, num_actions: int) -> None:
        super().__init__()
        weight = torch.zeros(SEQ_LEN, num_models, 1)
        weight[SEQ_LEN // 2] = 1 / num_models
        self.weight = nn.Parameter(weight)
        self.scale = nn.Parameter(torch.ones(num_actions))
        self.offset = nn.Parameter(torch.zeros(num_actions))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, M * A) probabilities to (B, A) logits."""
        least = 1 / (1 + math.exp(EDGE))
        logits = x.reshape(*x.shape[:2], self.weight.shape[1], -1).logit(least)
        fused: Tensor = (logits * self.weight).sum(dim=(1, 2)) * self.scale + self.offset
        return fused


Network = LearnedFusion | SharedFusion


def fuse(model: Network, stacked_MTA: np.ndarray) -> np.ndarray:
    """Probabilities of one half, (T, A) float32; every row has one, edge rows repeat."""
    x = features(stacked_MTA)
    neighbours = torch.from_numpy(window_rows(len(x), SEQ_LEN))
    model.eval()
    with torch_threads(NUM_THREADS), torch.inference_mode():
        parts = [
            model(x[neighbours[start : start + PREDICT_BATCH]]).sigmoid()
            for start in range(0, len(x), PREDICT_BATCH)
        ]
    fused: np.ndarray = torch.cat(parts).numpy()
    return fused


def build_fusion(num_models: int, num_actions: int, config: FusionConfig) -> Network:
    """A network of the shape that `config` asks for."""
    if config.kind == "shared":
        return SharedFusion(num_models, num_actions)
    return LearnedFusion(num_models, num_actions, config)


def features(stacked_MTA: np.ndarray) -> Tensor:
    """(T, M * A): the models' probabilities of one moment side by side."""
    rows = np.ascontiguousarray(stacked_MTA.transpose(1, 0, 2), dtype=np.float32)
    return torch.from_numpy(rows.reshape(len(rows), -1))
