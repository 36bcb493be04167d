"""How much work a training is, from its configuration alone: no weights, no data, no clock.

Counted are the multiplications and additions of matrix products, as `torch.utils.flop_counter`
counts them; norms, dropout and the loss are left out. The same configuration has the same work on
any machine, so what is decided by it is decided the same again (tune.search.pruning).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hmtas.config import Config


class DataShape(NamedTuple):
    """What the size of a model owes to its store."""

    streams: Mapping[str, int]  # name to width, those that a model excludes among them
    num_actions: int
    rate_hz: float = 1.0  # rows per second


class Forward(NamedTuple):
    """Floating-point operations (FLOP) of the forward pass for one window."""

    first: float  # of layers on the embeddings, which need no gradient
    rest: float

    @property
    def training(self) -> float:
        """Forwards, then backwards as much again for the weights and for what went in."""
        return 2 * self.first + 3 * self.rest


def epoch_flop(config: Config, shape: DataShape) -> float:
    """FLOP of one epoch of training per row of the training games; each row has a window."""
    return config.train.windows_share * forward_flop(config, shape).training


def forward_flop(config: Config, shape: DataShape) -> Forward:
    """FLOP of the forward pass of training for one window."""
    excluded = config.model.exclude_streams
    widths = [width for name, width in shape.streams.items() if name not in excluded]
    return FORWARD[config.model.kind](config, widths, shape.num_actions + 1)


def _fcnn(config: Config, widths: Sequence[int], num_outputs: int) -> Forward:
    return Forward(_linear(sum(widths), num_outputs), 0)


def _encoder(config: Config, widths: Sequence[int], num_outputs: int) -> Forward:
    width = config.model.width
    window = _layers(config, config.train.seq_len) + _linear(width, num_outputs)
    return Forward(_projection(config, widths), window)


def _hierarchy(config: Config, widths: Sequence[int], num_outputs: int) -> Forward:
    width, num_streams = config.model.width, len(widths)
    encoders = num_streams * _layers(config, config.train.seq_len) + _layers(config, num_streams)
    num_heads = 1 + num_streams * config.model.stream_heads
    return Forward(_projection(config, widths), encoders + num_heads * _linear(width, num_outputs))


FORWARD: dict[str, Callable[[Config, Sequence[int], int], Forward]] = {
    "fcnn": _fcnn,
    "encoder": _encoder,
    "hierarchy": _hierarchy,
}


def _linear(num_in: int, num_out: int) -> int:
    """A matrix product of one row."""
    return 2 * num_in * num_out


def _projection(config: Config, widths: Sequence[int]) -> float:
    """Of the rows of a window; a chunk of n windows projects n + L - 1 rows once."""
    train = config.train
    num_windows = max(1, train.chunk_windows)
    rows = (num_windows + train.seq_len - 1) / num_windows
    return rows * _linear(sum(widths), config.model.width)


def _layers(config: Config, num_tokens: int) -> int:
    """All layers of one encoder: query, key, value, output and feed-forward; then attention."""
    model = config.model
    seen = num_tokens if model.attention == "time" else config.train.batch_size
    products = (4 + 2 * model.widening) * _linear(model.width, model.width)
    return model.num_layers * num_tokens * (products + 2 * _linear(model.width, seen))
