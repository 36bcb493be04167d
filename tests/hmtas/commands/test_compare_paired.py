"""`hmtas compare RUN ...` pairs runs on the same games, and says what can be told."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hmtas.commands.compare import compare
from hmtas.commands.score import score, spot
from hmtas.commands.sync import sync
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.formats.actions import ACTIONS
from hmtas.packing.pack import pack
from hmtas.records import HalfId, Probabilities
from hmtas.runs.probabilities import Provenance, write_probabilities
from hmtas.runs.record import predictions_path
from hmtas.statistics.intervals import Resampled
from hmtas.statistics.verdicts import Comparison, compare_to
from hmtas.store.local import EmbeddingStore
from tests.support.store_tree import label, rows, save, save_labels, save_splits
from tests.support.tracked import make_run, printed_lines

SPLITS = {"valid": [f"l/s/v{g:02d}" for g in range(12)], "test": [f"l/s/t{g}" for g in range(6)]}
EVENT_S = 12  # of each game, in the first half


class Season(NamedTuple):
    """A packed season without a model, and where runs go."""

    work: Path
    store: Path


@pytest.fixture
def packed(work: Path) -> Season:
    games, store = work / "games", work / "store"
    for game in (game for names in SPLITS.values() for game in names):
        for half in (1, 2):
            save(games, game, half, "vggish", rows(game, half, "vggish"))
        save_labels(games, game, [label(1, EVENT_S), label(2, EVENT_S, "Corner")])
    save_splits(games, {"train": [], **SPLITS})
    pack(games, store)
    return Season(work, store)


def predict(
    season: Season, name: str, found: dict[str, int], *, late_s: int = 0, **changes: Any
) -> Path:
    """A run that finds the events of so many games of each split, `late_s` off in the others."""
    run = season.work / name
    if not run.is_dir():
        make_run(run, store=str(season.store))
    for split, num_found in found.items():
        halves = []
        for g, game in enumerate(SPLITS[split]):
            for number, action in ((1, "Goal"), (2, "Corner")):
                values = np.zeros((30, 17), dtype=np.float32)
                second = EVENT_S if g < num_found else EVENT_S + (late_s or 9)
                values[second, ACTIONS.index(action)] = 0.9 - 0.01 * g
                halves.append(Probabilities(half=HalfId(game, number), values=values))
        about: dict[str, Any] = {
            "run": name, "split": split, "store": str(season.store),
            "store_checksum": EmbeddingStore.open(season.store).checksum,
            "actions": ACTIONS, "rate_hz": 1.0, "fitted_games": (), "created": "now",
        }  # fmt: skip
        path = predictions_path(run, split)
        path.parent.mkdir(exist_ok=True)
        write_probabilities(path, halves, Provenance(**(about | changes)))
    return run


def paired(capsys: pytest.CaptureFixture[str], runs: list[Path], split: str | None = None) -> Any:
    capsys.readouterr()
    compare(runs=runs, split=split, as_json=True)
    return json.loads(capsys.readouterr().out)["paired"]


def test_two_runs_on_the_same_games(packed: Season, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = predict(packed, "good", {"valid": 12}), predict(packed, "bad", {"valid": 2})
    found = paired(capsys, [good, bad])
    assert (found["split"], found["num_games"], found["reference"]) == ("valid", 12, "bad")
    first, second = found["runs"]
    assert first["tight"] == pytest.approx(2 / 17)  # two of the 17 actions occur, all found
    assert second["against_reference"] is None
    against = first["against_reference"]
    assert against["difference"] == pytest.approx(first["tight"] - second["tight"])
    assert 0 < against["low"] < against["difference"] < against["high"]
    assert against["verdict"] == "better"
    assert paired(capsys, [bad, good])["runs"][0]["against_reference"]["verdict"] == "worse"
    compare(runs=[good, bad])
    out = printed_lines(capsys)
    assert any(line.startswith("The same 12 games of valid") and "from bad" in line for line in out)
    assert "Verdict: good is better than bad." in out
    assert any(line.startswith("good 11.76") and " better " in line for line in out)
    compare(runs=[bad, good])
    assert "Verdict: bad is worse than good." in printed_lines(capsys)


def test_runs_that_differ_in_one_game_cannot_be_told_apart(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = predict(packed, "one", {"valid": 8}), predict(packed, "other", {"valid": 7})
    against = paired(capsys, [one, other])["runs"][0]["against_reference"]
    assert against["low"] < 0 < against["difference"] < against["high"]
    assert against["games_needed"] > 12
    compare(runs=[one, other])
    assert "Verdict: 12 games cannot tell one from other." in printed_lines(capsys)


def test_the_paired_score_is_that_of_hmtas_score_with_cross_fitted_windows(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [predict(packed, name, {"valid": num}) for name, num in (("a", 7), ("b", 5))]
    windows, kinds = dict.fromkeys(ACTIONS, 5.0), dict.fromkeys(ACTIONS, "hard")
    folds = [
        {"games": SPLITS["valid"][k::2], "windows_s": windows | {"Goal": 2.0 + k}, "kinds": kinds}
        for k in (0, 1)
    ]
    fitted = {"method": "exact", "split": "valid", "windows_s": windows, "kinds": kinds}
    write_json(runs[0] / "windows.json", {**fitted, "folds": folds})
    score(runs, split="valid")
    for run, row in zip(runs, paired(capsys, runs)["runs"], strict=True):
        scored = json.loads((run / "scores" / "valid.json").read_text())
        assert row["tight"] == pytest.approx(scored["tight"]["average_map"], abs=1e-12)
        assert row["cross_fitted"] == scored["cross_fitted"] == (run == runs[0])


def test_more_runs_are_compared_with_the_best_by_validation(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    """By validation also on test games, where another run is ahead."""
    runs = [
        predict(packed, name, {"valid": valid, "test": test})
        for name, valid, test in (("a", 6, 6), ("b", 11, 3), ("c", 2, 4))
    ]
    found = paired(capsys, runs)
    assert found["reference"] == "b"
    assert [row["name"] for row in found["runs"]] == ["a", "b", "c"]  # as they were named
    assert found["winner"]["name"] == "b"
    assert found["winner"]["num_candidates"] == 3
    assert found["winner"]["corrected"] < found["winner"]["tight"] + 1e-9
    compare(runs=runs)
    out = printed_lines(capsys)
    assert any(
        line.startswith("b: best of 3 at ") and "corrected for having been picked" in line
        for line in out
    )
    assert any(line.startswith("The 2 intervals hold together at 95 %") for line in out)
    score(runs, split="valid")
    on_test = paired(capsys, runs, split="test")
    assert (on_test["split"], on_test["num_games"]) == ("test", 6)
    assert on_test["reference"] == "b"
    assert on_test["runs"][0]["against_reference"]["difference"] > 0
    assert on_test["winner"] is None  # test games picked nothing


def test_intervals_allow_for_a_reference_that_these_games_picked(
    packed: Season, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation games picked the best run, and the wider intervals say so; test games did not."""
    seen: list[bool] = []

    def listening(resampled: Resampled, reference: int, *, picked: bool) -> dict[int, Comparison]:
        seen.append(picked)
        return compare_to(resampled, reference, picked=picked)

    monkeypatch.setattr("hmtas.scoring.paired.compare_to", listening)
    runs = [
        predict(packed, name, {"valid": num, "test": num // 2})
        for name, num in (("a", 10), ("b", 6), ("c", 2))
    ]
    score(runs, split="valid")
    for split in ("valid", "test"):
        assert paired(capsys, runs, split)["reference"] == "a"
    assert seen == [True, False]


def test_without_a_validation_score_more_runs_have_no_reference(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [predict(packed, name, {"test": 3 + n}) for n, name in enumerate("abc")]
    score(runs, split="test")
    compare(runs=runs, split="test", as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["paired"] is None
    assert "no run has a validation score" in captured.err


def test_runs_that_cannot_be_paired_keep_their_table(
    packed: Season, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    good = predict(packed, "good", {"valid": 12})
    bare = make_run(packed.work / "bare", store=str(packed.store))
    compare(runs=[good, bare])
    captured = capsys.readouterr()
    without = f"{bare}: without predictions, not compared on the same games; run `hmtas predict"
    assert without in captured.err
    assert any(line.strip().startswith("bare") for line in captured.out.splitlines())
    other = predict(packed, "other", {"valid": 10})
    found = paired(capsys, [good, bare, other], "valid")
    assert [run["name"] for run in found["runs"]] == ["good", "other"]
    with pytest.raises(InputError, match="no run has a score on split 'test'"):
        compare(runs=[good, bare], split="test")
    lost = predict(packed, "lost", {"valid": 12}, store=str(tmp_path / "gone"))
    assert paired(capsys, [good, lost]) is None


def test_one_model_in_two_folders_is_compared_once(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would count among the candidates that the best was picked of."""
    runs = [predict(packed, name, {"valid": 3 + n}) for n, name in enumerate("abc")]
    score(runs, split="valid")
    compare(runs=runs, as_json=True)
    alone = json.loads(capsys.readouterr().out.splitlines()[-1])
    copy = Path(shutil.copytree(runs[1], packed.work / "copy"))
    compare(runs=[*runs, copy], as_json=True)
    captured = capsys.readouterr()
    found = json.loads(captured.out.splitlines()[-1])
    assert found == {**alone, "copies": {str(copy): str(runs[1])}}
    assert f"{copy}: left out, the same model as {runs[1]}" in captured.err


def test_a_damaged_run_does_not_stop_the_others(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("good", "other", "damaged")
    good, other, bad = (predict(packed, n, {"valid": 12 - i}) for i, n in enumerate(names))
    (bad / "mlflow.json").write_text("{")
    with pytest.raises(InputError, match=r"^1 of 3 runs failed: .*damaged/mlflow.json: not JSON"):
        compare(runs=[good, bad, other], as_json=True)
    found = json.loads(capsys.readouterr().out)["paired"]
    assert [run["name"] for run in found["runs"]] == ["good", "other"]
    (bad / "mlflow.json").unlink()
    (bad / "scores").mkdir()
    (bad / "scores" / "valid.json").write_text("{")
    with pytest.raises(InputError, match=r"^1 of 2 runs failed: .*damaged.*not JSON"):
        sync([bad, good], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"runs": [str(good)]}


def test_runs_of_one_name_are_told_apart_by_their_folders(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []
    for folder, num_found in (("x", 12), ("y", 3)):
        run = make_run(packed.work / folder / "same", store=str(packed.store))
        runs.append(
            predict(Season(packed.work / folder, packed.store), "same", {"valid": num_found})
        )
        assert runs[-1] == run
    assert [row["name"] for row in paired(capsys, runs)["runs"]] == [str(run) for run in runs]


def test_submissions_are_compared_with_each_other_and_with_runs(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [predict(packed, name, {"valid": num}) for name, num in (("a", 12), ("b", 2), ("c", 2))]
    expected = paired(capsys, runs[:2])
    zips = [packed.work / f"{run.name}.zip" for run in runs]
    for run, path in zip(runs, zips, strict=True):
        spot(run, out=path, split="valid")
    capsys.readouterr()
    for split in ("valid", None):
        compare(runs=zips[:2], games=str(packed.store), split=split, as_json=True)
        found = json.loads(capsys.readouterr().out)["paired"]
        assert (found["split"], found["num_games"]) == (split, 12)
        assert [row["name"] for row in found["runs"]] == [str(path) for path in zips[:2]]
        for row, other in zip(found["runs"], expected["runs"], strict=True):
            assert row["tight"] == pytest.approx(other["tight"], abs=1e-12)
        against, by_run = (x["runs"][0]["against_reference"] for x in (found, expected))
        assert against == pytest.approx(by_run)
    compare(runs=[runs[0], zips[1]], games=str(packed.store), split="valid")
    out = printed_lines(capsys)
    assert f"Verdict: {runs[0]} is better than {zips[1]}." in out
    assert not any("MLflow" in line for line in out)
    compare(runs=zips, games=str(packed.store), as_json=True)  # these games pick the reference
    found = json.loads(capsys.readouterr().out)["paired"]
    assert found["reference"] == found["winner"]["name"] == str(zips[0])
    assert found["winner"]["num_candidates"] == 3


def test_submissions_need_labels_and_one_another(packed: Season) -> None:
    theirs = packed.work / "theirs.zip"
    spot(predict(packed, "a", {"valid": 12}), out=theirs, split="valid")
    with pytest.raises(InputError, match=r"theirs\.zip: there is nothing to compare it with"):
        compare(runs=[theirs, theirs], games=str(packed.store))
    with pytest.raises(InputError, match=r"spots do not say where their labels are; add --games"):
        compare(runs=[theirs, packed.work / "a"])
    with pytest.raises(InputError, match="--splits is for spots"):
        compare(runs=[packed.work / "a"], splits=packed.work / "splits.json")
    with pytest.raises(InputError, match="--games for spots and runs that are named"):
        compare(games=str(packed.store))


def test_one_run_is_compared_with_nothing(
    packed: Season, capsys: pytest.CaptureFixture[str]
) -> None:
    good = predict(packed, "good", {"valid": 12})
    assert paired(capsys, [good]) is None
    assert paired(capsys, [good, good]) is None
