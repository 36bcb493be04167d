"""A configuration as it is on a store: with its actions alone, each with an NMS window.

The presets hold numbers of the thesis for SoccerNet's actions. On a store that lacks some of them
those numbers say nothing, and actions that the thesis does not know have no window of it: theirs
come from the store (`hmtas.spotting.gaps`). Configurations become so before they are recorded or
compared.
"""

from hmtas.config import DEFAULT_WINDOW_S, THESIS_NMS_WINDOWS_S, Config
from hmtas.spotting.gaps import windows_by_gaps
from hmtas.store.local import EmbeddingStore
from hmtas.store.names import check_names


def on_store(config: Config, store: EmbeddingStore) -> Config:
    """Leave out class weights and windows of actions that a store lacks, and add missing windows.

    An action that neither the configuration nor the thesis has a window for gets
    `default_window_s` where that is set, else what the gaps between its events in the train games
    say. What comes out stays as it is when it is put in again; on a store with SoccerNet's actions
    nothing changes.

    Raises:
        InputError: If a setting names a stream or an action that the store lacks.
    """
    check_names(config, store)
    spotting, weights = config.spotting, config.train.class_weights
    windows_s = {name: w for name, w in spotting.windows_s.items() if name in store.actions}
    without = {*store.actions} - {*windows_s, *THESIS_NMS_WINDOWS_S}
    if without:
        given_s = spotting.default_window_s
        of_store = dict.fromkeys(store.actions, given_s) if given_s else _by_gaps(config, store)
        windows_s |= {name: of_store[name] for name in store.actions if name in without}
    return config.updated(
        {
            "spotting.windows_s": windows_s,
            "spotting.default_window_s": spotting.default_window_s or DEFAULT_WINDOW_S,
            "train.class_weights.by_action": {
                name: w for name, w in weights.by_action.items() if name in store.actions
            },
        }
    )


def _by_gaps(config: Config, store: EmbeddingStore) -> dict[str, float]:
    events = store.events_of(store.splits.get("train", ())).values()
    rate_hz = config.model.output_rate_hz or store.rate_hz
    windows_s = windows_by_gaps(events, len(store.actions), rate_hz)
    return dict(zip(store.actions, windows_s.tolist(), strict=True))
