"""Options of a metric that contradict each other, or lack one another, are one line and exit 2."""

from pathlib import Path

import pytest

from hmtas.cli import main
from hmtas.formats.submission import write_submission
from hmtas.records import HalfId, Spots
from tests.support.members import write_store
from tests.support.tracked import make_run


@pytest.mark.parametrize("verb", [("score",), ("compare",), ("tune", "windows")])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--tolerance-s 1 --tolerance-frames 1 --fps 25", "one metric at a time"),
        ("--tolerance-frames 1", "--tolerance-frames 1 needs --fps"),
        ("--fps 25", "--fps 25 needs --tolerance-frames"),
        ("--tolerance-s 1 --fps 25", "--fps 25 needs --tolerance-frames"),
        ("--grid-hz 25", "--grid-hz 25 needs --tolerance-s"),
        ("--tolerance-frames 1 --fps 25 --grid-hz 25", "--grid-hz 25 needs --tolerance-s"),
        ("--tolerance-s one", "seconds, above 0 and at most 7,200"),
        ("--tolerance-s 1,,2", "got '1,,2'"),
        ("--tolerance-s 0", "seconds, above 0"),
        ("--tolerance-s nan", "got 'nan'"),
        ("--tolerance-s inf", "got 'inf'"),
        ("--tolerance-s -1", "got '-1'"),
        ("--tolerance-s 1e9", "at most 7,200"),
        ("--tolerance-s 2,1", "must ascend, each once"),
        ("--tolerance-s 1,1", "must ascend, each once"),
        ("--tolerance-s 1;2", "got '1;2'"),
        ("--tolerance-frames 1.5 --fps 25", "whole frames"),
        ("--tolerance-frames -1 --fps 25", "whole frames, 0 to"),
        ("--tolerance-frames 99999999999999999999 --fps 25", "whole frames"),
        ("--tolerance-frames 1,0 --fps 25", "must ascend"),
        ("--tolerance-frames 1 --fps 0", "--fps must be above 0 and at most 1000, got 0"),
        ("--tolerance-frames 1 --fps -1", "got -1"),
        ("--tolerance-frames 1 --fps nan", "must be a finite number"),
        ("--tolerance-frames 1 --fps 1e9", "at most 1000"),
    ],
)
def test_one_line(
    *,
    verb: tuple[str, ...],
    options: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [make_run(tmp_path / name, store="nowhere") for name in ("a", "b")]
    before = sorted(path.name for path in runs[0].rglob("*"))
    line = error_of((*verb, *map(str, runs), *options.split()), monkeypatch, capsys)
    assert words in line
    assert sorted(path.name for path in runs[0].rglob("*")) == before


def test_an_experiment_has_no_other_metric_to_compare_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run(tmp_path / "a", store="nowhere"))
    for runs in ((), (run,)):
        line = error_of(("compare", *runs, "--tolerance-s", "1"), monkeypatch, capsys)
        assert "name two or more" in line


def test_teams_need_actions_of_teams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    games = ("l/s/a", "l/s/b")
    store = write_store(tmp_path, {"valid": games})
    spots = {HalfId(game, h): Spots.empty(HalfId(game, h)) for game in games for h in (1, 2)}
    write_submission(tmp_path / "spots", spots, store.actions)
    asked = ("score", str(tmp_path / "spots"), "--games", str(store.path), "--split", "valid")
    line = error_of((*asked, "--by-team"), monkeypatch, capsys)
    assert "--by-team needs actions" in line
    assert str(tmp_path / "spots") in line


def error_of(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line of a command that must fail."""
    monkeypatch.setattr("sys.argv", ["hmtas", *words])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    (line,) = (line for line in err.splitlines() if line.strip())
    assert line.startswith("error: ")
    return line
