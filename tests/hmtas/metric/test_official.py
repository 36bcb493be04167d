"""All six outputs of SoccerNet's evaluator, to 1e-12: on generated games, on files, from memory.

`tests/golden/metric.json` holds what SoccerNet 0.2.0 said of seeded random games, so that a check
runs without it; `python tests/test_metrics_official.py` writes it anew.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtas.formats.actions import ACTIONS
from hmtas.formats.soccernet import read_events
from hmtas.formats.submission import read_submission, write_submission
from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map
from hmtas.records import Events, HalfId, Spots
from tests.support.metric_cases import (
    COMMON,
    FEATURES,
    LATE,
    SETTINGS,
    Case,
    as_spots,
    cases,
    features,
)
from tests.support.metric_games import random_games
from tests.support.official import assert_official, evaluate, needs_soccernet, official
from tests.support.paths import ROOT
from tests.support.store_tree import save_labels

GOLDEN = ROOT / "tests/golden" / "metric.json"


@pytest.mark.slow
@needs_soccernet
@pytest.mark.parametrize("name", SETTINGS)
def test_all_six_outputs_equal_soccernets(name: str) -> None:
    setting = SETTINGS[name]
    seen: Counter[str] = Counter()

    @settings(
        deadline=None,
        derandomize=True,
        max_examples=setting.num_cases,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(setting))
    def check(case: Case) -> None:
        expected = official(
            case.spots, case.events, case.num_actions, case.tolerances_s, setting.num_cells
        )
        result = average_map(case.spots, case.events, case.num_actions, case.tolerances_s)
        assert_official(result, expected)
        found = set(features(case)) | ({"half right"} if 0 < result.average_map < 1 else set())
        seen.update([*found, "cases"])

    check()
    assert seen["cases"] >= setting.num_cases
    # The large setting has everything, also what is rare; the others what they are for.
    asked = FEATURES if name == "single tolerances" else COMMON
    asked += LATE if setting.start_ms else ()
    assert {feature: seen[feature] for feature in asked if seen[feature] < 3} == {}


def test_two_thousand_cases_are_generated() -> None:
    assert sum(setting.num_cases for setting in SETTINGS.values()) >= 2000


# Files, through the evaluator's own readers.


@st.composite
def label_files(draw: st.DrawFn, actions: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """Annotations of one or two games, in order of time as in every published file."""
    games = ["league/season/a", "league/season/b"][: draw(st.integers(1, 2))]
    return {
        game: [
            annotation(half, ms, draw(st.sampled_from(actions)), draw(st.integers(0, 5)))
            for half in (1, 2)
            for ms in sorted(draw(st.lists(st.integers(0, 60_000), max_size=12)))
        ]
        for game in games
    }


def annotation(half: int, ms: int, action: str, kind: int) -> dict[str, str]:
    """Some of the kinds that occur: late, unshown, without a visibility, without a position."""
    if kind == 0:
        ms = 7_250_000
    row = {"gameTime": f"{half} - {ms // 60_000:02}:{ms // 1000 % 60:02}", "label": action}
    if kind != 1:
        row["position"] = str(ms)
    if kind > 1:
        row["visibility"] = "visible" if kind > 2 else "not shown"
    return row


@needs_soccernet
@pytest.mark.parametrize(
    ("actions", "metrics", "num_trees"),
    [(("Pass", "Drive", "Goal"), ("at1", "at5", "tight"), 12), (ACTIONS, ("at3", "loose"), 2)],
    ids=["3 actions", "17 actions"],
)
def test_the_evaluator_gives_the_same_on_files(
    actions: tuple[str, ...], metrics: tuple[str, ...], num_trees: int
) -> None:
    @settings(
        deadline=None,
        derandomize=True,
        max_examples=num_trees,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        labels=label_files(actions),
        metric=st.sampled_from(metrics),
        zipped=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
    )
    def check(
        labels: Mapping[str, list[dict[str, str]]], metric: str, zipped: bool, seed: int
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root, results = Path(folder) / "games", Path(folder) / ("r.zip" if zipped else "r")
            for game, annotations in labels.items():
                save_labels(root, game, sorted(annotations, key=position))
            found, _ = random_games(seed, len(labels), len(actions))
            named = {  # the same spots under the names of these games
                HalfId(game, n): as_spots(HalfId(game, n), rows_of(spots))
                for (game, n), spots in zip(product(labels, (1, 2)), found.values(), strict=True)
            }
            write_submission(results, named, actions)
            ours = average_map(
                read_submission(results, actions),
                {
                    HalfId(game, n): events
                    for game in labels
                    for n, events in read_events(root, game, actions).items()
                },
                len(actions),
                OFFICIAL_TOLERANCES[metric],
            )
            assert_official(ours, evaluate(root, results, actions, metric))

    check()


OFFICIAL_TOLERANCES = {
    "at1": (1,), "at3": (3,), "at5": (5,), "tight": TIGHT_S, "loose": LOOSE_S,
}  # fmt: skip


def position(row: Mapping[str, str]) -> float:
    minutes, seconds = row["gameTime"].split("- ")[1].split(":")
    return float(row.get("position", 1000 * (60 * int(minutes) + int(seconds))))


def rows_of(spots: Spots) -> list[Any]:
    return list(zip(1000 * spots.time_s, spots.action, spots.confidence, strict=True))


# From memory.


GOLDEN_CASES = [
    {"seed": 11, "num_games": 3, "num_actions": 4, "length_s": 60.0, "tolerances_s": TIGHT_S},
    {"seed": 12, "num_games": 3, "num_actions": 4, "length_s": 600.0, "tolerances_s": LOOSE_S},
    {"seed": 13, "num_games": 2, "num_actions": 2, "length_s": 60.0, "tolerances_s": (1,)},
    {"seed": 14, "num_games": 2, "num_actions": 3, "length_s": 7500.0, "tolerances_s": LOOSE_S},
]


def golden_input(case: Mapping[str, Any]) -> Any:
    return random_games(case["seed"], case["num_games"], case["num_actions"], case["length_s"])


@pytest.mark.parametrize("number", range(len(GOLDEN_CASES)))
def test_golden_outputs_of_soccernet(number: int) -> None:
    stored = json.loads(GOLDEN.read_text())[number]
    spot = {HalfId(*row.pop("half")): row for row in stored["spots"]}
    event = {HalfId(*row.pop("half")): row for row in stored["events"]}
    result = average_map(
        {half: Spots(half=half, **as_arrays(row)) for half, row in spot.items()},
        {half: Events(half=half, **as_arrays(row)) for half, row in event.items()},
        stored["num_actions"],
        stored["tolerances_s"],
    )
    assert_official(result, stored["official"])
    assert 0 < result.average_map < 1


TYPES = {"time_s": np.float64, "action": np.int64, "confidence": np.float64, "visible": np.bool_}


def as_arrays(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.array(values, dtype=TYPES[name]) for name, values in row.items()}


def write_golden() -> None:
    """Inputs are stored too: numpy does not promise the same random numbers for ever."""
    stored = []
    for case in GOLDEN_CASES:
        spot, event = golden_input(case)
        stored.append({
            "num_actions": case["num_actions"],
            "tolerances_s": case["tolerances_s"],
            "spots": [
                {"half": half, "time_s": s.time_s.tolist(), "action": s.action.tolist(),
                 "confidence": s.confidence.tolist()}
                for half, s in spot.items()
            ],
            "events": [
                {"half": half, "time_s": e.time_s.tolist(), "action": e.action.tolist(),
                 "visible": e.visible.tolist()}
                for half, e in event.items()
            ],
            "official": official(spot, event, case["num_actions"], case["tolerances_s"]),
        })  # fmt: skip
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(case) for case in stored) + "\n]\n")


if __name__ == "__main__":
    write_golden()
