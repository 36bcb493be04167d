"""What an ensemble did on validation games, if that says anything about unseen games."""

from pathlib import Path
from typing import NamedTuple

from ensemble.build.members import Member, member_runs, read_ensemble, read_members
from ensemble.registry.contest import Contender
from hmtas.runs.ensemble import EnsembleRecord
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import RunRecord, predictions_path
from hmtas.scoring.games import check_fitting, refuse_seen
from hmtas.scoring.run import spot_stored, windows_of
from hmtas.store.recorded import open_recorded


class Scored(NamedTuple):
    """An ensemble with its members and its counts."""

    run: Path  # its folder
    record: RunRecord
    ensemble: EnsembleRecord  # what the record says of the ensemble
    members: list[Member]  # that it was fitted on, also those without weight
    split: str  # whose games were counted
    contender: Contender
    notes: tuple[str, ...]  # what its score is to be read with, in words


def score_ensemble(run: Path, store: str | Path | None = None) -> Scored:
    """Count the spots of an ensemble on the games that it was cross-fitted on.

    The labels are those of the store that was predicted; `store` is where it lies now.

    Raises:
        InputError: If it is no ensemble, a member is gone or was trained again, or its
            probabilities of these games or its windows were fitted on the very game they are of.
    """
    record, ensemble = read_ensemble(run)
    split = ensemble.split
    members = read_members(member_runs(run), split)
    stored = read_probabilities(predictions_path(run, split))
    games = stored.games
    made_on = stored.provenance
    opened = open_recorded(run, made_on.store, made_on.store_checksum, named=store)
    check_fitting(
        str(run),
        stored,
        opened,
        advice=f"its probabilities of split {split!r} are not cross-fitted: fit it again with "
        "`hmtas ensemble fit`",
    )
    for member in members:
        who = f"{run}: its member {member.name}"
        refuse_seen(who, games, member.record.fitted_games, advice="fit the ensemble without it")
    found = spot_stored(stored, windows_of(run))
    num_stopped = len(set(games) & set(record.stopped_games))
    notes = [
        f"{num_stopped} of these {len(games)} games stopped the training of a member; "
        "on new games the score will be somewhat lower"
    ]
    return Scored(
        run=run,
        record=record,
        ensemble=ensemble,
        members=members,
        split=split,
        contender=Contender(
            actions=found.actions, counts=found.counts(opened.events_of(games), "tight")
        ),
        notes=tuple(notes if num_stopped else ()),
    )
