"""Names in settings that a store must have: its streams, and its actions.

Splits are looked up where their games are asked for (`EmbeddingStore.games`).
"""

from collections.abc import Iterator, Sequence

from hmtas.config import Config
from hmtas.errors import InputError, did_you_mean, join_problems
from hmtas.presets import PRESETS
from hmtas.store.local import EmbeddingStore


def check_names(config: Config, store: EmbeddingStore) -> None:
    """Refuse settings of a stream or an action that a store does not have: misspelt, most likely.

    What the presets say of the thesis's own streams and actions may stand: it has no effect where
    a store has others.

    Raises:
        InputError: With every such name.
    """
    known: dict[str, Sequence[str]] = {"stream": tuple(store.streams), "action": store.actions}
    problems, kinds = [], {}
    for place, kind, name in _named_by_hand(config):
        if name not in known[kind]:
            problems.append(f"{place}: no {kind} {name!r}{did_you_mean(name, known[kind])}")
            kinds[kind] = f"the {kind}s {', '.join(known[kind])}"
    if problems:
        has = " and ".join(kinds.values())
        raise InputError(f"bad settings: {join_problems(problems)}; {store.place} has {has}")


def _named_by_hand(config: Config) -> Iterator[tuple[str, str, str]]:
    """Names that no preset has with this value: the setting, the kind of name, and the name."""
    presets = {name for one in PRESETS.values() for name in one.config.model.exclude_streams}
    for name in config.model.exclude_streams:
        if name not in presets:
            yield "model.exclude_streams", "stream", name
    default, tables = Config().flat(), config.flat()
    for place in ("train.class_weights.by_action", "spotting.windows_s", "spotting.nms"):
        table, usual = tables[place], default[place]
        for name, value in table.items() if isinstance(table, dict) else ():
            if not isinstance(usual, dict) or usual.get(name) != value:
                yield place, "action", name
