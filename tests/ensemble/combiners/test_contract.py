"""What holds for every combiner: one interface, one contract."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import joblib
import numpy as np
import pytest

from ensemble.combiner import Combiner, Evidence, nothing
from ensemble.combiners import crossfit
from ensemble.combiners.crossfit import cross_fit
from ensemble.combiners.methods import METHODS, combiner_of, fitted_of, vote_of
from ensemble.greedy.select import GreedyConfig
from ensemble.learned.network import FusionConfig
from ensemble.stack.align import ModelOutput, stack
from ensemble.stack.mean import combine, logit
from hmtas.config import SpottingConfig
from hmtas.errors import InputError
from hmtas.records import Events, HalfId, Probabilities
from hmtas.runs.ensemble import EnsembleRecord, MemberRecord
from tests.support.paths import ROOT

ACTIONS = ("Goal", "Corner", "Never")
NUM_ROWS = 150
TO_EDGE = 1e-5  # averages of logits stay so far from 0 and 1
LEARNED = tuple(method for method in METHODS if method.startswith("learned"))
GREEDY = tuple(method for method in METHODS if method.startswith("greedy"))
BY_WEIGHTS = tuple(method for method in METHODS if method not in LEARNED)
QUICK = FusionConfig(feedforward=16, num_layers=1, epochs=6, rows_share=0.5, batch_size=64)
BAGS = GreedyConfig(bags=3)


def combiner(method: str) -> Combiner:
    return combiner_of(method, fusion=QUICK, greedy=BAGS)


def season(num_games: int = 6) -> dict[HalfId, Events]:
    """Six events a half, none of them of the last action."""
    rng = np.random.default_rng(0)
    events = {}
    for half in (HalfId(f"game {g}", n) for g in range(num_games) for n in (1, 2)):
        time_s = rng.integers(2, 20) + 20.0 * np.arange(6)
        action = rng.integers(0, 2, 6)
        events[half] = Events(
            half=half, time_s=time_s, action=action, visible=np.ones(6, dtype=np.bool_)
        )
    return events


def output(
    name: str,
    events: Mapping[HalfId, Events],
    seed: int,
    *,
    seen: float = 0.7,
    rate_hz: float = 1.0,
    num_rows: int = NUM_ROWS,
) -> ModelOutput:
    """Noise, and a share of the events at their moment."""
    rng = np.random.default_rng(seed)
    halves = {}
    for half, found in events.items():
        values = 0.3 * rng.random((round(num_rows * rate_hz), len(ACTIONS)), dtype=np.float32)
        of_event = rng.random(len(found.time_s)) < seen
        rows = (found.time_s[of_event] * rate_hz).astype(int)
        values[rows, found.action[of_event]] = 0.6 + 0.4 * rng.random(len(rows))
        halves[half] = Probabilities(half=half, values=values, rate_hz=rate_hz)
    return ModelOutput(name, ACTIONS, halves)


def evidence_of(outputs: Sequence[ModelOutput], events: Mapping[HalfId, Events]) -> Evidence:
    spotting = SpottingConfig()
    return Evidence(
        stacked=stack(outputs),
        events=events,
        spottings=(spotting,) * len(outputs),
        windows_s=np.full(len(ACTIONS), 9.0),
    )


def three(events: Mapping[HalfId, Events]) -> list[ModelOutput]:
    return [
        output(name, events, seed, seen=seen)
        for seed, (name, seen) in enumerate({"a": 0.9, "b": 0.6, "c": 0.3}.items())
    ]


def fuse_all(method: str, evidence: Evidence) -> dict[HalfId, np.ndarray]:
    """Fitted on all games, and every half combined."""
    fitted = combiner(method).fit(evidence, evidence.games)
    return {half: fitted.combine(rows) for half, rows in evidence.stacked.halves.items()}


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_stay_probabilities_of_the_right_shape(method: str) -> None:
    events = season()
    outputs = three(events)
    zero, one = (
        ModelOutput(
            name,
            ACTIONS,
            {
                half: Probabilities(half=half, values=np.full((NUM_ROWS, 3), value, np.float32))
                for half in events
            },
        )
        for name, value in (("zero", 0.0), ("one", 1.0))
    )
    for half, fused in fuse_all(method, evidence_of([*outputs, zero, one], events)).items():
        assert fused.shape == (NUM_ROWS, len(ACTIONS)), half
        assert fused.dtype == np.float32
        assert ((fused >= 0) & (fused <= 1)).all()


@pytest.mark.parametrize("method", BY_WEIGHTS)  # a network is fitted to one model too
def test_one_model_returns_itself(method: str) -> None:
    events = season()
    evidence = evidence_of(three(events)[:1], events)
    atol = TO_EDGE if method.endswith("-logit") else 0
    for half, fused in fuse_all(method, evidence).items():
        np.testing.assert_allclose(fused, evidence.stacked.halves[half][0], atol=atol, rtol=1e-6)


# The learned ones are excepted: their weights begin as random numbers in the order of the models,
# and sums of the small one are of other roundings.
@pytest.mark.parametrize("method", BY_WEIGHTS)
def test_the_order_of_models_is_free(method: str) -> None:
    events = season()
    outputs = three(events)
    first = fuse_all(method, evidence_of(outputs, events))
    second = fuse_all(method, evidence_of(outputs[::-1], events))
    for half, fused in first.items():
        np.testing.assert_allclose(fused, second[half], atol=1e-6)


def with_a_copy(events: Mapping[HalfId, Events]) -> list[ModelOutput]:
    outputs = three(events)
    return [*outputs, outputs[0]._replace(name="a again")]


@pytest.mark.parametrize("method", GREEDY)
def test_a_copy_of_a_model_does_not_count_where_models_are_selected(method: str) -> None:
    events = season()
    alone = combiner(method).fit(evidence_of(three(events), events), games_of(events))
    copied = combiner(method).fit(evidence_of(with_a_copy(events), events), games_of(events))
    assert alone.weights is not None
    assert copied.weights is not None
    assert copied.weights[0] + copied.weights[3] == alone.weights[0] > 0
    np.testing.assert_array_equal(copied.weights[1:3], alone.weights[1:])


@pytest.mark.parametrize("method", [m for m in BY_WEIGHTS if m not in GREEDY])
def test_a_copy_of_a_model_counts_twice_in_a_mean_by_definition(method: str) -> None:
    events = season()
    alone = combiner(method).fit(evidence_of(three(events), events), games_of(events))
    copied = combiner(method).fit(evidence_of(with_a_copy(events), events), games_of(events))
    assert alone.weights is not None
    assert copied.weights is not None
    twice = alone.weights.copy()
    twice[0] *= 2
    together = copied.weights[:3].copy()
    together[0] += copied.weights[3]
    # Where actions borrow from the common weights, each part is doubled and divided by itself.
    atol = 0.01 if "per-action" in method else 1e-12
    np.testing.assert_allclose(together, twice / twice.sum(axis=0), atol=atol)


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_half_is_an_error_that_names_it(method: str) -> None:
    events = season()
    outputs = three(events)
    lost = HalfId("game 2", 1)
    halves = {half: part for half, part in outputs[1].halves.items() if half != lost}
    outputs[1] = outputs[1]._replace(halves=halves)
    with pytest.raises(InputError, match=r"b has no probabilities of game 2, half 1,"):
        fuse_all(method, evidence_of(outputs, events))


@pytest.mark.parametrize("method", METHODS)
def test_models_of_other_rates_and_lengths_meet_in_time(method: str) -> None:
    """Windows of another L are of the same rows, but for a few at the end of a half."""
    events = season()
    outputs = [
        output("fast", events, 1, seen=1.0, rate_hz=2.0),
        output("short", events, 2, seen=1.0, num_rows=NUM_ROWS - 2),
        output("plain", events, 3, seen=1.0),
    ]
    evidence = evidence_of(outputs, events)
    for half, fused in fuse_all(method, evidence).items():
        assert fused.shape == (2 * NUM_ROWS, len(ACTIONS))
        found = events[half]
        at_events = fused[(2 * found.time_s).astype(int), found.action]
        assert at_events.mean() > np.quantile(fused[:, :2], 0.95), half


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_looks_at_no_game_but_its_own(method: str) -> None:
    events = season()
    outputs = three(events)
    games = games_of(events)[:4]
    rng = np.random.default_rng(5)
    spoilt = [
        each._replace(
            halves={
                half: part
                if half.game in games
                else Probabilities(half=half, values=rng.random((NUM_ROWS, 3), dtype=np.float32))
                for half, part in each.halves.items()
            }
        )
        for each in outputs
    ]
    rows = evidence_of(outputs, events).stacked.halves[HalfId("game 5", 2)]
    honest, other = (
        combiner(method).fit(evidence_of(each, events), games).combine(rows)
        for each in (outputs, spoilt)
    )
    np.testing.assert_array_equal(honest, other)


@pytest.mark.parametrize("method", METHODS)
def test_cross_fitting_combines_every_game_by_the_other_folds(method: str) -> None:
    events = season()
    evidence = evidence_of(three(events), events)
    games = games_of(events)
    folds = (tuple(games[:2]), tuple(games[2:4]), tuple(games[4:]))
    steps: list[int] = []
    made = combiner(method)
    fit = cross_fit(made, evidence, folds, on_step=lambda: steps.append(1))
    assert list(fit.halves) == list(evidence.stacked.num_rows)
    if not made.is_fitted:
        assert fit.folds == ()
        return
    assert len(steps) == 4 * made.num_steps
    again = made.fit(evidence, [game for game in games if game not in folds[1]])
    half = HalfId(folds[1][0], 1)
    expected = again.combine(evidence.stacked.halves[half])
    np.testing.assert_array_equal(fit.halves[half], expected)


def test_fits_that_run_side_by_side_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    events = season()
    evidence = evidence_of(three(events), events)
    games = games_of(events)
    folds = (tuple(games[:2]), tuple(games[2:4]), tuple(games[4:]))
    made, steps = combiner("learned"), list[int]()
    alone = cross_fit(made, evidence, folds)
    monkeypatch.setattr(crossfit, "LONG_FIT", 0)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    together = cross_fit(made, evidence, folds, on_step=lambda: steps.append(1))
    assert len(steps) == 4 * made.num_steps
    assert [fold.games for fold in together.folds] == list(folds)
    for half, expected in alone.halves.items():
        np.testing.assert_array_equal(together.halves[half], expected)
    for rows in evidence.stacked.halves.values():
        np.testing.assert_array_equal(together.fitted.combine(rows), alone.fitted.combine(rows))
    with pytest.raises(InputError, match="needs labelled halves to fit on"):
        list(crossfit.run_fits(made, [(evidence, ()), (evidence, ())], nothing))


# Two fits that never end, and a file for the process of each.
ENDLESS = """
import os, time
from pathlib import Path
import joblib
from ensemble.combiner import nothing
from ensemble.combiners import crossfit
from tests.ensemble.combiners.test_contract import combiner, evidence_of, season, three
class Endless(type(combiner("learned"))):
    def fit(self, evidence, games, on_step=nothing):
        Path(FOLDER, str(os.getpid())).touch()
        time.sleep(600)
