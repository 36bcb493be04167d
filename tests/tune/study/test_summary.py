"""`hmtas tune status` and the live view say the same, truly, from the files of a study alone."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hmtas.cli import build
from hmtas.runs.record import EpochRecord, read_run, write_run
from hmtas.terminal import console
from tests.support.small import make_config
from tests.support.tracked import make_run
from tune.search import view
from tune.search.view import live_view, picture
from tune.space.dimensions import Range, Space
from tune.study import budget
from tune.study.budget import start_budget, stop_budget
from tune.study.lock import driver_lock
from tune.study.options import Options
from tune.study.record import StudyRecord, write_study
from tune.study.rows import TrialRow
from tune.study.settings import StudySettings, sweep_base
from tune.study.summary import BestTrial, read_summary, rest_s


def make_row(name: str, status: str, tight: float | None = None, **changes: Any) -> TrialRow:
    row = {"id": name, "status": status, "best_tight": tight, "settings": {"train.seq_len": 3}}
    return TrialRow.model_validate({**row, "run": f"trials/{name}", "seconds": 10, **changes})


ROWS = (
    make_row("aa", "done", 0.3, epochs=3),
    make_row("bb", "stopped", 0.5, epochs=1, best_loose=0.6),
    make_row("cc", "failed", 0.9, error="the loss is not finite"),
    make_row("dd", "running", 0.2, epochs=2, seconds=5),
    make_row("ee", "waiting"),
)


def make_study(folder: Path, *rows: TrialRow, **changes: Any) -> StudyRecord:
    """A study of 8 trials and the run folder of `bb`, whose third epoch was its best."""
    options = changes.pop("options", Options())
    settings = StudySettings(
        store="store",
        store_checksum="0",
        preset="smoke",
        base=sweep_base(make_config()),
        space=Space(dimensions={"train.seq_len": Range(low=2, high=7, integer=True)}),
        num_trials=8,
        grace_epochs=1,
        options=options,
    )
    record = StudyRecord(
        name="sweep", version="0", created="2026-01-02T03:04:05+00:00", settings=settings,
        experiment="e",
        trials=rows,
    ).model_copy(update=changes)  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_study(folder, record)
    run = make_run(folder / "trials" / "bb")
    scores = ((0.1, 0.7, {}), (0.5, 0.6, {"tight": (0.41, 0.59), "loose": (0.5, 0.7)}))
    history = tuple(
        EpochRecord(epoch=i + 1, train_loss=1, tight=tight, loose=loose, intervals=intervals,
                    seconds=1, windows=1)
        for i, (tight, loose, intervals) in enumerate(scores)
    )  # fmt: skip
    write_run(run, read_run(run).model_copy(update={"history": history}))
    return record


def test_trials_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    make_study(tmp_path, *ROWS)
    with driver_lock(tmp_path):
        found = read_summary(tmp_path)
    assert (found.done, found.stopped, found.failed, found.waiting) == (1, 1, 1, 1)
    assert [(one.trial, one.epoch, one.score) for one in found.running] == [("dd", 2, 0.2)]
    assert found.total == 8
    assert found.status == "running"
    assert found.best == BestTrial(
        trial="bb", epoch=2, metric="tight", tight=0.5, loose=0.6, interval=(0.41, 0.59)
    ), "the best that did not fail, with the interval of its best epoch"


def test_a_study_that_nobody_drives_is_not_running(tmp_path: Path) -> None:
    record = make_study(tmp_path, *ROWS)
    found = read_summary(tmp_path)
    assert (found.status, found.running, found.waiting) == ("interrupted", (), 2)
    write_study(tmp_path, record.model_copy(update={"status": "done"}))
    assert read_summary(tmp_path).status == "done"


def test_the_interval_is_that_of_the_score_that_is_maximised(tmp_path: Path) -> None:
    make_study(tmp_path, *ROWS, options=Options(objective="loose"))
    best = read_summary(tmp_path).best
    assert best is not None
    assert (best.metric, best.interval) == ("loose", (0.5, 0.7))


def test_a_damaged_run_folder_costs_the_interval_alone(tmp_path: Path) -> None:
    make_study(tmp_path, *ROWS)
    (tmp_path / "trials" / "bb" / "run.json").write_text("{")
    best = read_summary(tmp_path).best
    assert best is not None
    assert (best.trial, best.tight, best.interval) == ("bb", 0.5, None)


def test_the_clock_goes_on_for_those_who_look_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(tmp_path, *ROWS)
    start_budget(tmp_path, hours=1)
    budget._clocks.clear()  # as another process sees it
    began = time.time()
    monkeypatch.setattr(budget.time, "time", lambda: began + 600)
    with driver_lock(tmp_path):
        found = read_summary(tmp_path)
    assert found.spent_s == pytest.approx(600, abs=2)
    assert found.left_s == pytest.approx(3000, abs=2)
    assert read_summary(tmp_path).spent_s == 0, "a driver that was killed spends nothing"
    start_budget(tmp_path, None)
    stop_budget(tmp_path)
    monkeypatch.setattr(budget.time, "time", lambda: began + 9000)
    with driver_lock(tmp_path):
        assert read_summary(tmp_path).spent_s < 2, "its trials have ended, and its clock stopped"


def test_the_rest_is_estimated_from_the_trials_that_ended() -> None:
    rows = (make_row("a", "done"), make_row("b", "stopped"), make_row("c", "running", seconds=5))
    # 2.5 trials of 8 in 25 s: 55 s for the other 5.5.
    assert rest_s(rows, 8, 25.0, None) == pytest.approx(55.0)
    assert rest_s(rows, 8, 25.0, 7.0) == 7.0, "no longer than its hours"
    assert rest_s(rows, None, 25.0, 99.0) == 99.0, "nothing but the hours ends it"
    assert rest_s(rows[2:], 8, 25.0, None) is None, "nothing has ended"
    longer = (*rows[:2], make_row("c", "running", seconds=500))
    assert rest_s(longer, 3, 29.0, None) == pytest.approx(1.0), "it is not over yet"


def lines(renderable: object, width: int = 100) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(renderable)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_the_picture_has_all_of_it(tmp_path: Path) -> None:
    make_study(tmp_path, *ROWS)
    start_budget(tmp_path, hours=2)
    with driver_lock(tmp_path):
        shown = lines(picture(read_summary(tmp_path)))
    stop_budget(tmp_path)
    assert "3 of 8" in shown[0]
    assert "running, process" in shown[0]
    assert shown[1].endswith("1 running, 1 done, 1 stopped early, 1 failed, 1 waiting")
    assert shown[2].endswith("tight 50.00 % [41.0, 59.0], loose 60.00 %, bb at epoch 2")
    assert "0 s so far, 2 h 00 min left of 2 h, about" in shown[3]
    assert "dd" in shown[4]
    assert "epoch 2 of 2  best 20.00 %" in shown[4]
    assert len(shown) == 5


def test_many_running_trials_do_not_fill_the_screen(tmp_path: Path) -> None:
    make_study(tmp_path, *(make_row(f"t{i}", "running", 0.1) for i in range(30)))
    with driver_lock(tmp_path):
        shown = lines(picture(read_summary(tmp_path)))
    assert len(shown) < 16
    assert "and 22 more" in shown[-1]


def test_status_shows_the_same_numbers_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(tmp_path / "s", *ROWS)
    build()(["tune", "status", str(tmp_path / "s"), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)["progress"]
    assert found == json.loads(read_summary(tmp_path / "s").model_dump_json())
    assert found["best"]["interval"] == [0.41, 0.59]
    build()(["tune", "status", str(tmp_path / "s")], standalone_mode=False)
    shown = capsys.readouterr()
    assert "tight 50.00 % [41.0, 59.0]" in shown.out
    assert "the loss is not finite" in shown.out
    assert f"no process runs it; resume it with: hmtas tune resume {tmp_path / 's'}" in shown.err


def test_watching_ends_with_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    record = make_study(folder, *ROWS)
    looks: list[float] = []

    def pause(seconds: float) -> None:
        looks.append(seconds)
        write_study(folder, record.model_copy(update={"status": "done"}))

    monkeypatch.setattr(view.time, "sleep", pause)
    with driver_lock(folder):
        build()(["tune", "status", str(folder), "--watch"], standalone_mode=False)
    assert len(looks) == 1
    assert "sweep" in capsys.readouterr().out


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal on stderr is sent."""
    sent = io.StringIO()
    terminal = Console(file=sent, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(console, "terminal", lambda: terminal)
    monkeypatch.setattr(view, "terminal", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    return sent


def test_the_live_view_keeps_up_and_leaves_the_terminal_as_it_was(
    tmp_path: Path, screen: io.StringIO
) -> None:
    record = make_study(tmp_path, *ROWS)
    before = ""

    def interrupted() -> None:
        nonlocal before
        with driver_lock(tmp_path), live_view(tmp_path):
            assert "3 of 8" in screen.getvalue()
            console.say("a line above it")
            rows = (*ROWS[:3], ROWS[3].model_copy(update={"status": "done"}), ROWS[4])
            write_study(tmp_path, record.model_copy(update={"trials": rows}))
            until = time.monotonic() + 20
            while "4 of 8" not in screen.getvalue() and time.monotonic() < until:
                time.sleep(0.05)
            before = screen.getvalue()
            (tmp_path / "study.json").write_text("{")  # cannot be read just then
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    # Had the driver been killed, it had left a cursor, and the screen that it found.
    assert before.rindex("\x1b[?25h") > before.rindex("\x1b[?25l")
    assert "\x1b[?1049h" not in before
    sent = screen.getvalue()
    assert "4 of 8" in before
    assert "4 of 8" in sent[len(before) :]
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")
    assert "a line above it" in sent


def test_without_a_terminal_nothing_moves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_study(tmp_path, *ROWS)
    with live_view(tmp_path):
        pass
    assert capsys.readouterr() == ("", "")
