"""Models that label every step of a long context: each second is encoded once.

The thesis names longer relationships as future work (Chapter 6). `DenseHMTAS` keeps its Figure 4.1
and pools nothing over time; `ConvStack` is the plain convolutional network to hold against it.
Shape letters as in `hmtas.records`, and K for contexts, S for the rows of one, n for those of them
that are labelled, k for the steps of a row.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmtas.config import ModelConfig
from hmtas.errors import InputError
from hmtas.model.dropout import Dropout, draw_cheaply
from hmtas.model.network import Encoder, Logits, SpottingModel
from hmtas.model.reach import ReachEncoder, ReachLayer, inner

PRIOR_LOGIT = -4.0  # of an action before training: most steps have none (Lin et al. 2017)


class Rates(NamedTuple):
    """Rows come in, steps are labelled, probabilities are stored: each so many a second."""

    rows_hz: float
    output_hz: float

    @property
    def steps_per_row(self) -> int:
        """k: more than 1 where more are stored than come in."""
        return max(1, round(self.output_hz / self.rows_hz))

    @property
    def steps_hz(self) -> float:
        """Steps per second."""
        return self.rows_hz * self.steps_per_row


def rates_of(config: ModelConfig, rows_hz: float) -> Rates:
    """The rates of a model that labels steps, on rows of some rate.

    Raises:
        InputError: If neither of the rates of rows and output divides the other.
    """
    output_hz = float(config.output_rate_hz or rows_hz)
    ratio = max(output_hz / rows_hz, rows_hz / output_hz)
    if abs(ratio - round(ratio)) > 1e-9:
        raise InputError(
            f"output_rate_hz ({output_hz:g}) and the store's {rows_hz:g} rows per second: one must "
            "be a multiple of the other; leave it unset for the store's own rate"
        )
    return Rates(rows_hz, output_hz)


class StepModel(SpottingModel):
    """What the models of contexts share: missing streams, and heads for every step."""

    def __init__(
        self, num_features: Mapping[str, int], num_outputs: int, config: ModelConfig, rates: Rates
    ) -> None:
        super().__init__()
        self.names = tuple(num_features)
        self.num_steps, self.num_outputs = rates.steps_per_row, num_outputs
        self.drop_streams = config.drop_streams
        self.head = _head(config, self.num_steps, num_outputs)
        prior_C = torch.full((num_outputs,), PRIOR_LOGIT)
        prior_C[0] = -PRIOR_LOGIT
        self.head[-1].bias = nn.Parameter(prior_C.repeat(self.num_steps))
        self.shift_head = (
            _head(config, self.num_steps, num_outputs - 1) if config.displacement else None
        )

    @abstractmethod
    def encode(
        self, x: Mapping[str, Tensor], present_KE: Tensor | None, margin: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Map {stream: (K, S, F)} to fused rows (K, n, D), and those of each supervised stream.

        n is S less a margin at each end.
        """

    def forward(
        self,
        x: Mapping[str, Tensor],
        present_BE: Tensor | None = None,
        seq_len: int | None = None,
    ) -> Logits:
        """Map contexts {stream: (K, S, F)} to logits of their steps, B = K * n * k.

        Args:
            x: A tensor for every stream; the rows of a missing one do not matter.
            present_BE: (K, E) bool, None where every stream is present.
            seq_len: Margins of floor(L / 2) rows at both ends are read and not labelled, as if
                each row were the middle of a window of L; None labels every row.
        """
        margin = 0 if seq_len is None else seq_len // 2
        present_KE = self.keep_streams(x[self.names[0]], present_BE)
        fused, streams = self.encode(x, present_KE, margin)
        logits = self.head(fused).reshape(-1, self.num_outputs)
        heads = [
            head(rows).reshape(-1, self.num_outputs)
            for head, rows in zip(self.supervised_heads(), streams, strict=False)
        ]
        none_BEC = logits.new_empty(len(logits), 0, self.num_outputs)
        return Logits(
            logits,
            torch.stack(heads, dim=1) if heads else none_BEC,
            None
            if self.shift_head is None
            else self.shift_head(fused).reshape(-1, self.num_outputs - 1),
        )

    def supervised_heads(self) -> list[nn.Module]:
        """A head for each stream, if there is intermediate supervision."""
        return []

    def keep_streams(self, x_KSF: Tensor, present_KE: Tensor | None) -> Tensor | None:
        """Leave streams of contexts out at random, in training; one stays wherever one was."""
        if not self.training or not self.drop_streams:
            return present_KE
        if present_KE is None:
            present_KE = x_KSF.new_ones(len(x_KSF), len(self.names), dtype=torch.bool)
        chance = torch.rand(present_KE.shape, device=present_KE.device)
        kept = present_KE & (chance >= self.drop_streams)
        return torch.where(kept.any(dim=1, keepdim=True), kept, present_KE)


