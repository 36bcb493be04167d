"""Complete configurations: the ladder of thesis Table 5.2, its next rungs, and a small one."""

from typing import Any, NamedTuple

from hmtas.config import ClassWeights, Config, ModelConfig, TrainConfig
from hmtas.errors import InputError, did_you_mean

AUDIO = ("vggish",)
UNWEIGHTED = ClassWeights(default=1.0, by_action={})

# Average precision of m7, in percent, on the test split (Table 5.5).
THESIS_PER_ACTION = {
    "Penalty": 80.25,
    "Kick-off": 57.26,
    "Goal": 76.90,
    "Substitution": 47.57,
    "Offside": 52.94,
    "Shots on target": 53.33,
    "Shots off target": 52.74,
    "Clearance": 53.95,
    "Ball out of play": 73.92,
    "Throw-in": 69.61,
    "Foul": 69.11,
    "Indirect free-kick": 43.66,
    "Direct free-kick": 58.86,
    "Corner": 76.83,
    "Yellow card": 51.33,
    "Red card": 21.47,
    "Yellow->red card": 34.02,
}
# Validation loss of each stream's own head (Table 5.6).
THESIS_STREAM_LOSSES = {
    "tpn": 0.0926,
    "gta": 0.0870,
    "vtn": 0.0797,
    "ircsn": 0.1100,
    "i3d_slow": 0.0976,
    "vggish": 0.1372,
}


class Preset(NamedTuple):
    """A named configuration and what the thesis says of it."""

    config: Config
    title: str
    thesis_tight: float | None  # tight Average-mAP on the test split, %, Table 5.2


_FCNN = ModelConfig(kind="fcnn", exclude_streams=AUDIO)
_ONE_STREAM = ModelConfig(kind="encoder", exclude_streams=AUDIO)
_VISUAL = ModelConfig(stream_heads=False, exclude_streams=AUDIO)
_AUDIO_TOO = ModelConfig(stream_heads=False)
# Without intermediate supervision the whole loss is the fused one: gamma 1 (Equation 4.3).
_PLAIN = TrainConfig(gamma=1.0, class_weights=UNWEIGHTED)
_WEIGHTED = TrainConfig(gamma=1.0)
# Beyond the thesis: every second of a long context is labelled, and spots, not a loss, choose the
# epoch. Rare actions weigh more, by how rare they are.
_LONG: dict[str, Any] = {
    "kind": "dense",
    "stream_dropout": 0.2,
    "fusion_dropout": 0.2,
    "head_dropout": 0.2,
    "class_weights.scale": 8.0,
    "class_weights.power": 0.3,
    "batch_size": 16,
    "learning_rate": 5e-4,
    "stop_on": "mean",
    "stop_windows": "fitted",
    "patience": 4,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "clip_norm": 1.0,
}
# A displacement that weighs more, or is learned further away, costs more than it brings.
_FINER = {
    **_LONG,
    "output_rate_hz": 2,
    "displacement": True,
    "displacement_weight": 0.02,
    "displacement_radius_s": 3.0,
}
_CALM: dict[str, Any] = {"schedule": "cosine", "warmup_epochs": 0.5, "ema_decay": 0.99}
_BALANCED = {"mixup_alpha": 0.2, "mixup_partner": "balanced"}
_CONV: dict[str, Any] = {
    "kind": "conv",
    "width": 128,
    "num_layers": 1,
    "reach_s": 63.0,
    "context_s": 256.0,
    "encoder_dropout": 0.2,
    "gamma": 1.0,
    "learning_rate": 3e-3,
}

PRESETS = {
    "m0": Preset(
        Config(model=_FCNN, train=_PLAIN.model_copy(update={"seq_len": 7})),
        "FCNN on the concatenated visual embeddings, L = 7",
        39.89,
    ),
    "m1": Preset(Config(model=_FCNN, train=_PLAIN), "m0 with L = 3", 42.59),
    "m2": Preset(
        Config(model=_ONE_STREAM.model_copy(update={"num_layers": 1}), train=_PLAIN),
        "one transformer encoder layer",
        50.02,
    ),
    "m3": Preset(Config(model=_ONE_STREAM, train=_PLAIN), "two encoder layers", 50.11),
    "m4": Preset(Config(model=_VISUAL, train=_PLAIN), "a stream per embedding", 50.52),
    "m5": Preset(Config(model=_VISUAL, train=_WEIGHTED), "m4 with class weights", 55.05),
    "m6": Preset(Config(model=_AUDIO_TOO, train=_WEIGHTED), "m5 with audio", 56.77),
    "m7": Preset(Config(), "m6 with intermediate supervision: HMTAS", 57.28),
    "m8": Preset(Config().updated(_LONG), "m7 over a long context, trained for spots", None),
    "m9": Preset(Config().updated(_FINER), "m8 at 2 Hz with displacement", None),
    "m10": Preset(
        Config().updated({**_FINER, **_CALM, **_BALANCED}),
        "m9 with a schedule, averaged weights and balanced mix-up",
        None,
    ),
    "conv": Preset(
        Config().updated({**_LONG, **_CALM, **_CONV}),
        "dilated convolutions over a long context",
        None,
    ),
    "smoke": Preset(
        Config(
            model=ModelConfig(width=32, num_heads=4, num_layers=1, widening=2, stream_dropout=0.1,
                              fusion_dropout=0.1, head_dropout=0.1),
            train=TrainConfig(batch_size=256, learning_rate=2e-3, max_epochs=4),
        ),
        "m7 made small, for trying things out",
        None,
    ),
}  # fmt: skip


def preset(name: str) -> Config:
    """The configuration of a preset.

    Raises:
        InputError: If there is no such preset.
    """
    if name not in PRESETS:
        known = f"the presets are {', '.join(PRESETS)}"
        raise InputError(f"unknown preset {name!r}{did_you_mean(name, PRESETS)}; {known}")
    return PRESETS[name].config
