"""How much work a training is, from its configuration alone: no weights, no data, no clock.

Counted are the multiplications and additions of matrix products, as `torch.utils.flop_counter`
counts them; norms, dropout and the loss are left out. The same configuration has the same work on
any machine, so what is decided by it is decided the same again (tune.search.pruning).
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hmtas.config import Config
from hmtas.model.reach import SMALLEST_BLOCK
from hmtas.model.steps import rates_of


class DataShape(NamedTuple):
    """What the size of a model owes to its store."""

    streams: Mapping[str, int]  # name to width, those that a model excludes among them
    num_actions: int
    rate_hz: float = 1.0  # rows per second

    def of(self, config: Config) -> "DataShape":
        """What a model uses of it."""
        excluded = config.model.exclude_streams
        used = {name: width for name, width in self.streams.items() if name not in excluded}
        return self._replace(streams=used)

    @property
    def width(self) -> int:
        """Of the streams side by side."""
        return sum(self.streams.values())

    @property
    def num_outputs(self) -> int:
        """C, background and actions."""
        return self.num_actions + 1


class Forward(NamedTuple):
    """Floating-point operations (FLOP) of the forward pass for one row that is labelled."""

    first: float  # of layers on the embeddings, which need no gradient
    rest: float

    @property
    def training(self) -> float:
        """Forwards, then backwards as much again for the weights and for what went in."""
        return 2 * self.first + 3 * self.rest


def epoch_flop(config: Config, shape: DataShape) -> float:
    """FLOP of one epoch of training per row of the training games; each row is labelled once.

    Raises:
        InputError: If a model that labels steps does not fit the rate of the rows.
    """
    return config.train.windows_share * forward_flop(config, shape).training


def forward_flop(config: Config, shape: DataShape) -> Forward:
    """FLOP of the forward pass of training for one row: its window, or its share of a context."""
    return FORWARD[config.model.kind](config, shape.of(config))


def _fcnn(config: Config, shape: DataShape) -> Forward:
    return Forward(_linear(shape.width, shape.num_outputs), 0)


def _encoder(config: Config, shape: DataShape) -> Forward:
    head = _linear(config.model.width, shape.num_outputs)
    return Forward(_window_rows(config, shape), _pooled(config, config.train.seq_len) + head)


def _hierarchy(config: Config, shape: DataShape) -> Forward:
    num_streams = len(shape.streams)
    encoders = num_streams * _pooled(config, config.train.seq_len) + _pooled(config, num_streams)
    num_heads = 1 + num_streams * config.model.stream_heads
    heads = num_heads * _linear(config.model.width, shape.num_outputs)
    return Forward(_window_rows(config, shape), encoders + heads)


def _dense(config: Config, shape: DataShape) -> Forward:
    model, context, num_streams = config.model, config.train.context, len(shape.streams)
    length, margin = _in_rows(context.context_s, shape), _in_rows(context.margin_s, shape)
    # Of the margins only what the encoder of the fused sequence reads is encoded to the end.
    unread = max(0, margin - model.sequence_layers * _reach(config, shape))
    fused, labelled = length - 2 * unread, length - 2 * margin
    streams = num_streams * _reach_encoder(config, shape, model.num_layers, length, fused)
    sequence = _reach_encoder(config, shape, model.sequence_layers, fused, labelled)
    row = (streams + fused * _pooled(config, num_streams) + sequence) / length
    return _in_contexts(config, shape, row, num_heads=1 + num_streams * model.stream_heads)


def _conv(config: Config, shape: DataShape) -> Forward:
    model = config.model
    num_blocks = model.num_layers * _reach(config, shape).bit_length()  # dilations 1, 2, 4 ...
    block = _linear(3 * model.width, model.width) + _linear(model.width, model.width)
    return _in_contexts(config, shape, num_blocks * block, num_heads=1)


FORWARD: dict[str, Callable[[Config, DataShape], Forward]] = {
    "fcnn": _fcnn,
    "encoder": _encoder,
    "hierarchy": _hierarchy,
    "dense": _dense,
    "conv": _conv,
}


def _linear(num_in: float, num_out: float) -> float:
    """A matrix product of one row."""
    return 2 * num_in * num_out


def _layer(config: Config, num_seen: float) -> float:
    """An encoder layer for one token: query, key, value, output and feed-forward; attention."""
    width = config.model.width
    return (4 + 2 * config.model.widening) * _linear(width, width) + 2 * _linear(width, num_seen)


def _reach_encoder(
    config: Config, shape: DataShape, num_layers: int, num_rows: int, num_read: int
) -> float:
    """Layers over some rows; the last one ends after the attention where nobody reads a row."""
    if not num_layers:
        return 0
    width = config.model.width
    after = (1 + 2 * config.model.widening) * _linear(width, width)
    whole = num_layers * num_rows * _reach_layer(config, shape, num_rows)
    return whole - (num_rows - num_read) * after


def _reach_layer(config: Config, shape: DataShape, length: int) -> float:
    """A layer of local attention for one of so many rows (hmtas.model.reach).

    A block of rows attends to itself and a reach at each side; the last one is filled up.
    """
    reach = _reach(config, shape)
    block = min(max(reach, SMALLEST_BLOCK), length)
    filled = math.ceil(length / block) * block / length
    return _layer(config, filled * (block + 2 * reach))


def _pooled(config: Config, num_tokens: int) -> float:
    """An encoder of the thesis; one that takes the batch for the sequence attends to that."""
    seen = num_tokens if config.model.attention == "time" else config.train.batch_size
    return config.model.num_layers * num_tokens * _layer(config, seen)


def _window_rows(config: Config, shape: DataShape) -> float:
    """The projection of a window's rows; a chunk of n windows projects n + L - 1 rows once."""
    train = config.train
    num_windows = max(1, train.chunk_windows)
    rows = (num_windows + train.seq_len - 1) / num_windows
    return rows * _linear(shape.width, config.model.width)


def _reach(config: Config, shape: DataShape) -> int:
    """How many rows a model of contexts sees to each side."""
    return max(1, _in_rows(config.model.reach_s, shape))


def _in_rows(seconds: float, shape: DataShape) -> int:
    return round(seconds * shape.rate_hz)


def _in_contexts(config: Config, shape: DataShape, row: float, num_heads: int) -> Forward:
    """Rows of a context, its margins among them, and the heads of those that are labelled."""
    model, context = config.model, config.train.context
    rows = context.context_s / (context.context_s - 2 * context.margin_s)
    num_outputs = num_heads * shape.num_outputs + model.displacement * shape.num_actions
    steps = rates_of(model, shape.rate_hz).steps_per_row
    projection = _linear(shape.width, model.width)
    return Forward(rows * projection, rows * row + steps * _linear(model.width, num_outputs))
