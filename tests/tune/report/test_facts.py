"""A page of very many trials draws those that tell, and says that it does."""

import random
from itertools import accumulate
from pathlib import Path

from tests.support.swept import search_settings
from tune.report.facts import BEST, SHOWN, gather
from tune.report.page import draw, write_report
from tune.study.record import StudyRecord, ranked, write_study
from tune.study.rows import TrialRow


def many(folder: Path, num: int) -> StudyRecord:
    settings = search_settings({"dimensions": {"seq_len": list(range(2, 40))}}, num_trials=num)
    chance = random.Random(0)
    rows = tuple(
        TrialRow(
            id=f"t{n}",
            status="failed" if n == 7 else "done",
            settings={"train.seq_len": 2 + n % 38},
            run=f"trials/t{n}",
            best_tight=1.0 if n == 7 else chance.uniform(0.1 * (n > 50), 0.5 + n / (3 * num)),
            epochs=1,
        )
        for n in range(num)
    )
    record = StudyRecord(name="s", version="0", created="now", settings=settings, trials=rows)
    write_study(folder, record)
    return record


def test_of_many_trials_the_best_the_records_and_some_others_are_drawn(tmp_path: Path) -> None:
    record = many(tmp_path, 1000)
    facts = gather(tmp_path)
    shown = {row.id for row in facts.shown.trials}
    assert SHOWN - 1 <= len(shown) <= SHOWN + 20
    assert {row.id for row in ranked(record)[:BEST]} <= shown
    scores = [0.0 if row.status == "failed" else row.best_tight or 0.0 for row in record.trials]
    best_so_far = accumulate(scores, max)
    records = {f"t{n}" for n, best in enumerate(best_so_far) if scores[n] == best}
    assert records <= shown
    assert [record.trials[place - 1] for place in facts.places] == list(facts.shown.trials)
    others = [place for place in facts.places if f"t{place - 1}" not in records]
    assert sum(place <= 500 for place in others) > 60, "from all of the search"
    page = draw(facts)
    assert f"Pictures and tables show {len(shown)} of the 1000 trials" in page
    assert "1,000 trials" in page


def test_of_few_trials_all_are_drawn(tmp_path: Path) -> None:
    record = many(tmp_path, 40)
    facts = gather(tmp_path)
    assert facts.shown == facts.record
    assert facts.places == tuple(range(1, 41))
    page = write_report(tmp_path).read_text()
    assert "Pictures and tables show" not in page
    assert len(record.trials) == 40
    assert len(page) < 3_000_000, "the program of the pictures is packed"
