"""What is written is read back unchanged, and the official evaluator reads it too."""

import importlib
import importlib.util
import json
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from hmtas.formats.soccernet import read_events
from hmtas.formats.submission import holds_spots, read_submission, write_submission
from hmtas.metric.averages import LOOSE_S, TIGHT_S, average_map
from hmtas.records import Events, HalfId, Spots

GAMES = (
    "england_epl/2014-2015/2015-02-21 - 18-00 Chelsea 1 - 1 Burnley",
    "italy_serie-a/2015-2016/2015-08-29 - 21-45 AC Milan 2 - 1 Empoli",
)
GOOD = {"gameTime": "1 - 30:34", "label": "Goal", "position": "1834000", "half": "1",
        "confidence": "0.91"}  # fmt: skip


def some_spots(seed: int = 0) -> dict[HalfId, Spots]:
    generator = np.random.default_rng(seed)
    return {
        HalfId(game, number): Spots(
            half=HalfId(game, number),
            time_s=generator.integers(0, 5700, 300).astype(float) / 2,
            action=generator.integers(0, 17, 300),
            confidence=generator.random(300, dtype=np.float32).astype(np.float64),
        )
        for game in GAMES
        for number in (1, 2)
    }


def put(folder: Path, document: Any, game: str = GAMES[0]) -> Path:
    file = folder / game / "results_spotting.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return folder


@pytest.mark.parametrize("name", ["spots", "spots.zip"])
def test_spots_come_back_unchanged_and_in_order(tmp_path: Path, name: str) -> None:
    spots = some_spots()
    write_submission(tmp_path / name, spots, ACTIONS)
    back = read_submission(tmp_path / name, ACTIONS)
    assert back.keys() == spots.keys()
    for half, expected in spots.items():
        assert back[half].time_s.tolist() == expected.time_s.tolist()
        assert back[half].action.tolist() == expected.action.tolist()
        assert back[half].confidence.tolist() == expected.confidence.tolist()


