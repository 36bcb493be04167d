"""What becomes of a trial is on disk before it counts, and a reader never sees half a line."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError, TransientError
from hmtas.files import read_json, write_json
from tests.support.swept import search_settings
from tune.study.ledger import Ledger, ledger_of, open_ledger, study_now
from tune.study.record import RECORD, StudyRecord, ranked, read_study, write_study
from tune.study.rows import FILE, TrialRow


def row_of(name: str, status: str = "waiting", **changes: Any) -> TrialRow:
    settings = {"train.seq_len": 3}
    row = {"id": name, "status": status, "settings": settings, "run": f"trials/{name}"}
    return TrialRow.model_validate({**row, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = search_settings({"dimensions": {"seq_len": list(range(2, 40))}}, ("Goal",))
    write_study(tmp_path, StudyRecord(name="s", version="0", created="now", settings=settings))
    return tmp_path


def fill(ledger: Ledger) -> None:
    ledger.put(row_of("a"))
    ledger.put(row_of("b"))
    ledger.put(row_of("a", "running"))
    ledger.put(row_of("a", "running", epochs=1, best_tight=0.2, seconds=3.5))
    ledger.put(row_of("b", "failed", error="out of memory", told=1))
    ledger.put(row_of("a", "done", epochs=2, best_tight=0.3, seconds=7.0, told=2))


def test_what_is_noted_is_read_again_also_by_others(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        fill(ledger)
        assert ledger_of(folder) is ledger
        assert read_study(folder).trials == study_now(folder).trials == ledger.record.trials
        assert [row.id for row in ledger.record.trials] == ["a", "b"], "as they were proposed"
    assert study_now(folder).trials == ledger.record.trials, "nobody drives it"
    lines = (folder / FILE).read_text().splitlines()
    assert json.loads(lines[2]) == {"id": "a", "status": "running"}, "what changed, no more"
    with open_ledger(folder):
        assert len((folder / FILE).read_text().splitlines()) == 2, "a line a trial"


def test_it_counts_as_the_rows_do(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        fill(ledger)
        ledger.put(row_of("c", "running", best_tight=0.3))
        ledger.put(row_of("d", "running", best_tight=0.4))
        record = ledger.record
        assert (len(ledger), ledger.num_ended) == (4, 2)
        assert (ledger.num_told, ledger.last_told) == (2, 2)
        assert ledger.best == ranked(record)[0] == record.trial("d")
        ledger.put(row_of("d", "failed", best_tight=0.4, told=3))
        assert ledger.best == ranked(ledger.record)[0] == record.trial("a"), "the earlier of two"
        ledger.put(row_of("b", "waiting", told=1))
        ledger.put(row_of("b", "done", told=4))
        assert (ledger.num_told, ledger.last_told) == (3, 4)
    with open_ledger(folder) as again:
        assert (again.counts, again.best) == (ledger.counts, ledger.best)
        assert (again.num_told, again.last_told, again.num_ended) == (3, 4, 3)


@pytest.mark.parametrize("length", [1, 9, 40])
def test_a_line_that_a_crash_cut_short_does_not_count(folder: Path, length: int) -> None:
    with open_ledger(folder) as ledger:
        fill(ledger)
    before = read_study(folder)
    line = b'{"id":"c","status":"waiting","settings":{"train.seq_len":3},"run":"trials/c"}'
    with (folder / FILE).open("ab") as file:
        file.write(line[:length])
    assert read_study(folder) == before
    with open_ledger(folder) as ledger:
        ledger.put(row_of("d"))
    assert [row.id for row in read_study(folder).trials] == ["a", "b", "d"]


def test_a_full_disk_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write

    def cut_short(file: int, content: bytes) -> int:
        if len(content) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(file, content[:7])

    with open_ledger(folder) as ledger:
        fill(ledger)
        before, content = ledger.record, (folder / FILE).read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr("tune.study.rows.os.write", cut_short)
            with pytest.raises(TransientError, match="no space left"):
                ledger.put(row_of("c"))
        assert (folder / FILE).read_bytes() == content
        assert ledger.record == before
        ledger.put(row_of("c"))
    assert [row.id for row in read_study(folder).trials] == ["a", "b", "c"]


def test_a_study_of_an_older_version_opens_and_goes_on(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        fill(ledger)
    rows = [row.model_dump(mode="json") for row in read_study(folder).trials]
    write_json(folder / RECORD, {**read_json(folder / RECORD), "trials": rows})
    (folder / FILE).unlink()
    assert read_study(folder).trials == ledger.record.trials
    with open_ledger(folder) as again:
        again.put(row_of("c"))
    assert [row.id for row in read_study(folder).trials] == ["a", "b", "c"]
    assert "trials" not in read_json(folder / RECORD)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 1: not JSON"),
        ('["a"]', "line 1: a trial's change must be an object with its id"),
        ('{"id": "a", "status": "done"}', "trial a: settings: Field required"),
        ('{"id": "a", "status": "odd"}', "Input should be 'waiting'"),
    ],
)
def test_what_is_damaged_is_named(folder: Path, line: str, why: str) -> None:
    (folder / FILE).write_text(line + "\n")
    with pytest.raises(InputError, match=why) as caught:
        read_study(folder)
    assert FILE in str(caught.value)
