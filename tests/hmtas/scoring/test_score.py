"""A score has every official number, and that of a run survives its file."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from hmtas.config import SpottingConfig
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map
from hmtas.records import Events, HalfId, Spots
from hmtas.runs.record import score_path
from hmtas.scoring.score import RunScore, read_score, score_spots, write_score

ACTIONS = ("Goal", "Foul")
HALVES = [HalfId(game, half) for game in ("a", "b", "c") for half in (1, 2)]


def case() -> tuple[dict[HalfId, Spots], dict[HalfId, Events]]:
    generator = np.random.default_rng(5)
    spots, events = {}, {}
    for half in HALVES:
        time_s = np.sort(generator.integers(0, 2700, 30)).astype(float)
        none = np.zeros(30, dtype=np.int64)
        spots[half] = Spots(half=half, time_s=time_s, action=none, confidence=generator.random(30))
        late_s = time_s[::2] + generator.integers(0, 5, 15)
        events[half] = Events(
            half=half,
            time_s=np.sort(late_s),
            action=none[::2],
            visible=generator.random(15) < 0.5,
        )
    return spots, events


@pytest.mark.parametrize("shown", [True, False])
def test_what_has_no_events_has_no_score(*, shown: bool) -> None:
    spots, events = case()
    alike = {h: dataclasses.replace(e, visible=np.full(15, shown)) for h, e in events.items()}
    found = score_spots(spots, alike, ACTIONS, bootstrap=0)
    expected = average_map(spots, alike, 2, TIGHT_S)
    seen, other = (expected.visible, None) if shown else (None, expected.unshown)
    assert (found.tight.visible, found.tight.unshown) == (seen, other)
    assert found.tight.average_map == expected.average_map > 0


def test_one_game_has_no_interval() -> None:
    spots, events = case()
    one, two = (
        score_spots(*({h: item[h] for h in HALVES[:n]} for item in (spots, events)), ACTIONS)
        for n in (2, 4)
    )
    assert (one.num_games, one.tight.interval, one.loose.interval) == (1, None, None)
    assert two.tight.interval is not None


def test_the_score_has_every_official_number() -> None:
    spots, events = case()
    document = score_spots(spots, events, ACTIONS, bootstrap=50).model_dump(mode="json")
    assert list(document) == ["tight", "loose", "num_games", "num_events"]
    assert document["num_games"] == 3
    for name, tolerances_s in (("tight", TIGHT_S), ("loose", LOOSE_S)):
        expected = average_map(spots, events, 2, tolerances_s)
        part = document[name]
        assert list(part) == [
            "average_map", "visible", "unshown", "per_action", "per_tolerance", "interval",
        ]  # fmt: skip
        assert part["average_map"] == expected.average_map > 0
        assert (part["visible"], part["unshown"]) == (expected.visible, expected.unshown)
        assert part["per_action"] == {"Goal": expected.per_action[0], "Foul": None}
        assert part["per_tolerance"] == dict(
            zip(map(str, tolerances_s), expected.per_tolerance.tolist(), strict=True)
        )
        low, high = part["interval"]
        assert low < high
        assert not math.isnan(low + high)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_seed_decides_the_intervals_and_they_can_be_left_out() -> None:
    spots, events = case()

    def interval(**options: int) -> tuple[float, float] | None:
        return score_spots(spots, events, ACTIONS, **options).tight.interval

    assert interval(bootstrap=50, seed=1) == interval(bootstrap=50, seed=1)
    assert interval(bootstrap=50, seed=1) != interval(bootstrap=50, seed=2)
    assert interval(bootstrap=0) is None


def test_the_score_of_a_run_survives_its_file(tmp_path: Path) -> None:
    score = score_spots(*case(), ACTIONS, bootstrap=50)
    of_run = RunScore(
        **dict(score), split="valid", spotting=SpottingConfig(nms="linear"), cross_fitted=True
    )
    write_score(tmp_path, of_run)
    path = score_path(tmp_path, "valid")
    assert read_score(path) == of_run
    assert list(json.loads(path.read_text())) == [
        "tight", "loose", "num_games", "num_events", "split", "spotting", "cross_fitted",
    ]  # fmt: skip
    write_json(path, {"tight": 0.3})
    with pytest.raises(InputError, match=r"valid\.json: tight: Input should be a valid dictionary"):
        read_score(path)
