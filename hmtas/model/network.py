"""HMTAS, the hierarchical multimodal transformer, and the baselines M0 to M3.

Thesis Section 4.1, Figure 4.1 and Table 5.2. Architecture only: no loss, no data, no device.
Outputs are logits; see `hmtas.model.loss`. Shape letters as in `hmtas.records`, and R for rows: the
axes of the input up to its features. The models that label steps are in `hmtas.model.steps`.

Every model of windows works in two parts, so that overlapping windows can share the first:
`project` maps single rows, `encode` maps windows of projected rows to logits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hmtas.config import ModelConfig
from hmtas.model.sync_norm import SyncedBatchNorm1d


class Logits(NamedTuple):
    """Scores before the sigmoid, so that the loss stays finite."""

    fused_BC: Tensor
    streams_BEC: Tensor  # E is 0 for a model without stream heads
    shift_BA: Tensor | None = None  # displacements, seconds from the step to the event

    def map(self, change: Callable[[Tensor], Tensor]) -> "Logits":
        """Each part changed alike."""
        shift = None if self.shift_BA is None else change(self.shift_BA)
        return Logits(change(self.fused_BC), change(self.streams_BEC), shift)

    @classmethod
    def join(cls, parts: Sequence["Logits"]) -> "Logits":
        """Those of several batches, one after the other."""
        shifts = [part.shift_BA for part in parts if part.shift_BA is not None]
        return cls(
            torch.cat([part.fused_BC for part in parts]),
            torch.cat([part.streams_BEC for part in parts]),
            torch.cat(shifts) if shifts else None,
        )


class SpottingModel(nn.Module, ABC):
    """Classify windows, or the steps of contexts."""

    @abstractmethod
    def forward(
        self,
        x: Mapping[str, Tensor],
        present_BE: Tensor | None = None,
        seq_len: int | None = None,
    ) -> Logits:
        """Map samples {stream: (K, S, F)} to logits; see the two kinds of models."""


class WindowModel(SpottingModel):
    """Classify the window of L rows around a moment."""

    @abstractmethod
    def project(
        self, x: Mapping[str, Tensor], present_BE: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Map {stream: (R, F)} to {name: (R, D)}, each row by itself (in evaluation mode)."""

    @abstractmethod
    def encode(self, rows: Mapping[str, Tensor], present_BE: Tensor | None = None) -> Logits:
        """Map {name: (B, L, D)} to logits; `present_BE` is False where a stream is missing."""

    def forward(
        self,
        x: Mapping[str, Tensor],
        present_BE: Tensor | None = None,
        seq_len: int | None = None,
    ) -> Logits:
        """Map windows {stream: (B, L, F)}, or chunks of consecutive rows, to logits.

        Chunks, {stream: (K, S, F)} with `seq_len`, give the logits of every window inside them,
        B = K * (S - L + 1), chunk by chunk; each row is projected once. In training the batch
        statistics of the projections are then over the rows of the chunks, each counted once,
        and not over the rows of the windows.

        Args:
            x: A tensor for every stream; the rows of a missing one do not matter.
            present_BE: (B, E) or (K, E) bool, None where every stream is present.
            seq_len: L, where `x` holds chunks; None where it holds windows.

        Raises:
            KeyError: If a stream of the model is not in `x`.
            ValueError: If the chunks are shorter than a window.
        """
        rows = self.project(x, present_BE)
        if seq_len is not None:
            rows = {name: unfold_windows(value, seq_len) for name, value in rows.items()}
            if present_BE is not None:
                num_chunks, num_windows = len(present_BE), len(next(iter(rows.values())))
                present_BE = present_BE.repeat_interleave(num_windows // num_chunks, dim=0)
        return self.encode(rows, present_BE)


class Projection(nn.Module):
    """Linear without bias, BatchNorm, ReLU on single rows (Section 4.1.1)."""

    def __init__(self, num_features: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, width, bias=False)
        self.norm = SyncedBatchNorm1d(width)

    def forward(self, x: Tensor, present_B: Tensor | None = None) -> Tensor:
        """Map (R, F) to (R, D); windows that lack the stream stay out of the batch statistics."""
        if present_B is not None and x.device.type != "cpu":
            return self.masked(x, present_B)
        if present_B is None or bool(present_B.all()):
            rows: Tensor = self.linear(x)
            normed: Tensor = self.norm(rows.flatten(end_dim=-2))
            return normed.relu().view_as(rows)
        rows = x.new_zeros(*x.shape[:-1], self.linear.out_features)
        if present_B.sum() >= self._fewest():
            rows[present_B] = self(x[present_B]).to(rows.dtype)
        return rows

    def masked(self, x: Tensor, present_B: Tensor) -> Tensor:
        """The same without a look at which are present, for which a GPU's host would wait.

        The rows of the others must be finite, as zeros are.
        """
        present_B = present_B & (present_B.sum() >= self._fewest())
        rows: Tensor = self.linear(x)
        present = present_B.view(-1, *[1] * (x.dim() - 1)).expand(*x.shape[:-1], 1)
        normed: Tensor = self.norm(rows.flatten(end_dim=-2), present.flatten())
        return normed.relu().view_as(rows).masked_fill(~present, 0.0)

    def _fewest(self) -> int:
        """BatchNorm trains on two samples or more; workers that train together may have none."""
        return 0 if self.norm.is_synced else 2 if self.training else 1


class Encoder(nn.Module):
    """Dropout and encoder layers over axis 1 of (B, tokens, D), then the maximum over tokens.

    Post-norm, ReLU, no positional encoding (Sections 3.4 and 4.1.2). `attention="batch"` repeats
    the mistake of the thesis's code, whose layers took the batch for the sequence.
    """

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        # Separate layers: nn.TransformerEncoder copies one, with its initial weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                d_model=config.width,
                nhead=config.num_heads,
                dim_feedforward=config.widening * config.width,
                dropout=config.encoder_dropout,
                batch_first=config.attention == "time",
            )
            for _ in range(config.num_layers)
        )
        self.sees_tokens = config.attention == "time"

    def forward(self, x_BKD: Tensor, missing_BK: Tensor | None = None) -> Tensor:
        """Map K tokens to one (B, D); a missing token is neither attended to nor pooled."""
        x_BKD = self.dropout(x_BKD)
        mask = missing_BK if self.sees_tokens else None
        for layer in self.layers:
            x_BKD = layer(x_BKD, src_key_padding_mask=mask)
        if missing_BK is not None:
            x_BKD = x_BKD.masked_fill(missing_BK.unsqueeze(-1), -torch.inf)
        return x_BKD.amax(dim=1)