def test_the_ending_of_a_name_decides_in_any_case_and_an_unknown_one_is_refused(
    tmp_path: Path,
) -> None:
    write_submission(tmp_path / "s.ZIP", some_spots(), ACTIONS)
    assert zipfile.is_zipfile(tmp_path / "s.ZIP")
    assert holds_spots(tmp_path / "s.ZIP")
    (tmp_path / "downloaded").write_bytes((tmp_path / "s.ZIP").read_bytes())
    assert holds_spots(tmp_path / "downloaded"), "a zip without its ending"
    for name in ("s.json", "s.tar.gz", "s.RAR"):
        with pytest.raises(InputError, match=r"a folder, or .* that ends in \.zip, not in"):
            write_submission(tmp_path / name, some_spots(), ACTIONS)
    write_submission(tmp_path / "epoch.3", some_spots(), ACTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["downloaded", "epoch.3", "s.ZIP"]


def test_a_prediction_looks_like_soccernets(tmp_path: Path) -> None:
    half = HalfId(GAMES[0], 1)
    spot = Spots(
        half=half, time_s=np.array([1834.0]), action=np.array([2]), confidence=np.array([0.91])
    )
    write_submission(tmp_path / "spots", {half: spot}, ACTIONS)
    document = json.loads((tmp_path / "spots" / GAMES[0] / "results_spotting.json").read_text())
    assert document == {"UrlLocal": GAMES[0], "predictions": [GOOD]}


def test_times_are_rounded_to_milliseconds(tmp_path: Path) -> None:
    half = HalfId(GAMES[0], 1)
    one = np.array([4.035])  # times 1000 is a little less than 4035
    spot = Spots(half=half, time_s=one, action=np.array([2]), confidence=np.array([0.5]))
    write_submission(tmp_path / "spots", {half: spot}, ACTIONS)
    assert read_submission(tmp_path / "spots", ACTIONS)[half].time_s.tolist() == [4.035]


def test_the_same_spots_give_the_same_zip(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_submission(tmp_path / name, some_spots(), ACTIONS)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_numbers_may_be_numbers(tmp_path: Path) -> None:
    plain = GOOD | {"position": 1834000, "half": 1, "confidence": 0.91}
    spots = read_submission(put(tmp_path, {"predictions": [plain]}), ACTIONS)
    assert spots[HalfId(GAMES[0], 1)].time_s.tolist() == [1834.0]
    assert spots[HalfId(GAMES[0], 2)].time_s.tolist() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"label": "Gaol"}, "unknown action 'Gaol'.*the closest is 'Goal'",
                     id="typo"),
        pytest.param({"label": ["Goal"]}, "unknown action", id="label is a list"),
        pytest.param({"half": "0"}, "half must be a number from 1, got '0'", id="half zero"),
        pytest.param({"half": 1.5}, "half must be a number from 1, got 1.5", id="half a half"),
        pytest.param({"half": None}, "half must be a number from 1, got None", id="no half"),
        pytest.param({"position": "-1"}, "milliseconds >= 0, got '-1'", id="before the start"),
        pytest.param({"position": "30:34"}, "position must be milliseconds", id="not a number"),
        pytest.param({"position": "inf"}, "must be milliseconds, got 'inf'", id="endless"),
        pytest.param({"position": "9" * 400}, "must be milliseconds, got .99", id="400 digits"),
        pytest.param({"position": 1e400}, "must be milliseconds, got inf", id="overflow"),
        pytest.param({"confidence": "1.5"}, r"must be in \[0, 1\], got '1.5'", id="above 1"),
        pytest.param({"confidence": "nan"}, r"a number in \[0, 1\], got 'nan'", id="nan"),
        pytest.param({"confidence": True}, r"a number in \[0, 1\], got True", id="a boolean"),
    ],
)  # fmt: skip
def test_a_bad_prediction_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    put(tmp_path, {"predictions": [GOOD, GOOD | change]})
    with pytest.raises(InputError, match=message) as caught:
        read_submission(tmp_path, ACTIONS)
    assert f"{GAMES[0]}/results_spotting.json, prediction 1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no list named 'predictions'"),
        ('{"predictions": {}}', "no list named 'predictions'"),
        ('{"predictions": [1]}', "prediction 0: must be an object"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, document: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_submission(put(tmp_path, document), ACTIONS)


def test_what_is_no_submission_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_submission(tmp_path / "nowhere", ACTIONS)
    with pytest.raises(InputError, match=r"holds no results_spotting\.json"):
        read_submission(tmp_path, ACTIONS)
    (tmp_path / "results_spotting.json").write_text(json.dumps({"predictions": []}))
    with pytest.raises(InputError, match="must lie in the folder of its game"):
        read_submission(tmp_path, ACTIONS)


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spots.zip"
    write_submission(path, some_spots(), ACTIONS)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="not a sound zip"):
        read_submission(path, ACTIONS)


def test_a_flipped_byte_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spots.zip"
    write_submission(path, some_spots(), ACTIONS)
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a sound zip"):
        read_submission(path, ACTIONS)


def test_an_earlier_submission_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "spots"
    write_submission(out, some_spots(), ACTIONS)
    one_game = {half: spots for half, spots in some_spots().items() if half.game == GAMES[1]}
    write_submission(out, one_game, ACTIONS)
    assert {half.game for half in read_submission(out, ACTIONS)} == {GAMES[1]}
    (out / "thesis.pdf").write_text("years of work")
    with pytest.raises(
        InputError, match=r"not all of it is spots: 1 other file, such as thesis\.pdf"
    ):
        write_submission(out, some_spots(), ACTIONS)
    assert (out / "thesis.pdf").read_text() == "years of work"


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spots").write_text("")
    with pytest.raises(InputError, match=r"is a file; spots go into a folder"):
        write_submission(tmp_path / "spots", some_spots(), ACTIONS)


