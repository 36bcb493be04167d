"""The memory of a GPU that a training may take, from its configuration and its games.

An estimate from above, so that trainings that share a GPU do not meet its end: what a training
really takes is a matter of torch's allocator.
"""

import torch

from hmtas.config import Config
from hmtas.model.build import build_model, count_parameters
from hmtas.model.work import DataShape, forward_flop
from hmtas.store.local import EmbeddingStore
from hmtas.training.dataset import resident_bytes
from hmtas.training.games import plan_games
from hmtas.training.labels import labels_of

CONTEXT_BYTES = 2 * 2**30  # of CUDA, its libraries, and predictions of a half
OF_A_WEIGHT = 24  # bytes: weight, gradient, two or three moments, average, all in float32
OF_A_RESULT = 12  # bytes of each number that a product gives: itself, its norm, its dropout


def training_bytes(store: EmbeddingStore, config: Config) -> int:
    """Bytes on a GPU: its rows, which stay there, weights, and what a step keeps.

    Raises:
        InputError: If the configuration does not fit the store.
    """
    shape = DataShape(store.streams, len(store.actions), store.rate_hz)
    streams = shape.of(config).streams
    labels = labels_of(config, store.rate_hz)
    games = plan_games(store, config.train)
    rows = resident_bytes(store, store.halves_of(games.fitted), list(streams), labels)
    with torch.device("meta"):  # no weights, and no number of the generator's
        model = build_model(streams, shape.num_outputs, config.model, store.rate_hz)
    weights = OF_A_WEIGHT * count_parameters(model)
    layout = labels.layout
    at_once = labels.num_samples(config.train.batch_size) * layout.num_windows
    # A product of w numbers takes 2 w w operations or more.
    results = forward_flop(config, shape)
    step = OF_A_RESULT * at_once * (results.first + results.rest) / (2 * config.model.width)
    return int(CONTEXT_BYTES + rows + weights + step)
