"""The page of a study has its numbers, all its parts, nothing that acts, and nothing to load."""

import html
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.scoring.run import count_run
from hmtas.statistics.games import resampled_averages
from hmtas.store.local import EmbeddingStore
from hmtas.terminal.text import NOTHING, percent
from tests.support.small import make_store
from tests.support.swept import make_sweep
from tests.support.tracked import copy_database
from tune.report import figures
from tune.report.facts import gather
from tune.report.page import draw, try_report, write_report
from tune.report.scores import score_best
from tune.report.style import STATES
from tune.search.mlflow import send_study
from tune.search.retrain import compare_finalists
from tune.search.trial import Job
from tune.space.dimensions import Choice, point_of
from tune.space.labels import label_of
from tune.study.finalists import verdict_of, write_final
from tune.study.options import Options
from tune.study.record import StudyRecord, score_of, write_study
from tune.study.settings import Load, StudySettings
from tune.windows.fit import tune_run

TRIALS = "done stopped done failed done stopped done"
SECTIONS = (
    *("best", "history", "importance", "parallel", "slices", "curves", "actions", "windows"),
    *("trials", "failures", "time", "space", "settings", "repeat"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("season"), train=3, valid=6, test=0)


@pytest.fixture(scope="module")
def swept(store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study that is done, and its page."""
    folder = tmp_path_factory.mktemp("studies") / "s"
    make_sweep(folder, store, TRIALS)
    return folder, write_report(folder).read_text(encoding="utf-8")


def page_of(folder: Path) -> str:
    return draw(gather(folder))


def without_program(page: str) -> str:
    """The page without plotly.js."""
    longest = max(re.findall(r"<script[^>]*>.*?</script>", page, re.DOTALL), key=len)
    assert len(longest) > 1_000_000, "plotly.js is not there"
    return page.replace(longest, "")


def traces(page: str, name: str) -> list[dict[str, Any]]:
    """The data of a picture, as plotly is given it."""
    text = page.split(f'"figure-{name}",', 1)[1]
    found: list[dict[str, Any]] = json.JSONDecoder().raw_decode(text[text.index("[") :])[0]
    return found


def table_of(page: str, section: str) -> list[list[str]]:
    """The cells of the first table of a section."""
    part = page.split(f'<section id="{section}">', 1)[1].split("</table>", 1)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def visible(page: str) -> str:
    """What a reader reads."""
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_every_section_is_there(swept: tuple[Path, str]) -> None:
    page = without_program(swept[1])
    assert re.findall(r'<section id="(\w+)">', page) == list(SECTIONS)
    figures = {"best", "history", "importance", "parallel", "slices", "curves", "actions"}
    figures |= {"windows", "time"}
    assert set(re.findall(r'id="figure-(\w+)"', page)) == figures
    assert "not finished" not in page


def test_the_numbers_are_those_of_the_study(swept: tuple[Path, str], store: EmbeddingStore) -> None:
    folder, page = swept
    record = gather(folder).record
    by_id = {row.id: row for row in record.trials}
    head, *rows = table_of(page, "trials")
    assert sorted(row[0] for row in rows) == sorted(by_id)
    for cells in rows:
        row = by_id[cells[0]]
        shown = dict(zip(head, cells, strict=True))
        assert shown["tight, %"] == percent(row.best_tight)
        assert shown["window length L"] == str(row.settings["train.seq_len"])
        assert shown["epochs"] == str(row.epochs)
    scores = [float(row[2]) for row in rows if row[2] != NOTHING]
    assert scores == sorted(scores, reverse=True)
    assert [row[2] for row in rows[len(scores) :]] == [NOTHING]
    points = {
        x: y for t in traces(page, "history") if t["mode"] == "markers" and "hovertext" in t
        for x, y in zip(t["x"], t["y"], strict=True)
    }  # fmt: skip
    assert points == {
        n: pytest.approx(100 * (row.best_tight or 0)) for n, row in enumerate(record.trials, 1)
    }
    curves = sorted(tuple(t["y"]) for t in traces(page, "curves"))
    assert curves == sorted(
        tuple(100 * (e.tight or 0) for e in run.history) for run in gather(folder).runs.values()
    )
    crosses = [t for t in traces(page, "curves") if t["marker"]["symbol"][-1] == "x"]
    assert len(crosses) == 2, "one for each trial that was stopped early"


PICTURED = "done stopped done failed done running waiting stopped done done"


@pytest.mark.parametrize("weights", ["rate", "group", "per_action"])
@pytest.mark.parametrize("objective", ["loose", "both"])
def test_pictures_by_setting_show_each_trial_at_its_values(
    store: EmbeddingStore, tmp_path: Path, weights: Any, objective: Any
) -> None:
    options = Options(sampler="random", objective=objective)
    record = make_sweep(
        tmp_path, store, PICTURED, weights=weights, search_windows=True, options=options
    )
    space, scored = record.settings.space, [row for row in record.trials if row.best_tight]
    score = {row.id: 100 * (score_of(row, objective) or 0) for row in scored}
    keys = figures.drawn_dimensions(record)
    assert set(keys) == set(space.dimensions), "weight decay is there for short windows only"
    drawn = figures.slices(record, keys)
    axes = dict(zip(keys, drawn.select_xaxes(), strict=True))
    for key, trace in zip(keys, drawn.data, strict=False):
        assert axes[key].title.text == label_of(key, space).replace(">", "&gt;")
        assert (axes[key].type == "log") == getattr(space.dimensions[key], "log", False)
        here = {row.id: point_of(row.settings, space) for row in scored}
        here = {trial: point[key] for trial, point in here.items() if key in point}
        shown = {
            re.findall("<b>(.*)</b>", said)[0]: (x, y)
            for said, x, y in zip(trace.hovertext, trace.x, trace.y, strict=True)
        }
        choice = isinstance(space.dimensions[key], Choice)
        assert shown == {
            trial: (repr(value) if choice else value, pytest.approx(score[trial]))
            for trial, value in here.items()
        }
        colours = {STATES[row.status].colour for row in scored if row.id in here}
        assert set(trace.marker.color) == colours
    axes = ["train.seq_len", "train.weight_decay"]
    lines = figures.parallel(record, axes)
    assert lines.layout.xaxis.ticktext[1:] == ("window length L", "weight decay")
    values = [[value for _, value in t.customdata] for t in lines.data if t.mode == "lines"]
    assert sorted(values) == sorted(
        [f"{score[row.id]:.3g}", str(row.settings["train.seq_len"]),
         f"{row.settings['train.weight_decay']:.3g}" if "train.weight_decay" in row.settings
         else "not there"]
        for row in scored
    )  # fmt: skip
    long = [row for row in record.trials if "train.weight_decay" not in row.settings]
    assert long, "some windows are long"
    write_study(tmp_path, record.model_copy(update={"trials": tuple(long)}))
    assert "weight decay" not in str(traces(page_of(tmp_path), "parallel")), "no trial has it"


def test_scores_of_the_best_are_those_of_the_metric(
    swept: tuple[Path, str], store: EmbeddingStore
) -> None:
    folder, page = swept
    record = gather(folder).record
    scores = score_best(folder, record, None)
    best = max(record.trials, key=lambda row: row.best_tight or 0)
    assert scores.candidates[0].trial == best.id
    counts = count_run(folder / best.run, store, "valid", "tight")
    expected = resampled_averages(counts, np.ones((1, 6)))[0]
    assert scores.candidates[0].scores["tight"].score == pytest.approx(expected)
    assert f"{100 * expected:.2f} %" in visible(page)
    first = scores.candidates[0]
    assert np.sum([e.score for e in first.actions.values()]) / 17 == pytest.approx(expected)
    second = scores.candidates[1]
    lead = first.scores["tight"].score - second.scores["tight"].score
    assert second.against is not None
    assert -second.against.difference == pytest.approx(lead)
    assert f"its lead is {100 * lead:+.2f} points" in visible(page)
    assert "None of them was trained again" in visible(page)
    assert table_of(page, "best")[1][0] == best.id


def test_the_best_that_were_trained_again_are_what_is_shown(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    record = make_sweep(folder, store, "done done done done", options=Options(top=2))
    runs = {"t02": [folder / "trials/t01", folder / "trials/t02"], "t04": [folder / "trials/t04"]}
    final = compare_finalists(folder, runs, Job.of(folder, record), "tight")
    write_final(folder, final.model_copy(update={"failed": ("t03-s1: <b>no</b> luck",)}))
    scores = score_best(folder, record, final)
    assert [one.trial for one in scores.candidates] == [one.trial for one in final.finalists]
    for one, finalist in zip(scores.candidates, final.finalists, strict=True):
        assert one.scores["tight"].score == pytest.approx(finalist.score)
        assert one.trainings == pytest.approx(finalist.scores)
        assert one.against == finalist.against
    text = visible(page_of(folder))
    assert verdict_of(final)[1:] in text
    assert f"{100 * final.corrected:.2f} %" in text
    assert "t03-s1: <b>no</b> luck" in text
    ends = scores.candidates[0].scores["tight"].interval
    assert ends is not None
    low, high = ends
    assert f"[{100 * low:.2f}, {100 * high:.2f}] %" in text


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def test_text_of_others_does_nothing(store: EmbeddingStore, tmp_path: Path) -> None:
    record = make_sweep(tmp_path / "s", store, "done failed done done done done")
    space = record.settings.space
    (old, dimension) = next(iter(space.dimensions.items()))
    rows = []
    for row in record.trials:
        update: dict[str, Any] = {"error": HOSTILE if row.status == "failed" else None}
        update["settings"] = row.settings | {f"train.class_weights.by_action.{HOSTILE}": 2.0}
        rows.append(row.model_copy(update=update))
    weight = {f"train.class_weights.by_action.{HOSTILE}": dimension}
    settings = record.settings.model_copy(
        update={"space": space.model_copy(update={"dimensions": space.dimensions | weight})}
    )
    update = {"trials": tuple(rows), "settings": settings, "name": HOSTILE}
    write_study(tmp_path / "s", record.model_copy(update=update))
    page = without_program(page_of(tmp_path / "s"))
    assert old == "train.seq_len"
    assert "<img" not in page
    assert "<script>alert" not in page
    assert page.count("<script") == page.count("</script>")
    assert HOSTILE in visible(page), "and yet it can be read"
    assert [row[2] for row in table_of(page, "failures")[1:]] == [HOSTILE]


def test_nothing_is_loaded(swept: tuple[Path, str]) -> None:
    page = without_program(swept[1])
    for pattern in (r"\bsrc\s*=", r"@import", r"url\(", r'href="(?!#)', r"https?://", r"<link"):
        assert not re.findall(pattern, page), pattern
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == ["default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
                      "style-src 'unsafe-inline'; img-src data: blob:"]  # fmt: skip


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_without_a_network_draws_every_picture(
    swept: tuple[Path, str], tmp_path: Path
) -> None:
    folder, page = swept
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", *quiet),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom"),
            f"file://{folder}/report.html",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for name in set(re.findall(r'id="figure-(\w+)"', page)):
        drawn = done.stdout.split(f'id="figure-{name}"', 1)[1].split("<figcaption", 1)[0]
        assert "main-svg" in drawn, name
    assert "Content Security Policy" not in done.stderr, "something was asked for and refused"
    assert "Uncaught" not in done.stderr


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ("done", "The best of 1 trial in the search, t01, has tight"),
        ("failed failed", "Every trial failed (2 of 2): see the failures below."),
        ("waiting waiting", "No trial has a score yet."),
        ("", "No trial has a score yet."),
        ("running waiting", "no trial has predicted the valid games yet"),
    ],
)
def test_small_studies_have_a_page_too(
    store: EmbeddingStore, tmp_path: Path, states: str, said: str
) -> None:
    make_sweep(tmp_path / "s", store, states)
    page = page_of(tmp_path / "s")
    assert said in visible(page)
    assert re.findall(r'<section id="(\w+)">', without_program(page)) == list(SECTIONS)


def test_windows_that_were_fitted_are_shown_with_their_score(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    make_sweep(tmp_path / "s", store, "done done")
    best = gather(tmp_path / "s").best
    assert best is not None
    before = page_of(tmp_path / "s")
    tuned = tune_run(tmp_path / "s" / best.run, "valid", method="exact")
    page = page_of(tmp_path / "s")
    assert "Fitted on valid by `hmtas tune windows` (exact)" in visible(page)
    assert f"cross-fitted, it has tight {100 * tuned.after.tight.average_map:.2f} [" in visible(
        page
    )
    assert "The best on valid together, as `hmtas tune windows` finds them" in visible(before)
    assert table_of(before, "windows") == table_of(page, "windows"), "they are the same ones"
    shown = {row[0]: (row[3], float(row[4])) for row in table_of(page, "windows")[1:]}
    fitted = tuned.fitted
    assert shown == {a: (fitted.kinds[a], fitted.windows_s[a]) for a in store.actions}
    assert traces(page, "windows")[1]["x"] == [fitted.windows_s[a] for a in store.actions]


def test_two_objectives_have_a_front(store: EmbeddingStore, tmp_path: Path) -> None:
    options = Options(objective="both")
    record = make_sweep(
        tmp_path / "s", store, "done stopped done", weights="group", options=options
    )
    better = max(row.best_loose or 0 for row in record.trials) + 0.1
    rows = [row.model_copy(update={"best_loose": better}) if row.id == "t02" else row
            for row in record.trials]  # fmt: skip
    write_study(tmp_path / "s", record.model_copy(update={"trials": tuple(rows)}))
    page = page_of(tmp_path / "s")
    kept = [row[0] for row in table_of(page, "front")[1:]]
    best = max(rows, key=lambda row: row.best_tight or 0)
    assert kept == list(dict.fromkeys([best.id, "t02"]))
    rings = [name for t in traces(page, "front") for name in t.get("text", ()) if name]
    assert sorted(rings) == sorted(kept)
    assert "weight: Goal and 2 more" in visible(page)


def test_a_study_that_is_not_done_says_so_first(store: EmbeddingStore, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    make_sweep(folder, store, "done stopped running waiting", status="running")
    text = visible(page_of(folder))
    start = text.index("This study is not finished: 2 of 4 trials have ended; 1 were running.")
    assert start < text.index("The best models")
    assert f"No driver is at work on it. Resume it with: hmtas tune resume {folder}" in text
    (folder / "driver.json").write_text(json.dumps({"host": "h", "pid": 1, "beat": 1.0}))
    assert "No driver is at work on it" in visible(page_of(folder)), "it has been silent for long"
    (folder / "driver.json").write_text(json.dumps({"host": "h", "pid": 1, "beat": 1e12}))
    assert "It is at work (process 1 on h)" in visible(page_of(folder))


def test_a_store_that_is_gone_costs_the_scores_alone(store: EmbeddingStore, tmp_path: Path) -> None:
    record = make_sweep(tmp_path / "s", store, "done done")
    moved = record.settings.model_copy(update={"store": str(tmp_path / "gone")})
    write_study(tmp_path / "s", record.model_copy(update={"settings": moved}))
    page = page_of(tmp_path / "s")
    assert f"its store is not at {tmp_path / 'gone'}" in visible(page)
    assert len(traces(page, "curves")) == 2


def test_another_store_in_its_place_scores_nothing(store: EmbeddingStore, tmp_path: Path) -> None:
    record = make_sweep(tmp_path / "s", store, "done done")
    other = record.settings.model_copy(update={"store_checksum": "other"})
    write_study(tmp_path / "s", record.model_copy(update={"settings": other}))
    assert "packed again since, from other games" in visible(page_of(tmp_path / "s"))


@pytest.mark.parametrize("weights", ["rate", "group", "per_action"])
def test_the_commands_of_the_page_repeat_the_study(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Any
) -> None:
    folder = tmp_path / "studies" / "it's s"
    options = Options(sampler="random", objective="loose", pruner="none", top=1, final_seeds=3)
    record = make_sweep(
        folder, store, "done stopped", weights=weights, search_windows=True, options=options
    )
    base = record.settings.base.updated(
        {
            "seed": 7,
            "stop_on": "loose",
            "by_action.Goal": 3.5,
            "exclude_streams": ["vtn"],
        }
    )
    settings = record.settings.model_copy(update={"base": base, "seed": 7, "grace_epochs": 2})
    load = Load(concurrent=3, cpus_per_trial=2, gpus_per_trial=0.5)
    write_study(folder, record.model_copy(update={"settings": settings, "load": load}))
    page = page_of(folder)
    lines = [
        html.unescape(t) for t in re.findall(r'<pre class="line">(.*?)</pre>', page, re.DOTALL)
    ]
    words = shlex.split(next(line for line in lines if line.startswith("hmtas tune model")))
    monkeypatch.chdir(tmp_path)
    blocks = [html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    Path("space.json").write_text(next(text for text in blocks if '"dimensions"' in text))
    found: dict[str, Any] = {}

    class Enough(Exception):  # noqa: N818
        pass

    def capture(place: Path, settings: StudySettings, **more: Any) -> StudyRecord:
        found.update(folder=place, settings=settings, load=more["load"])
        raise Enough

    monkeypatch.setattr("tune.sweep.run_study", capture)
    with pytest.raises(Enough):
        build()(words[1:], standalone_mode=False)
    assert found["folder"] == folder
    assert (found["settings"], found["load"]) == (settings, load)
    assert f"hmtas tune resume {shlex.quote(str(folder))}" in lines
    assert any(line.startswith(f"hmtas train {store.path} --config") for line in lines)
    assert any(line.startswith("hmtas reproduce ") for line in lines)
    assert settings.store_checksum in visible(page)


def test_the_verb_writes_where_it_is_told(
    store: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sweep(tmp_path / "s", store, "done", predicted=False)
    command = build()
    command(["tune", "report", str(tmp_path / "s"), "--json"], standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said == {"report": str(tmp_path / "s/report.html"),
                    "bytes": (tmp_path / "s/report.html").stat().st_size}  # fmt: skip
    out = tmp_path / "elsewhere" / "page.html"
    command(["tune", "report", str(tmp_path / "s"), "--out", str(out)], standalone_mode=False)
    assert out.read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(InputError, match="this is a folder; name a file in it"):
        write_report(tmp_path / "s", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "s", tmp_path / "file" / "page.html")
    with pytest.raises(InputError, match="no study here"):
        write_report(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_report_that_cannot_be_drawn_is_a_warning(
    store: EmbeddingStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def break_down(*_: Any) -> None:
        raise ZeroDivisionError("out of ink")

    make_sweep(tmp_path / "s", store, "done", predicted=False)
    monkeypatch.setattr("tune.report.figures.history", break_down)
    try_report(tmp_path / "s")
    assert "warning: the report of this study could not be drawn (out of ink)" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "s" / "report.html").exists()
    assert not list((tmp_path / "s").glob(".report*"))


def test_mlflow_gets_the_page_once_and_again_when_it_changes(
    store: EmbeddingStore,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    mlflow_store: str,
) -> None:
    folder = tmp_path / "s"
    record = make_sweep(folder, store, "done failed", predicted=False)
    (folder / "report.html").write_text("first")
    sent: list[str] = []
    log_artifact = MlflowClient.log_artifact

    def note(client: MlflowClient, run_id: str, path: str, place: str | None = None) -> None:
        sent.append(Path(path).name)
        log_artifact(client, run_id, path, place)

    monkeypatch.setattr(MlflowClient, "log_artifact", note)
    send_study(folder, record)
    send_study(folder, record)
    assert sent.count("report.html") == 1
    (folder / "report.html").write_text("second")
    send_study(folder, record)
    assert sent.count("report.html") == 2
    client = MlflowClient(mlflow_store)
    parent = read_json(folder / "mlflow.json")["parent"]
    copy = client.download_artifacts(parent, "report.html", str(tmp_path))
    assert Path(copy).read_text() == "second"
    other = copy_database(tmp_path_factory, tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    send_study(folder, record)
    assert sent.count("report.html") == 3, "another MLflow has nothing yet"
