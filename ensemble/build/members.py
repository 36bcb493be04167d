"""The run folders that take part in an ensemble, and what they may not do."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ensemble.stack.align import ModelOutput, Stack, stack
from hmtas.errors import InputError
from hmtas.runs.ensemble import EnsembleRecord
from hmtas.runs.identity import find_copies
from hmtas.runs.probabilities import StoredProbabilities, read_probabilities
from hmtas.runs.record import RunRecord, predict_line, predictions_path, read_run
from hmtas.scoring.games import check_fitting, how_to_predict, refuse_foreign_games
from hmtas.store.local import EmbeddingStore
from hmtas.store.recorded import open_recorded


class Member(NamedTuple):
    """One model of an ensemble."""

    run: Path  # its folder
    name: str  # of the run; where two runs share a name, the folder
    record: RunRecord
    stored: StoredProbabilities  # its probabilities of the split in question


def read_members(runs: Sequence[Path], split: str) -> list[Member]:
    """Read run folders and their stored probabilities of one split.

    Raises:
        InputError: If there is none, one is given twice, is no run, or has not predicted the split.
    """
    if not runs:
        raise InputError("an ensemble needs at least one run folder, got none")
    seen: dict[Path, Path] = {}
    for run in runs:
        if run.resolve() in seen:
            raise InputError(
                f"{run}: the same run was given twice (also as {seen[run.resolve()]}); "
                "it would count double"
            )
        seen[run.resolve()] = run
    members = []
    for run in runs:
        record, path = read_run(run), predictions_path(run, split)
        if not path.is_file():
            raise InputError(
                f"{run}: no stored probabilities of split {split!r} ({path.name} is missing); "
                f"{how_to_predict(run, split)}"
            )
        members.append(Member(run, record.name, record, read_probabilities(path)))
    return _named(members)


def without_copies(members: Sequence[Member]) -> tuple[list[Member], dict[Path, Path]]:
    """The members, each model once, and the folders that hold one of them again, each with it."""
    copies = find_copies((member.record, member.stored) for member in members)
    kept = [member for m, member in enumerate(members) if m not in copies]
    return _named(kept), {members[m].run: members[first].run for m, first in copies.items()}


def _named(members: Sequence[Member]) -> list[Member]:
    num = Counter(member.record.name for member in members)
    return [
        member._replace(name=str(member.run) if num[member.record.name] > 1 else member.record.name)
        for member in members
    ]


def read_ensemble(run: Path) -> tuple[RunRecord, EnsembleRecord]:
    """Read the record of an ensemble.

    Raises:
        InputError: If the run is no ensemble.
    """
    record = read_run(run)
    if record.ensemble is None:
        raise InputError(
            f"{run}: a run of kind {record.kind!r}, not an ensemble; `hmtas ensemble fit` makes "
            "one, also of a single model"
        )
    return record, record.ensemble


def member_runs(run: Path) -> list[Path]:
    """The run folders of the members of an ensemble, as it was fitted.

    Raises:
        InputError: If the run is no ensemble, a member is not there, or was trained again since.
    """
    runs = []
    for entry in read_ensemble(run)[1].members:
        member = Path(os.path.normpath(run.resolve() / entry.run))
        if read_run(member).created != entry.created:
            raise InputError(
                f"{member}: {entry.name} was trained again since {run} was fitted; "
                "fit the ensemble again"
            )
        runs.append(member)
    return runs


def stack_members(members: Sequence[Member]) -> Stack:
    """Align the members' probabilities; see `ensemble.stack.align.stack`."""
    return stack(
        [
            ModelOutput(member.name, member.stored.provenance.actions, member.stored.halves)
            for member in members
        ]
    )


def store_of(members: Sequence[Member], place: str | Path | None) -> EmbeddingStore:
    """Open the store at `place`, or the one that all members were predicted on.

    Its labels and splits count. Members of other stores are welcome as long as they predict the
    same actions on the same halves (other embeddings of the same games, say), but then the store
    must be named.

    Raises:
        InputError: If no store is named and the members' differ, or it changed since.
    """
    first = members[0].stored.provenance
    for member in members[1:] if place is None else ():
        if member.stored.provenance.store_checksum != first.store_checksum:
            raise InputError(
                f"{member.name} and {members[0].name} were predicted on different stores "
                f"({member.stored.provenance.store} and {first.store}); "
                "say with --store whose labels and splits count"
            )
    return open_recorded(
        members[0].run, first.store, first.store_checksum, named=place, other_data=True
    )


def check_one_store(members: Sequence[Member]) -> None:
    """Refuse members of one store whose predictions are of several: it was packed again between.

    Members of different stores may have predicted on different ones, see `store_of`.

    Raises:
        InputError: Naming two of them.
    """
    first: dict[str, Member] = {}
    for member in members:
        other = first.setdefault(member.record.store_checksum, member)
        one, two = other.stored.provenance, member.stored.provenance
        if one.store_checksum != two.store_checksum:
            raise InputError(
                f"{member.run} predicted {two.split} on the store {two.store_checksum[:12]}, and "
                f"{other.run} on {one.store_checksum[:12]}; was {two.store} packed again between? "
                f"Run {predict_line(other.run, one.split)} and the same for the others"
            )


def check_games(members: Sequence[Member], store: EmbeddingStore, split: str) -> None:
    """Refuse games that must not shape an ensemble of these members.

    Raises:
        InputError: If a game is in the store's test split or not in `split`, is not annotated, or
            was fitted on by a member.
    """
    for member in members:
        check_fitting(
            member.name,
            member.stored,
            store,
            advice="leave it out, or combine on a split that it never saw",
            even_cross_fitted=True,
        )
        refuse_foreign_games(member.name, member.stored.games, store, split)


def held_twice(members: Sequence[Member]) -> dict[str, list[str]]:
    """Models that are part of several members, as an ensemble's are: each with those members."""
    held: dict[Path, list[str]] = {}
    for member in members:
        home, ensemble = member.run.resolve(), member.record.ensemble
        places = [home / entry.run for entry in ensemble.members] if ensemble else [home]
        for place in places:
            held.setdefault(Path(os.path.normpath(place)), []).append(member.name)
    return {place.name: names for place, names in held.items() if len(names) > 1}


def stopped_on(members: Sequence[Member]) -> dict[str, int]:
    """Members whose epoch was chosen on games they are combined on: name to how many."""
    counts = {
        member.name: len(set(member.stored.provenance.stopped_games) & set(member.stored.games))
        for member in members
    }
    return {name: count for name, count in counts.items() if count}
