"""A configuration on a store names its actions alone, each with a window that its events allow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from hmtas.model.loss import positive_weights
from hmtas.presets import PRESETS
from hmtas.spotting.gaps import windows_by_gaps
from hmtas.store.local import EmbeddingStore
from hmtas.training.games import begin_run, plan_games
from hmtas.training.linear import run_baseline
from hmtas.training.on_store import on_store
from tests.support import rallies
from tests.support.rallies import make_rallies
from tests.support.small import make_config, make_store

BOUNCES = "ball bounces"


@pytest.fixture(scope="module")
def soccer(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("soccer"), train=2, valid=1, test=1)


@pytest.fixture(scope="module")
def tennis(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_rallies(tmp_path_factory.mktemp("tennis"))


@pytest.mark.parametrize("name", PRESETS)
def test_nothing_changes_on_soccernet_s_actions(name: str, soccer: EmbeddingStore) -> None:
    config = PRESETS[name].config
    before = {**config.flat(), "spotting.default_window_s": 9.0}
    assert on_store(config, soccer).flat() == before
    bare = config.updated({"windows_s": {}})
    assert on_store(bare, soccer).spotting.windows_s == {}, "9 s, as asked for"
    assert on_store(bare, soccer).spotting.window_of("Goal") == 9


@pytest.mark.parametrize("name", PRESETS)
def test_other_actions_are_all_there_is_and_have_windows_of_their_events(
    name: str, tennis: EmbeddingStore
) -> None:
    config = on_store(PRESETS[name].config, tennis)
    assert config.train.class_weights.by_action == {}
    assert tuple(config.spotting.windows_s) == tennis.actions
    events = tennis.events_of(tennis.games("train")).values()
    rate_hz = config.model.output_rate_hz or tennis.rate_hz
    of_gaps = windows_by_gaps(events, len(tennis.actions), rate_hz)
    assert list(config.spotting.windows_s.values()) == of_gaps.tolist()
    assert (of_gaps < 9).all()
    assert on_store(config, tennis) == config
    own = ("train.class_weights.by_action", "spotting.windows_s", "spotting.default_window_s")
    before = PRESETS[name].config.flat()
    assert {p: v for p, v in config.flat().items() if before[p] != v}.keys() <= set(own)


def test_what_a_user_says_stays(tennis: EmbeddingStore) -> None:
    wide = on_store(Config().updated({f"windows_s.{BOUNCES}": 3.5}), tennis)
    assert wide.spotting.windows_s[BOUNCES] == 3.5
    assert wide.spotting.windows_s["point ends"] != 3.5
    for window_s in (4, 9):
        settings: dict[str, Any] = {"default_window_s": window_s, f"windows_s.{BOUNCES}": 1}
        found = on_store(Config().updated(settings), tennis).spotting.windows_s
        assert found == {**dict.fromkeys(tennis.actions, window_s), BOUNCES: 1}
    weights = on_store(Config().updated({f"by_action.{BOUNCES}": 3}), tennis).train.class_weights
    assert weights.by_action == {BOUNCES: 3}
    with pytest.raises(InputError, match="windows_s: no action 'ball bounce', did you mean"):
        on_store(Config().updated({"windows_s.ball bounce": 3}), tennis)


def test_an_action_that_the_thesis_knows_keeps_its_numbers(tmp_path: Path) -> None:
    store = make_rallies(tmp_path, ("Goal", "Penalty", BOUNCES))
    config = on_store(Config(), store)
    assert config.train.class_weights.by_action == {"Penalty": 20}
    windows_s = config.spotting.windows_s
    assert (windows_s["Goal"], windows_s["Penalty"]) == (20, 12)
    assert windows_s[BOUNCES] < 9


def test_a_store_without_train_games_says_nothing_of_its_events(tennis: EmbeddingStore) -> None:
    splits = {name: games for name, games in tennis.splits.items() if name != "train"}
    store = EmbeddingStore(tennis.path, tennis.index.model_copy(update={"splits": splits}))
    assert set(on_store(Config(), store).spotting.windows_s.values()) == {9}


def test_a_run_s_record_has_them_and_the_same_command_takes_it_up(
    tennis: EmbeddingStore, tmp_path: Path
) -> None:
    from hmtas.runs.record import write_run

    config = make_config()
    games = plan_games(tennis, config.train)
    record = begin_run(tennis, config, games, tmp_path / "r", name="r")
    assert record.config == on_store(config, tennis) != config
    write_run(tmp_path / "r", record)
    for again in (config, record.config):
        assert begin_run(tennis, again, games, tmp_path / "r", name="r").config == record.config
    other = config.updated({f"windows_s.{BOUNCES}": 8})
    with pytest.raises(InputError, match=r"another configuration \(spotting.windows_s"):
        begin_run(tennis, other, games, tmp_path / "r", name="r")


def test_the_baseline_s_record_has_them_too(tennis: EmbeddingStore, tmp_path: Path) -> None:
    from hmtas.runs.record import read_run

    for name, window_s in (("usual", None), ("wide", 30.0)):
        run_baseline(tennis, tmp_path / name, ["valid"], nms_window_s=window_s)
        spotting = read_run(tmp_path / name).config.spotting
        assert tuple(spotting.windows_s) == tennis.actions
        wanted = on_store(Config(), tennis).spotting.windows_s
        assert spotting.windows_s == (wanted if window_s is None else dict.fromkeys(wanted, 30))


@pytest.mark.parametrize(
    ("weights", "actions", "num", "expected"),
    [
        pytest.param({}, ("a", "b"), (5, 0), (10, 10), id="by number"),
        pytest.param({"by_action": {"b": 3}}, ("a", "b"), (5, 0), (10, 3), id="one by name"),
        pytest.param({"power": 1}, ("a", "b", "c"), (4, 16, 64), (40, 10, 2.5), id="by rate"),
        pytest.param({"power": 1}, ("a", "b", "c"), (0, 4, 8), (40, 10, 5), id="never happens"),
        pytest.param({"power": 0.5}, ("a",), (7,), (10,), id="one action"),
        pytest.param({"power": 0.5}, ("a",), (0,), (10,), id="one that never happens"),
    ],
)
def test_class_weights_are_of_any_actions(
    weights: dict[str, Any],
    actions: tuple[str, ...],
    num: tuple[int, ...],
    expected: tuple[float, ...],
) -> None:
    config = Config().updated({f"class_weights.{name}": v for name, v in weights.items()})
    found = positive_weights(config.train.class_weights, actions, np.array(num))
    assert found.tolist() == pytest.approx([1, *expected])


def test_the_season_of_these_tests_is_not_soccer() -> None:
    assert set(rallies.ACTIONS).isdisjoint(ACTIONS)
