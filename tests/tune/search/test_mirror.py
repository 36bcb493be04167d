"""The copy for optuna-dashboard is the study, and nothing that happens to it stops a sweep."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hmtas.cli import build
from hmtas.errors import InputError
from tests.tune.study.test_summary import ROWS, make_row, make_study
from tune.search import mirror
from tune.search.mirror import FILE, mirrored, rebuild, storage_url, sync
from tune.study.lock import driver_lock
from tune.study.options import Options
from tune.study.record import StudyRecord, write_study


def opened(folder: Path) -> optuna.Study:
    """The mirrored study, as anybody's Optuna reads it."""
    return optuna.load_study(study_name="sweep", storage=storage_url(folder))


def trials(folder: Path) -> dict[str, optuna.trial.FrozenTrial]:
    return {trial.user_attrs["trial"]: trial for trial in opened(folder).trials}


def test_the_storage_has_the_study(tmp_path: Path) -> None:
    rebuild(tmp_path, make_study(tmp_path, *ROWS))
    study = opened(tmp_path)
    assert study.direction.name == "MAXIMIZE"
    assert study.metric_names == ["best_tight"]
    assert study.best_trial.user_attrs["trial"] == "aa", "of those that came to their end"
    found = trials(tmp_path)
    assert list(found) == ["aa", "bb", "cc", "dd", "ee"]
    assert {name: trial.state for name, trial in found.items()} == {
        "aa": TrialState.COMPLETE,
        "bb": TrialState.PRUNED,
        "cc": TrialState.FAIL,
        "dd": TrialState.RUNNING,
        "ee": TrialState.RUNNING,
    }
    assert all(trial.params == {"train.seq_len": 3} for trial in found.values())
    assert found["bb"].value == 0.5
    assert found["bb"].intermediate_values == {1: 0.1, 2: 0.5}
    assert found["bb"].duration is not None
    assert found["bb"].duration.total_seconds() == 10
    assert found["cc"].user_attrs["error"] == "the loss is not finite"


def test_two_numbers_are_two_directions(tmp_path: Path) -> None:
    rows = (make_row("aa", "done", 0.3, best_loose=0.4), *ROWS[1:])
    rebuild(tmp_path, make_study(tmp_path, *rows, options=Options(objective="both")))
    assert len(opened(tmp_path).directions) == 2
    assert trials(tmp_path)["bb"].values == [0.5, 0.6]
    assert trials(tmp_path)["bb"].state == TrialState.COMPLETE


def test_what_a_trial_did_since_is_added(tmp_path: Path) -> None:
    record = make_study(tmp_path, *ROWS[:1], make_row("bb", "running"))
    sync(tmp_path, record)
    inode = (tmp_path / FILE).stat().st_ino
    rows = (*record.trials[:1], ROWS[1], make_row("ff", "waiting"))
    sync(tmp_path, record.model_copy(update={"trials": rows}))
    assert (tmp_path / FILE).stat().st_ino == inode, "a dashboard that is open keeps its file"
    fresh = tmp_path / "fresh"
    make_study(fresh, *rows)
    rebuild(fresh, record.model_copy(update={"trials": rows}))
    for name, trial in trials(tmp_path).items():
        expected = trials(fresh)[name]
        for part in ("number", "state", "values", "params", "intermediate_values", "user_attrs"):
            assert getattr(trial, part) == getattr(expected, part), (name, part)


def _other_study(record: StudyRecord, folder: Path) -> StudyRecord:
    return record.model_copy(update={"created": "2027-01-02T03:04:05+00:00"})


def _tried_again(record: StudyRecord, folder: Path) -> StudyRecord:
    rows = [row.model_copy(update={"status": "done", "error": None}) if row.id == "cc" else row
            for row in record.trials]  # fmt: skip
    return record.model_copy(update={"trials": tuple(rows)})


def _fewer_trials(record: StudyRecord, folder: Path) -> StudyRecord:
    return record.model_copy(update={"trials": record.trials[:2]})


def _cut_short(record: StudyRecord, folder: Path) -> StudyRecord:
    path = folder / FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return record


def _no_database(record: StudyRecord, folder: Path) -> StudyRecord:
    (folder / FILE).write_text("not a database")
    return record


@pytest.mark.parametrize(
    "happen", [_other_study, _tried_again, _fewer_trials, _cut_short, _no_database]
)
def test_a_copy_that_does_not_fit_is_made_anew(tmp_path: Path, happen: Any) -> None:
    record = make_study(tmp_path, *ROWS)
    sync(tmp_path, record)
    record = happen(record, tmp_path)
    sync(tmp_path, record)
    assert list(trials(tmp_path)) == [row.id for row in record.trials]
    states = {name: trial.state for name, trial in trials(tmp_path).items()}
    if "cc" in states:
        expected = TrialState.COMPLETE if happen is _tried_again else TrialState.FAIL
        assert states["cc"] == expected
    assert not list(tmp_path.glob(".*part*")), "no scratch file is left"


