"""What an ensemble is fitted on: read, checked, and not yet touched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ensemble.build.members import (
    Member,
    check_games,
    held_twice,
    read_members,
    stack_members,
    stopped_on,
    store_of,
    without_copies,
)
from ensemble.combiner import Combiner, Evidence
from ensemble.combiners.methods import USUAL, combiner_of
from ensemble.greedy.select import GreedyConfig
from ensemble.learned.network import FusionConfig
from hmtas.errors import InputError
from hmtas.scoring.games import refuse_test_split
from hmtas.statistics.folds import game_folds
from hmtas.store.local import EmbeddingStore


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Everything read and checked, nothing fitted or written yet."""

    members: tuple[Member, ...]  # M models
    evidence: Evidence
    folds: tuple[tuple[str, ...], ...]  # games by fold; empty where only means are asked for
    num_folds: int  # that were asked for
    store: EmbeddingStore  # whose labels and splits count
    split: str  # what the ensembles are fitted on
    combiners: dict[str, Combiner]  # what is fitted, by name
    seed: int  # of the folds and the fits
    # Folders that were left out, each with the one that holds the same model
    copies: Mapping[Path, Path] = field(default_factory=dict)

    @property
    def num_steps(self) -> int:
        """How often `fit_ensembles` calls `on_step`."""
        fits = len(self.folds) + 1
        return sum(1 + fits * combiner.num_steps for combiner in self.combiners.values())

    def notes(self) -> list[str]:
        """What a person should know before the fit."""
        notes = list(self.evidence.stacked.notes)
        if len(self.members) == 1:
            notes.append("one member: every combiner but the learned ones returns it unchanged")
        if 0 < len(self.folds) < self.num_folds:
            notes.append(
                f"{len(self.evidence.games)} games: {len(self.folds)} folds of one game each"
            )
        notes += [
            f"{name} chose its epoch on {count} of these {len(self.evidence.games)} games: "
            "its weight is flattered"
            for name, count in stopped_on(self.members).items()
        ]
        notes += [
            f"{model} is in {' and in '.join(names)}: it counts more than once"
            for model, names in held_twice(self.members).items()
        ]
        made_on = [member.stored.provenance for member in self.members]
        other = sorted({one.store for one in made_on if one.store_checksum != self.store.checksum})
        if other:
            notes.append(f"labels and splits of {self.store.place}; members of {', '.join(other)}")
        return notes


def plan_fit(
    runs: Sequence[Path],
    split: str,
    *,
    methods: Sequence[str] = USUAL,
    num_folds: int = 5,
    store: str | Path | None = None,
    seed: int = 0,
    fusion: FusionConfig | None = None,
    greedy: GreedyConfig | None = None,
    copies: Literal["refuse", "drop", "keep"] = "refuse",
) -> Plan:
    """Read the members and refuse what must not be combined.

    Args:
        runs: Run folders with stored probabilities of `split`; their order is kept.
        split: A split of the store, never its test split.
        methods: Some of `ensemble.combiners.methods.METHODS`.
        num_folds: Folds of games for cross-fitting.
        store: Store of the labels; unless given, the one all members were predicted on.
        seed: Seed of the folds and of the fits.
        fusion: Settings of the learned fusion; its seed is replaced by `seed`.
        greedy: Settings of the greedy selection; its seed too is replaced.
        copies: What to do with a model that is given twice, in two folders (hmtas.runs.identity);
            `keep` is for ensembles of older versions, which counted it double.

    Raises:
        InputError: If a rule of `ensemble.build.members` or `ensemble.stack.align` is broken.
    """
    if not methods:
        raise InputError(f"no combiner was named; the usual ones are {', '.join(USUAL)}")
    combiners = {
        method: combiner_of(method, seed=seed, fusion=fusion, greedy=greedy) for method in methods
    }
    refuse_test_split(split)
    members, left_out = read_members(runs, split), dict[Path, Path]()
    if copies != "keep":
        members, left_out = without_copies(members)
    if copies == "refuse":
        _refuse_copies(left_out)
    opened = store_of(members, store)
    check_games(members, opened, split)
    stacked = stack_members(members)
    spottings = tuple(member.record.config.spotting for member in members)
    # The ensemble is spotted by the configuration of its first member, as its record says.
    windows_s = np.array([spottings[0].window_of(action) for action in stacked.actions])
    fitted = any(combiner.is_fitted for combiner in combiners.values())
    return Plan(
        members=tuple(members),
        evidence=Evidence(
            stacked=stacked,
            events={half: opened.events(half) for half in stacked.num_rows},
            spottings=spottings,
            windows_s=windows_s,
        ),
        folds=game_folds(stacked.games, num_folds, seed) if fitted else (),
        num_folds=num_folds,
        store=opened,
        split=split,
        combiners=combiners,
        seed=seed,
        copies=left_out,
    )


def _refuse_copies(copies: Mapping[Path, Path]) -> None:
    if copies:
        copy, first = next(iter(copies.items()))
        more = f", and {len(copies) - 1} more are such copies" if len(copies) > 1 else ""
        raise InputError(
            f"{copy}: the same model as {first} (equal weights or predictions){more}; it would "
            f"count double. Leave out {', '.join(map(str, copies))}"
        )