crossfit.LONG_FIT = 0
joblib.cpu_count = lambda: 2
evidence = evidence_of(three(season()), season())
list(crossfit.run_fits(Endless(), [(evidence, evidence.games)] * 2, nothing))
"""


@pytest.mark.slow
def test_fits_that_run_side_by_side_end_with_their_process(tmp_path: Path) -> None:
    script = ENDLESS.replace("FOLDER", repr(str(tmp_path)))
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    fits = [Path("/proc", path.name) for path in tmp_path.iterdir()]
    assert len(fits) == 2
    process.terminate()
    assert process.wait(30) != 0
    while any(fit.exists() for fit in fits) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(fit.exists() for fit in fits)


@pytest.mark.parametrize("method", METHODS)
def test_a_record_gives_back_what_was_fitted(method: str, tmp_path: Path) -> None:
    events = season()
    evidence = evidence_of(three(events), events)
    made = combiner(method)
    fitted = made.fit(evidence, evidence.games)
    fitted.save(tmp_path)
    members = tuple(
        MemberRecord(name=name, run=name, created="", **vote_of(fitted, m))
        for m, name in enumerate(evidence.stacked.models)
    )
    settings = made.settings.model_dump()
    record = EnsembleRecord(combiner=method, split="valid", members=members, **settings)
    rows = evidence.stacked.halves[HalfId("game 0", 1)]
    again = fitted_of(record, tmp_path, ACTIONS)
    np.testing.assert_array_equal(again.combine(rows), fitted.combine(rows))


def test_there_is_no_other_method() -> None:
    with pytest.raises(InputError, match="unknown combiner median; the combiners are mean"):
        combiner_of("median")


def test_a_mean_of_logits_is_the_geometric_mean_of_the_odds() -> None:
    rows = np.array([[[0.5]], [[0.9]]], dtype=np.float32)
    fused = combine(rows, np.array([0.5, 0.5]), "logit")
    np.testing.assert_allclose(fused, 3 / 4, rtol=1e-6)  # odds of 1 and 9
    assert logit(np.array([0.0, 1.0])).tolist() == pytest.approx([-12, 12])


def games_of(events: Mapping[HalfId, Events]) -> list[str]:
    return sorted({half.game for half in events})