def test_it_follows_a_study_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "FIRST_DELAY_S", 0.05)
    record = make_study(tmp_path, *ROWS[:2])
    with mirrored(tmp_path):
        _wait_for((tmp_path / FILE).is_file)
        write_study(tmp_path, record.model_copy(update={"trials": ROWS}))
    assert len(trials(tmp_path)) == len(ROWS), "the last look is after the end"


def test_a_copy_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FIRST_DELAY_S", "RETRY_S"):
        monkeypatch.setattr(mirror, name, 0.05)
    make_study(tmp_path, *ROWS)
    path = tmp_path / FILE
    (path / "in the way").mkdir(parents=True)
    with mirrored(tmp_path):
        _wait_for(lambda: str(path) in capsys.readouterr().err)
        time.sleep(0.3)
    assert f"warning: {path}" not in capsys.readouterr().err, "it is said once"
    (path / "in the way").rmdir()
    path.rmdir()
    with mirrored(tmp_path):
        _wait_for(path.is_file)


def test_a_slow_copy_is_left_alone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FIRST_DELAY_S", 0.0), ("JOIN_S", 0.1), ("INTERRUPTED_JOIN_S", 0.1)):
        monkeypatch.setattr(mirror, name, value)
    make_study(tmp_path, *ROWS)
    held, began = threading.Event(), threading.Event()

    def hold(folder: Path, record: StudyRecord) -> None:
        began.set()
        held.wait(60)

    monkeypatch.setattr(mirror, "sync", hold)
    with mirrored(tmp_path):
        assert began.wait(20)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    held.set()


def test_the_verb_makes_it_and_says_how_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(tmp_path, *ROWS)
    build()(["tune", "mirror", str(tmp_path), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["storage"] == storage_url(tmp_path)
    assert "optuna-dashboard" in found["dashboard"]
    assert found["storage"] in found["dashboard"]
    assert len(trials(tmp_path)) == len(ROWS)
    before = (tmp_path / FILE).stat().st_mtime_ns
    with driver_lock(tmp_path):
        build()(["tune", "mirror", str(tmp_path)], standalone_mode=False)
    assert (tmp_path / FILE).stat().st_mtime_ns == before, "its driver writes it"
    with pytest.raises(InputError, match="no study here"):
        build()(["tune", "mirror", str(tmp_path / "other")], standalone_mode=False)


def test_optuna_dashboard_shows_it(tmp_path: Path) -> None:
    record = make_study(tmp_path, *ROWS)
    rebuild(tmp_path, record)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    words = [str(program), storage_url(tmp_path), "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        # Its server leaves a socket in the home folder.
        home = {**os.environ, "HOME": str(tmp_path)}
        server = subprocess.Popen(words, stdout=log, stderr=log, env=home)
    try:
        (study,) = _get(port, "/api/studies", server)["study_summaries"]
        assert study["study_name"] == "sweep"
        place = f"/api/studies/{study['study_id']}"
        shown = _get(port, place, server)
        assert [trial["state"] for trial in shown["trials"]] == [
            "Complete", "Pruned", "Fail", "Running", "Running",
        ]  # fmt: skip
        pruned = shown["trials"][1]
        assert pruned["intermediate_values"] == [
            {"step": 1, "value": 0.1}, {"step": 2, "value": 0.5},
        ]  # fmt: skip
        assert shown["objective_names"] == ["best_tight"]
        rows = (*ROWS[:3], ROWS[3].model_copy(update={"status": "done"}), ROWS[4])
        sync(tmp_path, record.model_copy(update={"trials": rows}))
        _wait_for(lambda: _get(port, place, server)["trials"][3]["state"] == "Complete")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/dashboard", timeout=10) as page:
            assert b"bundle.js" in page.read()
    finally:
        server.terminate()
        server.wait(20)


def _get(port: int, path: str, server: "subprocess.Popen[bytes]") -> Any:
    """What the dashboard's own page asks for, once it answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert server.poll() is None, "the dashboard ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return json.loads(answer.read())
        except ConnectionError:
            time.sleep(0.1)
        except OSError as error:
            if not isinstance(getattr(error, "reason", None), ConnectionError):
                raise
            time.sleep(0.1)
    raise AssertionError(f"{path}: no answer")


def _wait_for(holds: Any) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