@pytest.mark.parametrize("name", ["spots", "spots.zip"])
def test_nothing_is_left_of_a_failed_write(tmp_path: Path, name: str) -> None:
    few_actions = ACTIONS[:3]  # the spots have more: writing fails half-way
    with pytest.raises(IndexError):
        write_submission(tmp_path / name, some_spots(), few_actions)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    importlib.util.find_spec("SoccerNet") is None, reason="SoccerNet is not installed"
)
@pytest.mark.parametrize("name", ["spots", "spots.zip"])
def test_soccernet_evaluates_what_is_written(tmp_path: Path, name: str) -> None:
    spots = some_spots()
    labels = tmp_path / "games"
    events = {}
    for game in GAMES:
        write_labels(labels / game, seed=len(events))
        events |= {HalfId(game, n): half for n, half in read_events(labels, game).items()}
    write_submission(tmp_path / name, spots, ACTIONS)
    for metric, tolerances_s in (("tight", TIGHT_S[:2]), ("loose", LOOSE_S[:2])):
        expected = soccernet_evaluate(labels, tmp_path / name, metric, tolerances_s)
        mine = average_map(spots, events, 17, tolerances_s)
        assert mine.average_map > 0
        assert mine.average_map == pytest.approx(expected["a_mAP"], abs=1e-12)
        assert mine.visible == pytest.approx(expected["a_mAP_visible"], abs=1e-12)
        assert mine.unshown == pytest.approx(expected["a_mAP_unshown"], abs=1e-12)


def write_labels(folder: Path, seed: int) -> None:
    """Two events of one cell, positions off the grid, unshown events."""
    generator = np.random.default_rng(seed)
    annotations = []
    for ms in [*np.sort(generator.integers(0, 2_850_000, 60)).tolist(), 2_850_100, 2_850_300]:
        half, visibility = generator.integers(1, 3), generator.choice(["visible", "not shown"])
        annotations.append({
            "gameTime": f"{half} - {ms // 60000:02d}:{ms // 1000 % 60:02d}",
            "label": ACTIONS[generator.integers(0, 4)],
            "position": str(ms),
            "visibility": str(visibility),
        })  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "Labels-v2.json").write_text(json.dumps({"annotations": annotations}))


