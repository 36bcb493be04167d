"""Which games may be fitted on, chosen by or scored: the refusals, each with the games at fault."""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from hmtas.errors import InputError, did_you_mean
from hmtas.formats.splits import other_form
from hmtas.records import Events, HalfId, Spots
from hmtas.runs.probabilities import StoredProbabilities
from hmtas.runs.record import predict_line, read_run
from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import open_store
from hmtas.terminal.text import counted

TEST_SPLIT = "test"


def refuse_test_split(split: str) -> None:
    """Refuse to fit on the test split.

    Raises:
        InputError: If `split` is it.
    """
    if split == TEST_SPLIT:
        raise InputError(
            "--split test: nothing is fitted on test games or chosen by them, or their scores "
            "compare nothing; use valid, then score what comes out with --split test"
        )


def refuse_foreign_games(who: str, games: Iterable[str], store: EmbeddingStore, split: str) -> None:
    """Refuse games of a split that the store's split of that name does not have.

    Raises:
        InputError: If one is not.
    """
    foreign = sorted(set(games) - set(store.games(split)))
    if foreign:
        raise InputError(
            f"{who}: {foreign[0]!r} is not in split {split!r} of {store.place}; "
            "is it a run of another store, or were the splits changed?"
        )


def refuse_seen(
    who: str, games: Iterable[str], seen: Iterable[str], *, did: str = "was fitted on", advice: str
) -> None:
    """Refuse to judge a model by games that shaped it (`seen`): it is surer of them than of others.

    Raises:
        InputError: If a game is among both.
    """
    both = sorted(set(games) & set(seen))
    if both:
        raise InputError(
            f"{who} {did} {_some(both, games)}, so its score there says nothing of new games; "
            f"{advice}"
        )


def refuse_unlabelled(games: Iterable[str], store: EmbeddingStore) -> None:
    """Refuse to fit on games without labels, or to score them.

    Raises:
        InputError: If a game has none, or all of them are empty.
    """
    games = list(games)
    without = sorted(game for game in games if not store.has_labels(game))
    if without:
        raise InputError(
            f"{store.place}: has no labels of {_some(without, games)}; is this the challenge "
            "split, or the store of other games?"
        )
    check_events(store.place, store.events_of(games))


def check_events(place: str, events: Mapping[HalfId, Events]) -> None:
    """Refuse games without a single event: no spot of theirs can be right, and no score says so.

    Raises:
        InputError: If there is no event.
    """
    if not any(len(item.time_s) for item in events.values()):
        games = counted(len({half.game for half in events}), "game")
        raise InputError(
            f"{place}: the labels of {games} to score hold no event at all, so there is no score; "
            "are these new games, which are predicted and not scored?"
        )


def how_to_predict(run: Path, split: str) -> str:
    """What to do about a split that a run has not predicted: the command, or the name it has."""
    with contextlib.suppress(InputError, OSError):  # the store may be gone
        known = open_store(read_run(run).store).splits
        if split not in known:
            meant = did_you_mean(split, known)
            return f"its store has no such split, only {', '.join(known)}{meant}"
    return f"run {predict_line(run, split)}"


def check_fitting(
    who: str,
    stored: StoredProbabilities,
    store: EmbeddingStore,
    *,
    advice: str,
    even_cross_fitted: bool = False,
) -> None:
    """Refuse probabilities that nothing may be fitted on, or chosen by.

    `even_cross_fitted` refuses games that the model was fitted on also where the probabilities are
    cross-fitted; the advice says what to do then.

    Raises:
        InputError: If one is a test game, has no labels, or was fitted on by the model; or if the
            store has other actions.
    """
    provenance, games = stored.provenance, stored.games
    test = sorted(set(games) & set(store.splits.get(TEST_SPLIT, ())))
    if test:
        raise InputError(
            f"{who}: has test games of {store.place}, {_some(test, games)}; nothing is fitted on "
            "test games or chosen by them. Were the splits changed since the prediction?"
        )
    if even_cross_fitted or not provenance.cross_fitted:
        refuse_seen(who, games, provenance.fitted_games, advice=advice)
    refuse_unlabelled(games, store)
    if store.actions != provenance.actions:
        raise InputError(
            f"{store.place}: its {len(store.actions)} actions are not the "
            f"{len(provenance.actions)} of {who}; name the store of its labels with --store"
        )


def check_parts(place: str, spots: Mapping[HalfId, Spots], events: Mapping[HalfId, Events]) -> None:
    """Refuse spots in a part of a game that has no labels: a wrong number, most likely.

    Raises:
        InputError: If there are any.
    """
    strange = [half for half, found in spots.items() if half not in events and len(found.time_s)]
    if strange:
        parts = sorted(half.half for half in events if half.game == strange[0].game)
        raise InputError(
            f"{place}: spots in {strange[0]}, but the labels of the game are in half "
            f"{', '.join(map(str, parts))}; is the number of the half wrong?"
        )


def check_complete(
    place: str, spotted: Collection[str], labelled: Collection[str], scored: Sequence[str]
) -> None:
    """Refuse to score a game that lacks spots or labels, as the official evaluator does.

    Raises:
        InputError: If there is none to score, or one lacks either.
    """
    if not scored:
        raise InputError(
            f"{place}: there is no game to score; is the split or the folder of spots empty?"
        )
    for what, having, cause in (
        ("spots", spotted, "was another split predicted?"),
        ("labels", labelled, "do they belong to other games, or is this the challenge split?"),
    ):
        without = sorted(set(scored).difference(having))
        if without:
            why = other_form(without, having) or cause
            raise InputError(f"{place}: no {what} of {_some(without, scored)} to score; {why}")


def _some(found: Sequence[str], games: Iterable[str]) -> str:
    return f"{len(found)} of {len(set(games))} games (the first {found[0]!r})"
