"""The model of a configuration."""

from collections.abc import Mapping

from torch import nn

from hmtas.config import ModelConfig
from hmtas.model.network import HMTAS, SingleStream, SpottingModel
from hmtas.model.steps import ConvStack, DenseHMTAS, rates_of


def build_model(
    num_features: Mapping[str, int], num_outputs: int, config: ModelConfig, rate_hz: float = 1.0
) -> SpottingModel:
    """The model of a configuration, with fresh weights from torch's generator.

    Args:
        num_features: Stream to F, in the order of Table 4.1.
        num_outputs: C, background and actions.
        config: Architecture.
        rate_hz: Rows per second; a model that labels steps has settings in seconds.

    Raises:
        InputError: If its output rate does not fit that.
    """
    if config.labels_steps:
        kind = DenseHMTAS if config.kind == "dense" else ConvStack
        return kind(num_features, num_outputs, config, rates_of(config, rate_hz))
    kind_of_windows = HMTAS if config.kind == "hierarchy" else SingleStream
    return kind_of_windows(num_features, num_outputs, config)


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
