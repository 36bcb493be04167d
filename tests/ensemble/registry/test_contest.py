"""The champion falls only to an ensemble that is better on the same games beyond chance."""

from pathlib import Path

import numpy as np
import pytest

from ensemble.registry.contest import Contender, decide
from hmtas.errors import InputError
from hmtas.records import Events, HalfId, Spots
from hmtas.scoring.score import count_games

ACTIONS = ("Goal", "Corner")
GAMES = tuple(f"game {i}" for i in range(12))


def contender(
    missed: float,
    *,
    games: tuple[str, ...] = GAMES,
    perfect: tuple[str, ...] = (),
    extra: int = 0,
    seed: int = 0,
) -> Contender:
    """Misses a share of ten events in all but perfect games; `extra` more are in the first game."""
    rng = np.random.default_rng(seed)
    spots, events = {}, {}
    for game in games:
        half = HalfId(game, 1)
        time_s = 40.0 * np.arange(10 + (extra if game == games[0] else 0))
        action = np.arange(len(time_s)) % 2
        visible = np.ones(len(time_s), dtype=np.bool_)
        events[half] = Events(half=half, time_s=time_s, action=action, visible=visible)
        shift = np.where(rng.random(len(time_s)) < missed, 15.0, 0.0) * (game not in perfect)
        confidence = np.linspace(0.2, 0.9, len(time_s))
        spots[half] = Spots(half=half, time_s=time_s + shift, action=action, confidence=confidence)
    return Contender(actions=ACTIONS, counts=count_games(spots, events, ACTIONS, "tight"))


def test_the_better_one_wins_and_says_by_how_much() -> None:
    decision = decide(contender(0.1), contender(0.5, seed=1))
    assert decision.alias == "champion"
    assert decision.difference is not None
    assert decision.interval is not None
    assert 0 < decision.interval[0] < decision.difference < decision.interval[1]
    assert decision.num_games == 12
    assert f"{100 * decision.difference:+.2f} [+" in decision.reason
    assert "beats the champion" in decision.reason


def test_better_by_chance_is_not_enough() -> None:
    decision = decide(contender(0.4, perfect=GAMES[:1]), contender(0.4))
    assert decision.difference is not None
    assert decision.difference > 0
    assert decision.alias == "challenger"
    assert "cannot be told from the champion" in decision.reason


def test_an_equal_and_a_worse_one_lose() -> None:
    equal = decide(contender(0.3), contender(0.3))
    assert (equal.alias, equal.difference) == ("challenger", 0)
    worse = decide(contender(0.6), contender(0.1, seed=1))
    assert worse.alias == "challenger"
    assert "worse than the champion" in worse.reason


def test_one_game_says_nothing_of_others() -> None:
    games = GAMES[:1]
    assert decide(contender(0.0, games=games), contender(0.9, games=games)).alias == "challenger"


def test_what_was_counted_otherwise_is_not_compared() -> None:
    best = contender(0.0)
    fewer = decide(best, contender(0.9, games=GAMES[1:]))
    assert "other games (11 in common, 11 of the champion, 12 here)" in fewer.reason
    relabelled = decide(best, contender(0.9, extra=1))
    assert "annotations of these games have changed" in relabelled.reason
    champion = contender(0.9)
    other = Contender(actions=("Goal", "Foul"), counts=champion.counts)
    renamed = decide(best, other)
    assert "names 2 actions" in renamed.reason
    for decision in (fewer, relabelled, renamed):
        assert decision.alias == "challenger"
        assert decision.difference is None


def test_counts_survive_their_file(tmp_path: Path) -> None:
    path, again = tmp_path / "counts.npz", tmp_path / "again.npz"
    original = contender(0.4)
    original.save(path)
    read = Contender.load(path)
    assert read.actions == ACTIONS
    assert read.counts.games == original.counts.games
    assert decide(read, original).difference == 0
    read.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.npz"
    with pytest.raises(InputError, match="no counts of an ensemble"):
        Contender.load(path)
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match="no counts of an ensemble"):
        Contender.load(path)
    np.savez(path, games=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="no counts of an ensemble"):
        Contender.load(path)
