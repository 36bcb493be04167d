"""A score is a sum over halves, and some changes change nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map, score
from hmtas.metric.counts import histograms
from hmtas.records import Events, HalfId, Score, Spots
from tests.support.metric_games import HALF, drawn, events, random_games, spots
from tests.support.official import NAMES

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, derandomize=True, max_examples=60)


def assert_same(a: Score, b: Score) -> None:
    for name in (*NAMES, "per_tolerance", "num_events"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_subset_of_games_is_scored_as_if_the_others_did_not_exist() -> None:
    spot, event = random_games(seed=1, num_games=5, num_actions=3)
    chosen = ["league/season/game 1", "league/season/game 4"]
    alone = average_map(
        {half: s for half, s in spot.items() if half.game in chosen},
        {half: e for half, e in event.items() if half.game in chosen},
        3,
    )
    counts = histograms(spot, event, TIGHT_S, 3)
    subset = score(counts, chosen)
    assert_same(alone, subset)
    assert subset.num_games == 2
    with pytest.raises(ValueError, match="'elsewhere' is not among the 5 counted games"):
        score(counts, ["elsewhere"])


def test_a_game_that_was_played_twice_counts_twice() -> None:
    spot, event = random_games(seed=1, num_games=5, num_actions=3)
    times = np.array([0, 1, 0, 3, 2])
    copies = [
        (half, HalfId(f"{half.game}, {copy}", half.half))
        for half in spot
        for copy in range(times[int(half.game[-1])])
    ]
    played = average_map(
        {new: with_rows(spot[half], slice(None), new) for half, new in copies},
        {new: replace(event[half], half=new) for half, new in copies},
        3,
    )
    assert_same(played, score(drawn(histograms(spot, event, TIGHT_S, 3), times)))
    assert played.num_games == 6


def test_hits_are_those_of_detections_that_match() -> None:
    # Spots at thresholds 199 and 0; the second is 2 s away, a hit from tolerance 4 on.
    counts = histograms(
        {HALF: spots((10, 1, 1.0), (52, 1, 0.0))},
        {HALF: events((10, 1, True), (50, 1, False))},
        (1, 4),
        2,
    )
    assert counts.hits.shape == (1, 2, 2, 2, 200)
    assert np.argwhere(counts.hits).tolist() == [
        [0, 1, 0, 0, 199],
        [0, 1, 1, 0, 199],
        [0, 1, 1, 1, 0],
    ]


# Changes that must not change the score.


@few
@given(seed=SEEDS)
def test_the_order_of_games_does_not_matter(seed: int) -> None:
    spot, event = random_games(seed, num_games=4, num_actions=2)
    order = np.random.default_rng(seed).permutation(4)
    name = {
        f"league/season/game {old}": f"league/season/game {new}" for old, new in enumerate(order)
    }
    renamed_spot, renamed_event = {}, {}
    for half in reversed(event):
        new = HalfId(name[half.game], half.half)
        renamed_spot[new] = with_rows(spot[half], slice(None), new)
        renamed_event[new] = Events(
            half=new, time_s=event[half].time_s, action=event[half].action,
            visible=event[half].visible,
        )  # fmt: skip
    assert_same(average_map(spot, event, 2), average_map(renamed_spot, renamed_event, 2))


def with_rows(spot: Spots, rows: slice | np.ndarray, half: HalfId | None = None) -> Spots:
    return Spots(
        half=half or spot.half,
        time_s=spot.time_s[rows],
        action=spot.action[rows],
        confidence=spot.confidence[rows],
    )


def one_in_each_cell(spot: Spots) -> Spots:
    place = 10**6 * spot.action + (2 * spot.time_s).astype(np.int64)
    return with_rows(spot, np.unique(place, return_index=True)[1])


@few
@given(seed=SEEDS)
def test_the_order_of_spots_in_cells_of_their_own_does_not_matter(seed: int) -> None:
    spot, event = random_games(seed, num_games=2, num_actions=2)
    generator = np.random.default_rng(seed)
    alone = {half: one_in_each_cell(s) for half, s in spot.items()}
    mixed = {half: with_rows(s, generator.permutation(len(s.time_s))) for half, s in alone.items()}
    assert_same(average_map(alone, event, 2), average_map(mixed, event, 2))


def with_a_far_spot(spot: Spots, action: int, confidence: float) -> Spots:
    """One more, 100 s after everything else."""
    return Spots(
        half=spot.half,
        time_s=np.append(spot.time_s, 160.0),
        action=np.append(spot.action, action),
        confidence=np.append(spot.confidence, confidence),
    )


@few
@given(seed=SEEDS)
def test_a_far_spot_of_score_0_matters_only_where_a_spot_of_score_0_is_right(seed: int) -> None:
    # It is a detection at threshold 0 alone, which only a hit at that threshold needs.
    spot, event = random_games(seed, num_games=2, num_actions=2)
    half = sorted(spot)[seed % 4]
    for lowest in (0.0, 0.01):
        before = {
            key: Spots(half=key, time_s=s.time_s, action=s.action,
                       confidence=np.maximum(s.confidence, lowest))
            for key, s in spot.items()
        }  # fmt: skip
        after = {**before, half: with_a_far_spot(before[half], action=0, confidence=0.0)}
        old, new = (average_map(found, event, 2, LOOSE_S) for found in (before, after))
        if lowest > 0:
            assert_same(old, new)
        np.testing.assert_array_equal(new.per_action[1], old.per_action[1])  # the other action
        for name in NAMES:
            assert (np.nan_to_num(getattr(new, name)) <= np.nan_to_num(getattr(old, name))).all()


def test_a_far_spot_of_score_0_costs_precision_where_one_is_right() -> None:
    event = {HALF: events((10, 0, True))}
    right = spots((10, 0, 0.0))
    assert average_map({HALF: right}, event, 1).average_map == 1
    both = with_a_far_spot(right, action=0, confidence=0.0)
    assert average_map({HALF: both}, event, 1).average_map == pytest.approx(1 / 2)
