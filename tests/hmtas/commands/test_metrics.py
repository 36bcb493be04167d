"""`score`, `compare` and `tune windows` take the metric of another task beside tight and loose."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.formats.submission import write_submission
from hmtas.packing.pack import pack
from hmtas.records import HalfId, Probabilities, Spots
from hmtas.runs.probabilities import Provenance, write_probabilities
from hmtas.runs.record import predictions_path
from hmtas.store.local import EmbeddingStore
from hmtas.tracking.client import connect
from hmtas.tracking.run import sync_run
from tests.support.store_tree import label, rows, save, save_labels, save_splits
from tests.support.tracked import make_run

ACTIONS = ("left pass", "right pass", "left shot", "right shot")
GAMES = [f"l/s/v{g}" for g in range(6)]
EVENT_S = 12


class Season(NamedTuple):
    """A packed season of actions of two teams, and where runs go."""

    work: Path
    store: Path


@pytest.fixture
def season(work: Path) -> Season:
    games, store = work / "games", work / "store"
    for game in GAMES:
        for half in (1, 2):
            save(games, game, half, "vggish", rows(game, half, "vggish"))
        annotations = [label(1, EVENT_S, "left pass"), label(2, EVENT_S, "right pass")]
        save_labels(games, game, [*annotations, label(2, EVENT_S, "left shot")])
    save_splits(games, {"train": [], "valid": GAMES})
    pack(games, store, actions=ACTIONS)
    return Season(work, store)


def submission(season: Season, name: str, *, late_s: float, found: int = len(GAMES)) -> Path:
    """Spots so late in the first games, and nothing in the others."""
    spots = {}
    for g, game in enumerate(GAMES):
        for half, actions in ((1, [0]), (2, [1, 2])):
            here = actions if g < found else []
            spots[HalfId(game, half)] = Spots(
                half=HalfId(game, half),
                time_s=np.full(len(here), EVENT_S + late_s),
                action=np.array(here, dtype=np.int64),
                confidence=np.full(len(here), 0.9 - 0.1 * g),
            )
    write_submission(season.work / name, spots, ACTIONS)
    return season.work / name


def hmtas(*words: str | Path) -> str:
    result = CliRunner().invoke(build(), [str(word) for word in words])
    if result.exception:
        raise result.exception
    return result.stdout


def scored(season: Season, spots: Path, *options: str | Path) -> dict[str, Any]:
    asked = ("score", spots, "--games", season.store, "--bootstrap", "50", "--json")
    found: dict[str, Any] = json.loads(hmtas(*asked, *options))
    return found


def test_nobody_asks_and_nothing_is_added(season: Season) -> None:
    found = scored(season, submission(season, "spots", late_s=0))
    assert sorted(found) == ["loose", "num_events", "num_games", "tight"]
    assert "team_map" not in found["tight"]


@pytest.mark.parametrize(
    ("options", "late_s", "expected"),
    [
        (("--tolerance-s", "1"), 0.6, 3 / 4),  # on half seconds 0.6 s off is one cell
        (("--tolerance-s", "1", "--grid-hz", "25"), 0.6, 0.0),
        (("--tolerance-s", "1", "--grid-hz", "25"), 0.48, 3 / 4),
        (("--tolerance-s", "1,2", "--grid-hz", "25"), 0.6, 3 / 8),
        # E2E-Spot's mean is over the actions that have events.
        (("--tolerance-frames", "15", "--fps", "25"), 0.6, 1.0),
        (("--tolerance-frames", "14", "--fps", "25"), 0.6, 0.0),
        (("--tolerance-frames", "0,15", "--fps", "25"), 0.6, 1 / 2),
    ],
)
def test_the_metric_stands_beside_tight_and_loose(
    season: Season, options: tuple[str, ...], late_s: float, expected: float
) -> None:
    spots = submission(season, "spots", late_s=late_s)
    found = scored(season, spots, *options)
    assert found["chosen"]["average_map"] == pytest.approx(expected)
    low, high = found["chosen"]["interval"]
    assert low - 1e-9 <= expected <= high + 1e-9
    assert len(found["chosen"]["per_tolerance"]) == len(options[1].split(","))
    del found["chosen"]
    assert found == scored(season, spots)


def test_the_interval_is_that_of_resampled_games(season: Season) -> None:
    spots = submission(season, "spots", late_s=0, found=3)
    for options in (("--tolerance-s", "1"), ("--tolerance-frames", "1", "--fps", "25")):
        found = scored(season, spots, *options)["chosen"]
        low, high = found["interval"]
        assert 0 <= low < found["average_map"] < high <= 1


def test_tables_have_a_row_and_a_column_of_it(season: Season) -> None:
    spots = submission(season, "spots", late_s=0.6)
    other = submission(season, "other", late_s=0)
    asked = ("score", spots, other, "--games", season.store, "--tolerance-frames", "1,15")
    out = hmtas(*asked, "--fps", "25")
    total = next(line for line in out.splitlines() if "1, 15 frames, 25 fps " in line)
    assert " 50.00 " in total
    assert "1, 15 frames, 25 fps by frames  1: 0.0  15: 100.0" in out
    left = [line for line in out.splitlines() if "left pass" in line]
    assert left[0].split()[-1] == "50.00"
    assert left[1].split()[-1] == "100.00"


def test_teams_are_put_together(season: Season) -> None:
    found = scored(season, submission(season, "spots", late_s=0.6), "--by-team",
                   "--tolerance-s", "1", "--grid-hz", "25")  # fmt: skip
    assert found["tight"]["team_map"] == pytest.approx(1)  # no event of the right team's shot
    assert found["chosen"]["team_map"] == 0
    spots = submission(season, "spots", late_s=0)
    out = hmtas("score", spots, "--games", season.store, "--by-team")
    tight = next(line for line in out.splitlines() if " tight " in line)
    assert tight.split()[-1] == "100.00"


def predict(season: Season, name: str, late_s: int, *, wide: bool = False) -> Path:
    """A run that is so late in odd games; `wide` has a second, surer peak 9 s before each event."""
    run = make_run(season.work / name, store=str(season.store), actions=ACTIONS)
    halves = []
    for g, game in enumerate(GAMES):
        for number, actions in ((1, [0]), (2, [1, 2])):
            values = np.zeros((30, len(ACTIONS)), dtype=np.float32)
            values[EVENT_S + late_s * (g % 2), actions] = 0.5 + 0.05 * g
            if wide:
                values[EVENT_S - 9, actions] = 0.51 + 0.05 * g
            halves.append(Probabilities(half=HalfId(game, number), values=values))
    about = Provenance(
        run=name, split="valid", store=str(season.store),
        store_checksum=EmbeddingStore.open(season.store).checksum,
        actions=ACTIONS, rate_hz=1.0, fitted_games=(), created="now",
    )  # fmt: skip
    predictions_path(run, "valid").parent.mkdir()
    write_probabilities(predictions_path(run, "valid"), halves, about)
    return run


def test_a_run_remembers_it_and_mlflow_has_it(season: Season) -> None:
    run = predict(season, "run", late_s=1)
    options = ("--split", "valid", "--by-team", "--tolerance-frames", "1", "--fps", "25")
    found = json.loads(hmtas("score", run, *options, "--json"))
    stored = json.loads((run / "scores" / "valid.json").read_text())
    assert stored["chosen"] == found["chosen"]
    assert stored["chosen"]["metric"] == {
        "unit": "frames", "tolerances": [1.0], "rate_hz": 25.0
    }  # fmt: skip
    run_id = sync_run(run, uri=f"sqlite:///{season.work / 'mlflow.db'}")
    metrics = connect(f"sqlite:///{season.work / 'mlflow.db'}").get_run(run_id).data.metrics
    name = "valid_map_1_frames_25fps"
    assert metrics[name] == pytest.approx(found["chosen"]["average_map"])
    assert [metrics[f"{name}_low"], metrics[f"{name}_high"]] == found["chosen"]["interval"]
    assert metrics[f"{name}_team"] == found["chosen"]["team_map"]
    assert metrics["valid_tight_team"] == found["tight"]["team_map"]
    assert metrics["valid_tight"] == found["tight"]["average_map"]


@pytest.mark.parametrize(
    "options",
    [("--tolerance-s", "1", "--grid-hz", "25"), ("--tolerance-frames", "1", "--fps", "25")],
)
def test_pairs_are_compared_by_it(season: Season, options: tuple[str, ...]) -> None:
    # 0.6 s off is nothing to tight, on its half seconds, and all to the finer metrics.
    late = submission(season, "late", late_s=0.6)
    exact = submission(season, "exact", late_s=0)
    asked = ("compare", exact, late, "--games", season.store)
    assert json.loads(hmtas(*asked, "--json"))["paired"]["runs"][0]["against_reference"] == (
        pytest.approx({"difference": 0, "low": 0, "high": 0, "standard_error": 0, "p_value": 1,
                       "verdict": "cannot tell", "games_needed": None})
    )  # fmt: skip
    found = json.loads(hmtas(*asked, *options, "--json"))["paired"]
    first = found["runs"][0]
    assert first["chosen"] == scored(season, exact, *options)["chosen"]["average_map"]
    assert first["tight"] == scored(season, exact)["tight"]["average_map"]
    assert first["against_reference"]["difference"] == pytest.approx(first["chosen"])
    assert found["winner"]["name"] == str(exact)
    assert found["winner"]["chosen"] == first["chosen"]
    title = "1 s, 25 Hz" if options[0] == "--tolerance-s" else "1 frame, 25 fps"
    assert f"mAP at {title}, in %" in " ".join(hmtas(*asked, *options).split())


def test_runs_are_compared_by_it_too(season: Season) -> None:
    runs = [predict(season, "exact", late_s=0), predict(season, "late", late_s=1)]
    asked = ("compare", *runs, "--tolerance-frames", "1", "--fps", "25", "--json")
    found = json.loads(hmtas(*asked))["paired"]["runs"]
    assert found[0]["chosen"] > found[1]["chosen"]
    assert "chosen" not in json.loads(hmtas("compare", *runs, "--json"))["paired"]["runs"][0]


def test_windows_are_fitted_for_it(season: Season) -> None:
    # A surer peak 9 s away hides the right one under wide windows. A wide metric, which takes the
    # wrong peak for right and the other for one too many, prefers them; a narrow one does not.
    run = predict(season, "run", late_s=0, wide=True)
    asked = ("tune", "windows", run, "--kinds", "hard", "--json")
    wide, narrow, frames = (
        json.loads(hmtas(*asked, *options))[0]
        for options in (
            ("--tolerance-s", "30"),
            ("--tolerance-s", "1", "--grid-hz", "25"),
            ("--tolerance-frames", "1", "--fps", "25"),
        )
    )
    windows = [found["windows"]["windows_s"]["left pass"] for found in (wide, narrow, frames)]
    assert windows[0] >= 18 > windows[1]  # 9 s to one side
    assert windows[1] == windows[2]
    for found in (wide, narrow, frames):
        gained = found["after"]["chosen"]["average_map"] - found["before"]["chosen"]["average_map"]
        assert found["difference"][0] == pytest.approx(gained, abs=1e-12)
    stored = json.loads((run / "scores" / "valid.json").read_text())
    assert stored["chosen"] == frames["after"]["chosen"]
    out = hmtas("tune", "windows", run, "--kinds", "hard", "--tolerance-s", "1")
    assert "mAP at 1 s, on valid" in " ".join(out.split())


def test_windows_are_fitted_on_its_grid(season: Season) -> None:
    # The wrong peak is 9.4 s from the event: 18 cells of half a second, 235 of 0.04 s. The
    # tolerance reaches 18.6 and 232.5 of them.
    for game in GAMES:
        save_labels(season.work / "games", game, [label(1, EVENT_S + 0.4, "left pass")])
    pack(season.work / "games", season.work / "later", actions=ACTIONS)
    run = predict(season, "run", late_s=0, wide=True)
    asked = ("tune", "windows", run, "--kinds", "hard", "--json", "--store", season.work / "later")
    windows = [
        json.loads(hmtas(*asked, "--tolerance-s", "18.6", "--grid-hz", grid))[0]["windows"]
        for grid in ("2", "25")
    ]
    assert windows[0]["windows_s"]["left pass"] >= 18 > windows[1]["windows_s"]["left pass"]
