"""The benchmark of the metric runs, checks that both sides agree, and says what it found."""

import importlib.util
import json
from types import ModuleType

import numpy as np
import pytest

from tests.support.official import needs_soccernet
from tests.support.paths import ROOT

FILE = ROOT / "benchmarks" / "evaluator.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with two tolerances and few spots."""
    spec = importlib.util.spec_from_file_location("evaluator_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SETS", ((1,), (5,)))
    monkeypatch.setattr(module, "DENSE_SPOTS_OF_GAME", 400)
    return module


@needs_soccernet
def test_the_last_line_has_every_number(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main(["--quick", "--json"])
    printed = capsys.readouterr().out
    found = json.loads(printed.splitlines()[-1])
    assert list(found) == list(benchmark.TARGETS)
    assert all(value > 0 for value in found.values())
    assert "synthetic, as sparse as real" in printed


@needs_soccernet
def test_a_difference_is_an_error(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(season: object) -> list[object]:
        return list(reversed(true(season)))

    true = benchmark.ours
    monkeypatch.setattr(benchmark, "ours", wrong)
    with pytest.raises(SystemExit):
        benchmark.main(["--quick"])
    assert "the two sides differ by" in capsys.readouterr().err


def test_synthetic_spots_are_as_many_as_asked_in_cells_of_their_own(benchmark: ModuleType) -> None:
    season = benchmark.synthetic("", num_games=2, spots_of_game=18_000)
    assert season.num_spots == 36_000
    for spot in season.spots.values():
        place = (2 * spot.time_s).astype(int) * benchmark.NUM_ACTIONS + spot.action
        assert len(np.unique(place)) == 9_000
