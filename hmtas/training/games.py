"""How a run begins: its games (thesis Section 5.1), its streams and its record."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmtas import __version__
from hmtas.config import Config, TrainConfig
from hmtas.errors import InputError
from hmtas.model.steps import rates_of
from hmtas.runs.record import RECORD, RunRecord, read_run
from hmtas.store.local import EmbeddingStore
from hmtas.terminal.text import counted
from hmtas.training.on_store import on_store

HELD_OUT_SHARE = 0.1
LABELLED = ("train", "valid", "test")


class GamePlan(NamedTuple):
    """Games by what a training does with them; the two share none."""

    fitted: tuple[str, ...]
    stopped: tuple[str, ...]  # empty where the number of epochs is given (P2)


def plan_games(store: EmbeddingStore, config: TrainConfig) -> GamePlan:
    """Divide the games of a store.

    P1 fits on the train split and stops on the valid split, or on a seeded tenth of the train
    games, which keeps the valid split clean for windows and ensembles. P2 fits on every labelled
    game and stops on none: its epochs are those that P1 found.

    Raises:
        InputError: If a split that is needed does not exist, is empty, or has no event.
    """
    if config.protocol == "p2":
        splits = [name for name in LABELLED if name in store.splits]
        fitted = tuple(game for name in splits for game in store.games(name))
        return GamePlan(_needed(fitted, store, "labelled"), ())
    train = _needed(store.games("train"), store, "train")
    if config.stop_games == "valid":
        return GamePlan(train, _needed(store.games("valid"), store, "valid"))
    if len(train) < 2:
        raise InputError(
            f"{store.place}: stop_games=held_out needs at least 2 train games, "
            f"there is {len(train)}"
        )
    # One seed for all runs of a store: models that are compared or fused stop on the same games.
    order = np.random.default_rng(1).permutation(len(train))
    held_out = set(order[: max(1, round(HELD_OUT_SHARE * len(train)))].tolist())
    return GamePlan(
        tuple(game for i, game in enumerate(train) if i not in held_out),
        tuple(game for i, game in enumerate(train) if i in held_out),
    )


def shard(games: Sequence[str], rank: int, size: int) -> tuple[str, ...]:
    """The games of one worker among `size`; every game belongs to exactly one.

    Raises:
        InputError: If there are more workers than games.
    """
    if size > len(games):
        raise InputError(
            f"{counted(size, 'worker')} cannot share {counted(len(games), 'game')}; "
            "use fewer workers"
        )
    return tuple(games[rank::size])


def begin_run(
    store: EmbeddingStore,
    config: Config,
    games: GamePlan,
    out: Path,
    *,
    name: str,
    preset: str | None = None,
    num_workers: int = 1,
) -> RunRecord:
    """The record of the run in `out`: the one begun there, or a new one.

    Its configuration is `config` as it is on the store (`hmtas.training.on_store`).

    Raises:
        InputError: If `out` holds a run of another configuration or store, no stream is left, or
            the configuration names one, or an action, that the store lacks.
    """
    config = on_store(config, store)
    excluded = config.model.exclude_streams
    streams = {name: width for name, width in store.streams.items() if name not in excluded}
    if not streams:
        raise InputError(f"model.exclude_streams leaves no stream of {', '.join(store.streams)}")
    _check_streams(store, games, streams)
    check_contexts(store, config, games)
    record = RunRecord(
        name=name,
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="running",
        config=config,
        preset=preset,
        store=store.place,
        store_checksum=store.checksum,
        streams=streams,
        actions=store.actions,
        rate_hz=store.rate_hz,
        num_workers=num_workers,
        fitted_games=games.fitted,
        stopped_games=games.stopped,
        notes=_notes(config, games),
    )
    if not (out / RECORD).is_file():
        return record
    begun = read_run(out)
    if begun.config != config or begun.store_checksum != store.checksum:
        what = "store"  # which may be all that makes the configurations differ
        if begun.store_checksum == store.checksum:
            what = f"configuration ({begun.config.difference(config)})"
        raise InputError(
            f"{out}: holds a run of another {what}; choose another folder or remove this one"
        )
    return begun.model_copy(update={"store": store.place})  # which may have moved


def _check_streams(store: EmbeddingStore, games: GamePlan, streams: Iterable[str]) -> None:
    """Refuse a half that has none of the streams: nothing could be said of its windows."""
    used = set(streams)
    halves = store.halves_of([*games.fitted, *games.stopped])
    empty = [half for half in halves if not used.intersection(store.halves[half].streams)]
    if empty:
        raise InputError(
            f"{store.place}: {empty[0]} and {len(empty) - 1} more halves have none of the streams "
            f"{', '.join(sorted(used))}; use another stream too (model.exclude_streams), one that "
            "every half has"
        )


def check_contexts(store: EmbeddingStore, config: Config, games: GamePlan) -> None:
    """Refuse rates that do not fit, and contexts that no half can fill.

    Raises:
        InputError: If the model has contexts, and they are so.
    """
    if not config.model.labels_steps:
        return
    rates_of(config.model, store.rate_hz)
    longest = max(store.halves_of(games.fitted), key=lambda half: store.halves[half].num_rows)
    longest_s = store.halves[longest].num_rows / store.rate_hz
    if config.train.context.context_s > longest_s:
        raise InputError(
            f"context_s ({config.train.context.context_s:g}) is longer than the longest half that "
            f"is trained on ({longest}: {longest_s:g} s); choose a shorter context, with "
            "--set context_s=SECONDS"
        )


def _notes(config: Config, games: GamePlan) -> tuple[str, ...]:
    if config.train.stop_windows == "fitted" and len(games.stopped) == 1:
        return (
            "one game stops the training: no other can choose its NMS windows, so it is scored "
            "with those of the configuration",
        )
    return ()


def _needed(games: tuple[str, ...], store: EmbeddingStore, split: str) -> tuple[str, ...]:
    if not games:
        raise InputError(f"{store.place}: training needs {split} games and the store has none")
    if not store.has_events(games):
        raise InputError(
            f"{store.place}: training needs events, but the labels of all {len(games)} {split} "
            "games are empty; are these new games, to be predicted by a model trained on others?"
        )
    return games