class HMTAS(WindowModel):
    """A transformer per stream, one over the streams in the order of `num_features` (M4 to M7)."""

    def __init__(
        self, num_features: Mapping[str, int], num_outputs: int, config: ModelConfig
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(
            {name: Projection(f, config.width) for name, f in num_features.items()}
        )
        self.encoders = nn.ModuleDict(
            {name: Encoder(config, config.stream_dropout) for name in num_features}
        )
        self.fusion = Encoder(config, config.fusion_dropout)
        self.head = build_head(config, num_outputs)
        self.stream_heads = nn.ModuleDict(
            {name: build_head(config, num_outputs) for name in num_features}
            if config.stream_heads
            else {}
        )

    def project(
        self, x: Mapping[str, Tensor], present_BE: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Map every stream by its own projection."""
        return {
            name: projection(x[name], None if present_BE is None else present_BE[:, i])
            for i, (name, projection) in enumerate(self.projections.items())
        }

    def encode(self, rows: Mapping[str, Tensor], present_BE: Tensor | None = None) -> Logits:
        """Encode each stream to a token, then the tokens to one vector (Figure 4.1)."""
        tokens = [encoder(rows[name]) for name, encoder in self.encoders.items()]
        tokens_BED = torch.stack(tokens, dim=1)
        missing_BE = None if present_BE is None else ~present_BE
        if missing_BE is not None:
            tokens_BED = tokens_BED.masked_fill(missing_BE.unsqueeze(-1), 0.0)
        fused_BC: Tensor = self.head(self.fusion(tokens_BED, missing_BE))
        heads = [head(tokens[i]) for i, head in enumerate(self.stream_heads.values())]
        no_heads_BEC = fused_BC.new_empty(len(fused_BC), 0, fused_BC.shape[-1])
        return Logits(fused_BC, torch.stack(heads, dim=1) if heads else no_heads_BEC)


class SingleStream(WindowModel):
    """One stream of all embeddings side by side (M0 to M3); a missing embedding is zeros.

    `fcnn` takes the maximum over the window and one linear layer, `encoder` puts a projection
    and a transformer before them.
    """

    def __init__(
        self, num_features: Mapping[str, int], num_outputs: int, config: ModelConfig
    ) -> None:
        super().__init__()
        self.names = tuple(num_features)
        width = sum(num_features.values())
        self.projection: nn.Module = nn.Identity()
        self.encoder: Encoder | None = None
        if config.kind == "encoder":
            self.projection = Projection(width, config.width)
            self.encoder = Encoder(config, config.stream_dropout)
            width = config.width
        self.head = nn.Sequential(nn.Dropout(config.head_dropout), nn.Linear(width, num_outputs))

    def project(
        self, x: Mapping[str, Tensor], present_BE: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Put the embeddings side by side and project them together."""
        return {"all": self.projection(torch.cat([x[name] for name in self.names], dim=-1))}

    def encode(self, rows: Mapping[str, Tensor], present_BE: Tensor | None = None) -> Logits:
        """Pool the window; an `fcnn` pools the embeddings themselves."""
        rows_BLD = rows["all"]
        pooled_BD = rows_BLD.amax(dim=1) if self.encoder is None else self.encoder(rows_BLD)
        fused_BC: Tensor = self.head(pooled_BD)
        return Logits(fused_BC, fused_BC.new_empty(len(fused_BC), 0, fused_BC.shape[-1]))


def unfold_windows(x_KSD: Tensor, seq_len: int) -> Tensor:
    """Every window inside each chunk: (K, S, D) to (K * (S - L + 1), L, D).

    Raises:
        ValueError: If the chunks are shorter than a window.
    """
    if x_KSD.shape[1] < seq_len:
        raise ValueError(f"chunks of {x_KSD.shape[1]} rows hold no window of {seq_len}")
    num_windows = x_KSD.shape[1] - seq_len + 1
    # Slices, not `unfold`: forwards and backwards they take half the time.
    rows = [x_KSD[:, row : row + num_windows] for row in range(seq_len)]
    return torch.stack(rows, dim=2).flatten(0, 1)


def build_head(config: ModelConfig, num_outputs: int) -> nn.Sequential:
    """Dropout and a linear layer from (B, D) to (B, C) logits (Section 4.1.3)."""
    return nn.Sequential(nn.Dropout(config.head_dropout), nn.Linear(config.width, num_outputs))