class RowProjection(nn.Module):
    """Linear without bias, LayerNorm, ReLU on single rows.

    The thesis's projection has BatchNorm; a LayerNorm needs no statistics of a batch, so that a
    missing stream is masked without a look at the device, and workers need not talk.
    """

    def __init__(self, num_features: int, config: ModelConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, config.width, bias=False)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.stream_dropout)
        self.time_mask = config.time_mask
        self.mask_D = nn.Parameter(torch.zeros(config.width)) if config.time_mask else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., F) to (..., D); in training some rows become a learned vector."""
        rows: Tensor = self.dropout(self.norm(self.linear(x)).relu())
        if self.mask_D is None or not self.training:
            return rows
        chance = torch.rand(*rows.shape[:-1], 1, device=rows.device)
        return torch.where(chance < self.time_mask, self.mask_D.to(rows.dtype), rows)


class DenseHMTAS(StepModel):
    """A transformer per stream over the whole context, one over the streams of each second."""

    def __init__(
        self, num_features: Mapping[str, int], num_outputs: int, config: ModelConfig, rates: Rates
    ) -> None:
        super().__init__(num_features, num_outputs, config, rates)
        self.projections = nn.ModuleDict(
            {name: RowProjection(f, config) for name, f in num_features.items()}
        )
        self.encoders = nn.ModuleDict(
            {name: _sequence(config, config.num_layers, rates.rows_hz) for name in num_features}
        )
        self.fusion = Encoder(config, config.fusion_dropout)
        draw_cheaply(self.fusion)
        self.sequence = _sequence(config, config.sequence_layers, rates.rows_hz)
        self.sequence_reach = config.sequence_layers * _rows(config.reach_s, rates.rows_hz)
        self.stream_heads = nn.ModuleDict(
            {name: _head(config, self.num_steps, num_outputs) for name in num_features}
            if config.stream_heads
            else {}
        )

    def encode(
        self, x: Mapping[str, Tensor], present_KE: Tensor | None, margin: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode each stream over time, then the streams of each row (Figure 4.1).

        Of the margins only those rows are encoded to the end and fused that the encoder of the
        fused sequence reads.
        """
        unread = max(0, margin - self.sequence_reach)
        tokens = [
            self.encoders[name](self.projections[name](x[name]), unread) for name in self.names
        ]
        fused = self.fuse(torch.stack(tokens, dim=2), present_KE)
        left = margin - unread
        return self.sequence(fused, left), [inner(rows, left) for rows in tokens]

    def fuse(self, tokens_KSED: Tensor, present_KE: Tensor | None) -> Tensor:
        """Fuse the streams of every row: (K, S, E, D) to (K, S, D)."""
        length = tokens_KSED.shape[1]
        missing_BE = None
        if present_KE is not None:
            tokens_KSED = tokens_KSED.masked_fill(~present_KE[:, None, :, None], 0.0)
            missing_BE = (~present_KE).repeat_interleave(length, dim=0)
        fused: Tensor = self.fusion(tokens_KSED.flatten(0, 1), missing_BE)
        return fused.view(len(tokens_KSED), length, -1)

    def supervised_heads(self) -> list[nn.Module]:
        """Each stream's own head, in the order of the streams."""
        return list(self.stream_heads.values())


class ConvStack(StepModel):
    """Dilated residual convolutions over all embeddings side by side; a missing one is zeros.

    The dilations 1, 2, 4 ... of a pass see `reach_s` to each side, the last one being what is left
    of it; `num_layers` passes follow each other.
    """

    def __init__(
        self, num_features: Mapping[str, int], num_outputs: int, config: ModelConfig, rates: Rates
    ) -> None:
        super().__init__(num_features, num_outputs, config, rates)
        self.projection = RowProjection(sum(num_features.values()), config)
        reach = _rows(config.reach_s, rates.rows_hz)
        doubling = [2**i for i in range(reach.bit_length() - 1)]
        dilations = [*doubling, reach - sum(doubling)]
        self.blocks = nn.Sequential(
            *(
                DilatedBlock(config.width, dilation, config.encoder_dropout)
                for _ in range(config.num_layers)
                for dilation in dilations
            )
        )

    def encode(
        self, x: Mapping[str, Tensor], present_KE: Tensor | None, margin: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Put the embeddings side by side and convolve them over time."""
        parts = [x[name] for name in self.names]
        if present_KE is not None:
            parts = [
                part.masked_fill(~present_KE[:, i, None, None], 0.0) for i, part in enumerate(parts)
            ]
        return inner(self.blocks(self.projection(torch.cat(parts, dim=-1))), margin), []


class DilatedBlock(nn.Module):
    """A residual convolution of three rows, `dilation` apart, over (K, S, D)."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        # As one product over three shifted copies: faster than nn.Conv1d, forwards and backwards.
        self.taps = nn.Linear(3 * width, width)
        self.norm = nn.LayerNorm(width)
        self.point = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x_KSD: Tensor) -> Tensor:
        """Beyond the ends of a context there are zeros."""
        length, apart = x_KSD.shape[1], self.dilation
        padded = F.pad(x_KSD, (0, 0, apart, apart))
        taps = torch.cat([padded[:, :length], x_KSD, padded[:, 2 * apart :]], dim=-1)
        out: Tensor = x_KSD + self.dropout(self.point(self.norm(self.taps(taps)).relu()))
        return out


def _rows(seconds: float, rate_hz: float) -> int:
    return max(1, round(seconds * rate_hz))


def _sequence(config: ModelConfig, num_layers: int, rate_hz: float) -> ReachEncoder:
    layers = (
        ReachLayer(
            config.width,
            config.num_heads,
            config.widening,
            reach=_rows(config.reach_s, rate_hz),
            dropout=config.encoder_dropout,
        )
        for _ in range(num_layers)
    )
    return ReachEncoder(layers, config.width)


def _head(config: ModelConfig, num_steps: int, num_outputs: int) -> nn.Sequential:
    """Dropout and a linear layer to the outputs of every step of a row."""
    return nn.Sequential(
        Dropout(config.head_dropout), nn.Linear(config.width, num_steps * num_outputs)
    )