def soccernet_evaluate(
    labels: Path, predictions: Path, metric: str, tolerances_s: tuple[int, ...]
) -> dict[str, float]:
    """SoccerNet's `evaluate`; fewer tolerances than it knows, so that it takes seconds."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), pytest.MonkeyPatch.context() as mp:
        warnings.simplefilter("ignore")
        evaluator = importlib.import_module("SoccerNet.Evaluation.ActionSpotting")
        average = evaluator.average_mAP
        mp.setattr(evaluator, "tqdm", lambda steps: steps)
        mp.setattr(
            evaluator,
            "average_mAP",
            lambda *vectors, deltas: average(*vectors, deltas=np.array(tolerances_s)),
        )
        result: dict[str, float] = evaluator.evaluate(
            str(labels),
            str(predictions),
            metric=metric,
            dataset=None,
            EVENT_DICTIONARY=evaluator.EVENT_DICTIONARY_V2,
        )
    return result


def test_no_spots_is_a_file_with_an_empty_list(tmp_path: Path) -> None:
    half = HalfId(GAMES[0], 1)
    write_submission(tmp_path / "spots.zip", {half: Spots.empty(half)}, ACTIONS)
    with zipfile.ZipFile(tmp_path / "spots.zip") as archive:
        document = json.loads(archive.read(f"{GAMES[0]}/results_spotting.json"))
    assert document["predictions"] == []
    score = average_map(
        read_submission(tmp_path / "spots.zip", ACTIONS), {half: Events.empty(half)}, 17
    )
    assert score.average_map == 0


OTHER = GOOD | {"gameTime": "1 - 10:00", "position": "600000"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"position": "1834"}, id="seconds"),
        pytest.param({"position": "0"}, id="all 0"),
        pytest.param({"half": "2"}, id="other half"),
    ],
)
def test_predictions_that_contradict_their_game_time_are_told_or_refused(
    tmp_path: Path, change: dict[str, str]
) -> None:
    notes: list[str] = []
    put(tmp_path, {"predictions": [OTHER, OTHER, GOOD | change]})
    read_submission(tmp_path, ACTIONS, on_note=notes.append)
    assert "1 of 3 predictions have a gameTime that is not" in notes[0]
    assert "the first at gameTime '1 - 30:34'" in notes[0]
    put(tmp_path, {"predictions": [OTHER, GOOD | change, GOOD | change]})
    with pytest.raises(InputError, match="must be the same moment, but are not in 2 of 3"):
        read_submission(tmp_path, ACTIONS)


@pytest.mark.parametrize(
    ("named", "is_told"),
    [
        ("l/s/other", True),
        (GAMES[0], False),
        (f"/data/SoccerNet/{GAMES[0]}/", False),
        (GAMES[0].rpartition("/")[2], False),
        (GAMES[0].replace("/", "\\"), False),
        ("", False),
        (7, False),
    ],
)
def test_a_file_of_another_game_by_its_own_words_is_told(
    named: object, is_told: bool, tmp_path: Path
) -> None:
    put(tmp_path, {"UrlLocal": named, "predictions": [GOOD]})
    notes: list[str] = []
    read_submission(tmp_path, ACTIONS, on_note=notes.append)
    assert bool(notes) == is_told
    assert all("1 file of another game by UrlLocal" in note for note in notes)


def test_a_game_time_that_says_nothing_contradicts_nothing(tmp_path: Path) -> None:
    notes: list[str] = []
    said = ({"gameTime": "1 - 00:00"}, {"gameTime": "30:34"}, {"gameTime": None})
    put(tmp_path, {"predictions": [GOOD | change for change in said]})
    spots = read_submission(tmp_path, ACTIONS, on_note=notes.append)
    assert spots[HalfId(GAMES[0], 1)].time_s.tolist() == [1834.0] * 3
    assert notes == []


def zipped(path: Path, *names: str, content: str = "{}", method: int = 8) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # zipfile tells of a name that is there twice
        for name in names:
            archive.writestr(f"{name}/results_spotting.json", content)
    return path


@pytest.mark.parametrize(
    ("names", "method", "message"),
    [
        (["../../etc"], 8, "leads out of the zip"),
        (["/l/s/a"], 8, "leads out of the zip"),
        (["l/s/a", "l/s/a"], 8, "is there twice"),
        (["l/s/a"], zipfile.ZIP_BZIP2, "an unusual way"),
    ],
)
def test_a_zip_that_is_no_submission_is_refused(
    tmp_path: Path, names: list[str], method: int, message: str
) -> None:
    path = zipped(tmp_path / "spots.zip", *names, method=method)
    with pytest.raises(InputError, match=message) as caught:
        read_submission(path, ACTIONS)
    assert "\n" not in str(caught.value)


def test_a_zip_is_not_unpacked_beyond_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "spots.zip", "l/s/a", "l/s/b", content=" " * 5000)
    monkeypatch.setattr("hmtas.formats.submission.MOST_BYTES", 9000)
    with pytest.raises(InputError, match=r"spots.zip: unpacks to 0.0 GB"):
        read_submission(path, ACTIONS)
    monkeypatch.setattr("hmtas.formats.submission.MOST_GAME_BYTES", 4000)
    with pytest.raises(InputError, match=r"l/s/a/.* unpacks to"):
        read_submission(path, ACTIONS)


def test_a_zip_that_hides_its_size_is_not_unpacked(tmp_path: Path) -> None:
    hundred_mb = 100_000_000
    path = zipped(tmp_path / "spots.zip", "l/s/a", content=" " * hundred_mb)
    honest = path.read_bytes()
    size = hundred_mb.to_bytes(4, "little")
    path.write_bytes(honest.replace(size, (20).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(InputError, match="not a sound zip"):
        read_submission(path, ACTIONS)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
