"""Settings are the best of each action, rare ones borrow, and no game chooses its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.nms import unseen_scores
from hmtas.config import NmsKind, SpottingConfig
from hmtas.metric.averages import TIGHT_S, average_map, score
from hmtas.metric.counts import histograms
from hmtas.metric.matching import THRESHOLDS, threshold_bin
from hmtas.records import Events, HalfId, Probabilities
from hmtas.spotting.nms import make_rule, non_max_suppression
from hmtas.spotting.spots import spot, spot_fitted
from hmtas.spotting.table import Setting, Table, tabulate
from hmtas.spotting.windows import (
    BORROWED,
    CANDIDATES_S,
    KINDS,
    borrowed_precision,
    candidates_at,
    cross_fit,
    every_setting,
    fit_exact,
    fit_global,
    precision_of,
    spot_unseen,
)

ROWS = 240
CANDIDATES = (2, 4, 8, 16)


def make_table(*columns: list[float], num_events: int | list[int] = 10**9) -> Table:
    """A table with the precisions of one action per column, hard at 2, 4, 8, 16 s."""
    return Table(
        every_setting(["hard"], CANDIDATES),
        np.array(columns).T,
        np.broadcast_to(np.array(num_events), len(columns)),
    )


def widths(settings: list[Setting]) -> list[float]:
    return [setting.window_s for setting in settings]


def make_season(
    num_games: int, num_actions: int, seed: int
) -> tuple[dict[HalfId, Probabilities], dict[HalfId, Events]]:
    """Halves with an event every 30 s or so and noisy bumps around most of them."""
    generator = np.random.default_rng(seed)
    halves, events = {}, {}
    for game in range(num_games):
        half = HalfId(f"g{game}", 1)
        time_s = np.sort(generator.choice(np.arange(5, ROWS - 5), 8, replace=False)).astype(float)
        action = generator.integers(0, num_actions, 8)
        values = generator.random((ROWS, num_actions)).astype(np.float32) * 0.4
        for t, a in zip(time_s.astype(int), action, strict=True):
            values[t - 2 : t + 3, a] += np.array([0.1, 0.3, 0.5, 0.4, 0.2], np.float32)
        halves[half] = Probabilities(half=half, values=np.minimum(values, 1))
        events[half] = Events(half=half, time_s=time_s, action=action, visible=np.ones(8, bool))
    return halves, events


def tight(
    halves: dict[HalfId, Probabilities],
    events: dict[HalfId, Events],
    windows_s: np.ndarray,
    kinds: list[NmsKind] | NmsKind = "hard",
) -> float:
    spots = {half: non_max_suppression(p, windows_s, 0.0, kinds) for half, p in halves.items()}
    return average_map(spots, events, len(windows_s)).average_map


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from([*KINDS, "thesis"]),
    window_s=st.sampled_from([0.5, 2, 5, 9, 60]),
    threshold=st.sampled_from([0.0, 0.001, 0.3]),
    rate_hz=st.sampled_from([0.5, 1.0, 2.0, 5.0]),
    crowded=st.booleans(),
    power=st.sampled_from([1, 6]),
    metric=st.sampled_from([(TIGHT_S, 2), ((1,), 25), ((0.7, 4), 5)]),
)
def test_the_table_is_the_metric_itself(
    *,
    seed: int,
    kind: NmsKind,
    window_s: float,
    threshold: float,
    rate_hz: float,
    crowded: bool,
    power: int,
    metric: tuple[tuple[float, ...], int],
) -> None:
    generator = np.random.default_rng(seed)
    halves, events = {}, {}
    for half in (HalfId(game, number) for game in "abc" for number in (1, 2)):
        values = (generator.random((150, 3)) ** power).astype(np.float32)
        last_s = 150 / rate_hz
        time_s = np.sort(generator.uniform(0, last_s, generator.integers(0, 40 if crowded else 5)))
        action = generator.integers(0, 3, len(time_s))
        visible = generator.random(len(time_s)) < 0.5
        halves[half] = Probabilities(half=half, values=values, rate_hz=rate_hz)
        events[half] = Events(half=half, time_s=time_s, action=action, visible=visible)
    sets = [["a"], ["b", "c"], ["a", "b", "c"], ["a", "c"]]
    tolerances_s, grid_hz = metric
    tables = tabulate(
        halves,
        events,
        sets,
        [Setting(kind, window_s)],
        threshold=threshold,
        tolerances_s=tolerances_s,
        grid_hz=grid_hz,
    )
    spots = {
        half: non_max_suppression(p, np.full(3, window_s), threshold, kind)
        for half, p in halves.items()
    }
    counts = histograms(spots, events, tolerances_s, 3, grid_hz)
    for games, table in zip(sets, tables, strict=True):
        expected = score(counts, games)
        assert table.num_events.tolist() == expected.num_events.tolist()
        np.testing.assert_allclose(
            table.precision[0], np.nan_to_num(expected.per_action), atol=1e-12
        )


@pytest.mark.parametrize(("rate_hz", "time_s", "row"), [(1.0, [8.5, 9.0], 9), (0.2, [7.5, 9.5], 2)])
def test_of_faint_rows_between_two_events_the_first_takes_the_surer(
    rate_hz: float, time_s: list[float], row: int
) -> None:
    # Two rows are in reach of the first event, only the later one of the second. All are below
    # the second threshold, where only their order counts: the first event takes the later row.
    half = HalfId("a", 1)
    values = np.full((20, 1), 1e-4, np.float32)
    values[row] = 3e-3
    halves = {half: Probabilities(half=half, values=values, rate_hz=rate_hz)}
    events = {
        half: Events(
            half=half,
            time_s=np.array(time_s),
            action=np.zeros(2, np.int64),
            visible=np.ones(2, bool),
        )
    }
    (table,) = tabulate(halves, events, [["a"]], [Setting("linear", 0.5 / rate_hz)])
    expected = tight(halves, events, np.array([0.5 / rate_hz]), "linear")
    assert table.precision[0, 0] == pytest.approx(expected, abs=1e-12)


def test_a_confidence_on_a_threshold_reaches_it_and_one_just_below_does_not() -> None:
    near = [THRESHOLDS, np.nextafter(THRESHOLDS, 0)[1:], np.nextafter(THRESHOLDS, 1)[:-1]]
    confidence = np.concatenate(near)
    found = [threshold_bin(value) for value in confidence]
    assert found == (np.searchsorted(THRESHOLDS, confidence, side="right") - 1).tolist()


def test_each_action_gets_its_own_best_window() -> None:
    table = make_table([0.1, 0.5, 0.2, 0.0], [0.3, 0.2, 0.1, 0.9])
    assert widths(fit_exact(table)) == [4, 16]


def test_of_equal_settings_the_one_closest_to_the_global_one_wins() -> None:
    # Means: 0.45, 0.3, 0.75, 0.5: the global window is 8 s. The second action is as good at 2.
    table = make_table([0.1, 0.2, 0.7, 0.2], [0.8, 0.4, 0.8, 0.8])
    assert widths(fit_exact(table)) == [8, 8]
    both = every_setting(["linear", "hard"], (2, 8))
    precision = np.array([[0.0, 0.5, 0.5, 0.5], [0.0, 0.0, 0.8, 0.9]]).T
    chosen = fit_exact(Table(both, precision, np.full(2, 10**9)), borrowed=0)
    assert chosen == [Setting("hard", 8.0), Setting("hard", 8.0)], "rule before window"


def test_an_action_borrows_as_much_as_it_has_few_events() -> None:
    own, others = [0.1, 0.9, 0.2, 0.0], [0.8, 0.2, 0.1, 0.0]
    few = make_table(own, others, others, num_events=[50, 10**9, 10**9])
    curve = borrowed_precision(few, borrowed=150)[:, 0]
    shared = np.mean([own, others, others], axis=0)
    np.testing.assert_allclose(curve, 0.25 * np.array(own) + 0.75 * shared)
    chosen = {
        num: widths(fit_exact(make_table(own, others, others, num_events=[num, 10**9, 10**9])))[0]
        for num in (0, 5, 20, 1000)
    }
    # The shared curve prefers 2 s by 0.13, its own 4 s by 0.8: even at 8.3 events beside 50.
    assert chosen == {0: 2, 5: 2, 20: 4, 1000: 4}
    assert BORROWED == 50


def test_an_action_without_events_takes_no_part_in_the_curve_of_the_others() -> None:
    table = make_table([0.2, 0.4, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0], num_events=[100, 0])
    np.testing.assert_allclose(borrowed_precision(table)[:, 0], [0.2, 0.4, 0.2, 0.2])
    assert widths(fit_exact(table)) == [4, 4]


def test_the_global_method_gives_every_action_the_best_mean() -> None:
    table = make_table([0.1, 0.5, 0.2, 0.0], [0.3, 0.2, 0.1, 0.9])
    assert widths(fit_global(table)) == [16, 16]  # means 0.2, 0.35, 0.15, 0.45


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), borrowed=st.sampled_from([0.0, 8.0, BORROWED]))
def test_no_action_scores_lower_than_under_any_one_setting_for_all(
    seed: int, borrowed: float
) -> None:
    halves, events = make_season(4, 3, seed)
    games = [half.game for half in halves]
    everything = every_setting(KINDS, CANDIDATES)
    (table,) = tabulate(halves, events, [games], everything)
    chosen = fit_exact(table, borrowed)
    best = tight(halves, events, np.array(widths(chosen)), [s.kind for s in chosen])
    assert best == pytest.approx(precision_of(table, chosen), abs=1e-12)
    for setting in everything:
        assert best >= tight(halves, events, np.full(3, setting.window_s), setting.kind) - 1e-12
    shared = table.settings.index(fit_global(table)[0])
    rows = [table.settings.index(setting) for setting in chosen]
    assert (table.precision[rows, range(3)] >= table.precision[shared] - 1e-12).all()


def test_without_borrowing_nothing_scores_higher_than_exact() -> None:
    halves, events = make_season(3, 2, seed=3)
    everything = every_setting(KINDS, CANDIDATES)
    (table,) = tabulate(halves, events, [[half.game for half in halves]], everything)
    best = precision_of(table, fit_exact(table, 0.0))
    assert best == max(precision_of(table, [a, b]) for a in everything for b in everything)


def test_the_probabilities_of_one_action_do_not_move_the_others() -> None:
    halves, events = make_season(6, 3, seed=1)
    noise = np.random.default_rng(2).random((ROWS, 1)).astype(np.float32)
    changed = {
        half: Probabilities(half=half, values=np.hstack([p.values[:, :2], noise]))
        for half, p in halves.items()
    }
    games = [half.game for half in halves]
    (before,) = tabulate(halves, events, [games], every_setting(KINDS, CANDIDATES))
    (after,) = tabulate(changed, events, [games], every_setting(KINDS, CANDIDATES))
    np.testing.assert_array_equal(before.precision[:, :2], after.precision[:, :2])
    assert not np.array_equal(before.precision[:, 2], after.precision[:, 2])


def test_settings_that_drop_the_same_rows_score_the_same() -> None:
    halves, events = make_season(2, 2, seed=0)
    calls: list[None] = []
    (table,) = tabulate(
        halves,
        events,
        [["g0", "g1"]],
        every_setting(["hard", "linear"], (4, 5, 6)),
        on_setting=lambda: calls.append(None),
    )
    np.testing.assert_array_equal(table.precision[0], table.precision[1])
    assert not np.array_equal(table.precision[3], table.precision[4])
    assert tight(halves, events, np.full(2, 5.0)) == pytest.approx(table.precision[1].mean())
    assert len(calls) == 6


def planted(game: str, *, wants_narrow: bool) -> tuple[Probabilities, Events]:
    """A half whose score is better with a narrow window, or else with a wide one.

    Narrow: events come in pairs 3 s apart, of which a wide window drops one. Wide: every sure
    event has a wrong second peak 10 s later that is surer than the other events.
    """
    half = HalfId(game, 1)
    values = np.zeros((ROWS, 1), np.float32)
    sure = np.arange(20, ROWS - 20, 40)
    other = sure + (3 if wants_narrow else 20)
    values[sure, 0], values[other, 0] = 0.9, 0.6
    if not wants_narrow:
        values[sure + 10, 0] = 0.8
    time_s = np.sort(np.concatenate([sure, other])).astype(float)
    nothing, shown = np.zeros(len(time_s), np.int64), np.ones(len(time_s), bool)
    events = Events(half=half, time_s=time_s, action=nothing, visible=shown)
    return Probabilities(half=half, values=values), events


def test_windows_of_a_fold_do_not_see_its_games() -> None:
    halves, events = {}, {}
    for game in ("g0", "g1", "g2", "g3", "g4"):
        probabilities, annotated = planted(game, wants_narrow=game == "g2")
        halves[probabilities.half], events[annotated.half] = probabilities, annotated
    two = every_setting(["hard"], (4, 24))
    (own,) = tabulate(halves, events, [["g2"]], two)
    assert widths(fit_exact(own)) == [4]
    fitted = cross_fit(halves, events, ["Goal"], split="valid", settings=two)
    of_game = {game: fold.windows_s["Goal"] for fold in fitted.folds for game in fold.games}
    assert of_game["g2"] == 24, "the fold of the odd game follows the other games"
    pair = [half for half in halves if half.game in ("g1", "g2")]
    fitted = cross_fit({h: halves[h] for h in pair}, events, ["Goal"], split="v", settings=two)
    of_game = {game: fold.windows_s["Goal"] for fold in fitted.folds for game in fold.games}
    assert of_game == {"g1": 4, "g2": 24}, "of two games each follows the other"


def test_the_rule_of_each_action_is_fitted_and_used() -> None:
    # Goals are better under a hard rule, fouls need their echo 3 s later: a soft one keeps it.
    halves, events = {}, {}
    for game in ("g0", "g1", "g2", "g3"):
        goals, of_goals = planted(game, wants_narrow=False)
        fouls, of_fouls = planted(game, wants_narrow=True)
        half = goals.half
        order = np.argsort(np.concatenate([of_goals.time_s, of_fouls.time_s]), kind="stable")
        halves[half] = Probabilities(half=half, values=np.hstack([goals.values, fouls.values]))
        events[half] = Events(
            half=half,
            time_s=np.concatenate([of_goals.time_s, of_fouls.time_s])[order],
            action=np.repeat([0, 1], [len(of_goals.time_s), len(of_fouls.time_s)])[order],
            visible=np.ones(len(order), bool),
        )
    actions = ("Goal", "Foul")
    two = (Setting("hard", 24.0), Setting("squared", 2.0))
    fitted = cross_fit(
        halves,
        events,
        actions,
        split="valid",
        method="optuna",
        choose=lambda tables: [fit_exact(table, borrowed=0) for table in tables],
        settings=two,
    )
    assert fitted.kinds == {"Goal": "hard", "Foul": "squared"}
    assert fitted.windows_s == {"Goal": 24.0, "Foul": 2.0}
    assert all(fold.kinds == fitted.kinds for fold in fitted.folds)
    by_fit = spot_fitted(halves, actions, fitted, "valid")
    by_hand = spot(halves, actions, SpottingConfig(nms=fitted.kinds, windows_s=fitted.windows_s))
    assert average_map(by_fit, events, 2).average_map == average_map(by_hand, events, 2).average_map


def test_fixed_windows_are_the_thesis_ones_and_the_same_in_every_fold() -> None:
    halves, events = make_season(4, 3, seed=0)
    fitted = cross_fit(halves, events, ["Goal", "Foul", "Wave"], split="valid", method="fixed")
    assert fitted.method == "fixed"
    assert fitted.windows_s == {"Goal": 20, "Foul": 7, "Wave": 9}
    assert set(fitted.kinds.values()) == {"hard"}
    assert all(fold.windows_s == fitted.windows_s for fold in fitted.folds)
    given = SpottingConfig(nms="linear", windows_s={"Goal": 3, "Foul": 2, "Wave": 1})
    fitted = cross_fit(
        halves, events, ["Goal", "Foul", "Wave"], split="valid", method="fixed", fixed=given
    )
    assert fitted.windows_s == given.windows_s
    assert set(fitted.kinds.values()) == {"linear"}


def test_tuned_settings_win_on_unseen_games_and_never_lose_much_to_a_global_one() -> None:
    scores, _ = unseen_scores(3, num_fitted=12, num_pairs=4, candidates_s=(2, 5, 9, 14, 20, 7, 12))
    tuned = scores[f"{BORROWED:g}"]
    assert (tuned - scores["thesis"]).mean() > 1
    assert (tuned - scores["global"]).mean() > 0
    assert (tuned - scores["global"]).min() > -0.2


def test_one_row_a_second_tries_whole_seconds_alone() -> None:
    seconds = tuple(map(float, CANDIDATES_S))
    for rate_hz in (1.0, 1.0417):
        assert candidates_at(rate_hz) == candidates_at(rate_hz, ("hard",)) == seconds
    assert candidates_at(2.0, ("hard",)) == seconds, "every even number of rows is among them"
    assert every_setting(rate_hz=1.0) == every_setting()


@pytest.mark.parametrize("rate_hz", [2.0, 25 / 12, 3.0, 5.0, 7.3, 25.0, 50.0])
@pytest.mark.parametrize("kinds", [("hard",), KINDS])
def test_more_rows_a_second_try_a_few_narrower_windows_from_two_rows_up(
    rate_hz: float, kinds: tuple[NmsKind, ...]
) -> None:
    found = np.array(candidates_at(rate_hz, kinds))
    assert set(map(float, CANDIDATES_S)) <= set(found.tolist())
    finer = np.array(sorted(set(found.tolist()) - set(map(float, CANDIDATES_S))))
    assert len(finer) <= 8
    assert found.min() == pytest.approx(2 / rate_hz, abs=1e-5)
    assert (finer < 3).all()
    rows = finer * rate_hz
    assert np.abs(rows - rows.round()).max(initial=0) < 1e-4
    sides = [make_rule(width * rate_hz, "hard").before for width in finer]
    assert sides == [round(r) // 2 for r in rows], "no rounding takes a row away"
    if kinds == ("hard",):
        assert len(set(sides)) == len(sides)


def test_the_windows_of_fast_probabilities_are_found_between_whole_seconds() -> None:
    """At 5 Hz events 0.6 s apart need a window below 1.2 s, and echoes 0.4 s away one of 0.8 s."""
    halves, events = {}, {}
    for game in "abcd":
        half = HalfId(game, 1)
        values = np.full((300, 1), 0.01, np.float32)
        at = np.arange(3, 290, 3)
        values[at, 0] = 0.9
        halves[half] = Probabilities(half=half, values=values, rate_hz=5.0)
        events[half] = Events(
            half=half,
            time_s=at / 5,
            action=np.zeros(len(at), np.int64),
            visible=np.ones(len(at), np.bool_),
        )
    fitted = cross_fit(halves, events, ["Bounce"], split="valid")
    assert fitted.windows_s["Bounce"] < 1.2
    assert set(spot_unseen(halves, events, ["Bounce"])) == set(halves)
