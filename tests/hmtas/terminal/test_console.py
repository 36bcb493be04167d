"""What a verb prints with `--json` is JSON, whatever its record holds."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hmtas.records import HalfId
from hmtas.terminal.console import emit
from hmtas.validation import Frozen


class Part(Frozen):
    """A record within a record."""

    ends: tuple[float, float] | None = (0.0, 1.0)


@dataclass
class Report:
    """One of everything that a report of a verb has."""

    skipped: Counter[str] = field(default_factory=lambda: Counter(["no text", "no text"]))
    half: HalfId = field(default_factory=lambda: HalfId("l/s/a", 1))
    parts: tuple[Part, ...] = (Part(), Part(ends=None))
    place: Path = Path("runs/m7")
    score: float = float("nan")


def test_records_become_objects_and_no_number_null(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"out": "here", **vars(Report())})
    assert json.loads(capsys.readouterr().out) == {
        "out": "here",
        "skipped": {"no text": 2},
        "half": ["l/s/a", 1],
        "parts": [{"ends": [0.0, 1.0]}, {"ends": None}],
        "place": "runs/m7",
        "score": None,
    }
