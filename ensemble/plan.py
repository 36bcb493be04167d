"""What an ensemble is fitted on: read, checked, and not yet touched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensemble.combine import POWERS
from ensemble.fusion import FusionConfig
from ensemble.members import (
    Member,
    check_games,
    read_members,
    refuse_test_split,
    stack_members,
    stopped_on,
    store_of,
)
from ensemble.stack import Stack
from hmtas.errors import InputError
from hmtas.folds import game_folds
from hmtas.records import Events, HalfId
from hmtas.store import EmbeddingStore

METHODS = (*POWERS, "learned")


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Everything read and checked, nothing fitted or written yet.

    Attributes:
        members: M models.
        stacked: Their probabilities on one grid.
        events: Annotations of every half.
        folds: Games by fold; empty where only the mean is asked for.
        num_folds: Folds asked for.
        store: Whose labels and splits count.
        split: What the ensembles are fitted on.
        methods: What is fitted.
        fusion: How the learned fusion is fitted.
        seed: Of the folds.
    """

    members: tuple[Member, ...]
    stacked: Stack
    events: dict[HalfId, Events]
    folds: tuple[tuple[str, ...], ...]
    num_folds: int
    store: EmbeddingStore
    split: str
    methods: tuple[str, ...]
    fusion: FusionConfig
    seed: int

    @property
    def num_steps(self) -> int:
        """How often `fit_ensembles` calls `on_step`."""
        steps = len(self.members) if {"weighted", "squared"} & set(self.methods) else 0
        if "learned" in self.methods:
            steps += (len(self.folds) + 1) * self.fusion.epochs
        return steps

    def notes(self) -> list[str]:
        """What a person should know before the fit."""
        notes = list(self.stacked.notes)
        if len(self.members) == 1:
            notes.append("one member: mean, weighted and squared return it unchanged")
        if 0 < len(self.folds) < self.num_folds:
            notes.append(
                f"{len(self.stacked.games)} games: {len(self.folds)} folds of one game each"
            )
        notes += [
            f"{name} chose its epoch on {count} of these {len(self.stacked.games)} games: "
            "its weight is flattered"
            for name, count in stopped_on(self.members).items()
        ]
        other = sorted(
            {member.stored.provenance.store for member in self.members} - {self.store.place}
        )
        if other:
            notes.append(f"labels and splits of {self.store.place}; members of {', '.join(other)}")
        return notes


def plan_fit(
    runs: Sequence[Path],
    split: str,
    *,
    methods: Sequence[str] = METHODS,
    num_folds: int = 5,
    store: str | Path | None = None,
    seed: int = 0,
    fusion: FusionConfig | None = None,
) -> Plan:
    """Read the members and refuse what must not be combined.

    Args:
        runs: Run folders with stored probabilities of `split`; their order is kept.
        split: A split of the store, never its test split.
        methods: Of `METHODS`.
        num_folds: Folds of games for cross-fitting.
        store: Store of the labels; unless given, the one all members were predicted on.
        seed: Of the folds and of the learned fusion.
        fusion: Settings of the learned fusion; its seed is replaced by `seed`.

    Raises:
        InputError: If a rule of `ensemble.members` or `ensemble.stack` is broken.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise InputError(
            f"unknown method {', '.join(unknown) or '(none)'}; the methods are {', '.join(METHODS)}"
        )
    refuse_test_split(split)
    members = read_members(runs, split)
    opened = store_of(members, store)
    check_games(members, opened, split)
    stacked = stack_members(members)
    if stacked.actions != opened.actions:
        raise InputError(
            f"the members predict {len(stacked.actions)} actions, {opened.place} has "
            f"{len(opened.actions)} (or others); name the store of these members with --store"
        )
    fitted = any(method != "mean" for method in methods)
    return Plan(
        members=tuple(members),
        stacked=stacked,
        events={half: opened.events(half) for half in stacked.halves},
        folds=game_folds(stacked.games, num_folds, seed) if fitted else (),
        num_folds=num_folds,
        store=opened,
        split=split,
        methods=tuple(dict.fromkeys(methods)),
        fusion=(fusion or FusionConfig()).model_copy(update={"seed": seed}),
        seed=seed,
    )
