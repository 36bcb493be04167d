"""What an ensemble did on validation games, if that says something of games nobody has seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ensemble.build.members import TEST_SPLIT, Member, member_runs, read_ensemble, read_members
from ensemble.registry.contest import Contender
from hmtas.errors import InputError
from hmtas.runs.ensemble import EnsembleRecord
from hmtas.runs.probabilities import StoredProbabilities, read_probabilities
from hmtas.runs.record import WINDOWS, RunRecord, predictions_path
from hmtas.spotting.evaluate import read_windows, spot, spot_fitted
from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import open_store


class Scored(NamedTuple):
    """An ensemble with its members and its counts.

    Attributes:
        run: Its run folder.
        record: Its record.
        ensemble: What that says of the ensemble.
        members: Those it was fitted on, also those without weight.
        split: Whose games were counted.
        contender: The counts.
        notes: What its score is to be read with, in words.
    """

    run: Path
    record: RunRecord
    ensemble: EnsembleRecord
    members: list[Member]
    split: str
    contender: Contender
    notes: tuple[str, ...]


def score_ensemble(run: Path, store: str | Path | None = None) -> Scored:
    """Count the spots of an ensemble on the games that it was cross-fitted on.

    Args:
        run: Run folder of an ensemble.
        store: Where the labels are; the store that was predicted unless given.

    Raises:
        InputError: If it is no ensemble, a member is gone or was trained again, or its
            probabilities of these games or its windows were fitted on the very game they are of.
    """
    record, ensemble = read_ensemble(run)
    split = ensemble.split
    members = read_members(member_runs(run), split)
    stored = read_probabilities(predictions_path(run, split))
    games = sorted(stored.games)
    _check_unseen(run, record, members, stored, split)
    opened = open_store(store or stored.provenance.store)
    _check_labels(run, record, opened, games)
    windows = run / WINDOWS
    spots = (
        spot_fitted(stored.halves, record.actions, read_windows(windows), split)
        if windows.is_file()
        else spot(stored.halves, record.actions, record.config.spotting)
    )
    events = {half: opened.events(half) for half in stored.halves}
    stopped = sorted(set(games) & set(record.stopped_games))
    notes = [
        f"{len(stopped)} of these {len(games)} games stopped the training of a member; "
        "on new games the score will be somewhat lower"
    ]
    return Scored(
        run=run,
        record=record,
        ensemble=ensemble,
        members=members,
        split=split,
        contender=Contender.of(spots, events, record.actions),
        notes=tuple(notes if stopped else ()),
    )


def _check_unseen(
    run: Path,
    record: RunRecord,
    members: Sequence[Member],
    stored: StoredProbabilities,
    split: str,
) -> None:
    """Refuse probabilities of games that shaped what made them."""
    games, provenance = set(stored.games), stored.provenance
    fitted = sorted(games & {*record.fitted_games, *provenance.fitted_games})
    if fitted and not provenance.cross_fitted:
        raise InputError(
            f"{run}: its probabilities of split {split!r} are not cross-fitted, but it was fitted "
            f"on {len(fitted)} of these games, the first {fitted[0]!r}: its score there would be "
            "a lie; fit it again with `hmtas ensemble fit`"
        )
    for member in members:
        trained = sorted(games & set(member.record.fitted_games))
        if trained:
            raise InputError(
                f"{run}: its member {member.name} was trained on {len(trained)} games of split "
                f"{split!r}, the first {trained[0]!r}, so its score there says nothing; "
                "fit the ensemble without it"
            )


def _check_labels(
    run: Path, record: RunRecord, store: EmbeddingStore, games: Sequence[str]
) -> None:
    if store.actions != record.actions:
        raise InputError(
            f"{store.place}: its {len(store.actions)} actions are not the {len(record.actions)} "
            f"of {run}; name the store of its labels with --store"
        )
    test = sorted(set(games) & set(store.splits.get(TEST_SPLIT, ())))
    if test:
        raise InputError(
            f"{run}: {len(test)} of its games, the first {test[0]!r}, are test games of "
            f"{store.place}; what is chosen by test games has no score left"
        )
    unlabelled = [game for game in games if not store.has_labels(game)]
    if unlabelled:
        raise InputError(
            f"{store.place}: {len(unlabelled)} games without labels, the first {unlabelled[0]!r}; "
            "name the store of the labels with --store"
        )
