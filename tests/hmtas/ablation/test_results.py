"""The numbers of an ablation are means over seeds, compared game by game; tables show them all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hmtas.ablation.results import (
    AblationResult,
    Positives,
    StudyResult,
    VariantResult,
    compare_pairs,
    resample_variants,
    study_result,
)
from hmtas.ablation.scores import ScoredRun, count_positives, score_run
from hmtas.ablation.tables import NOT_EVERY_SEED, as_text, study_tables
from hmtas.ablation.variants import choose, plan
from hmtas.config import SpottingConfig
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.metric.averages import TOLERANCES_S, average_map
from hmtas.packing.pack import pack
from hmtas.records import Probabilities
from hmtas.runs.probabilities import Provenance, write_probabilities
from hmtas.runs.record import EpochRecord, predictions_path, read_run, score_path
from hmtas.scoring.score import RunScore, count_games, score_spots
from hmtas.statistics.intervals import Resampled, bootstrap_interval, paired_difference
from hmtas.statistics.seeds import average_seeds
from hmtas.statistics.verdicts import Verdict
from hmtas.store.local import EmbeddingStore
from tests.support.metric_games import random_games
from tests.support.store_tree import NUM_ROWS, label, packed, rows, save, save_labels, save_splits
from tests.support.tracked import make_run

NUM_ACTIONS = 3
ACTIONS = ("Goal", "Foul", "Corner")
NUM_GAMES = 12
EVENTS = random_games(0, NUM_GAMES, NUM_ACTIONS)[1]


def run_of(
    seed: int, folder: Path, actions: tuple[str, ...] = ACTIONS, **losses: float
) -> ScoredRun:
    """A run whose spots are random, all on the same games and events."""
    spots = random_games(seed, NUM_GAMES, NUM_ACTIONS)[0]
    counts = {metric: count_games(spots, EVENTS, actions, metric) for metric in TOLERANCES_S}
    epoch = EpochRecord(
        epoch=1, train_loss=1.0, val_loss=0.5, val_stream_losses=losses, seconds=2.0, windows=9
    )
    last = epoch.model_copy(update={"epoch": 2, "val_stream_losses": dict.fromkeys(losses, 9.0)})
    run = make_run(folder / f"r{seed}", history=(epoch, last), best_epoch=1, actions=actions)
    score = RunScore(
        **dict(score_spots(spots, EVENTS, actions, bootstrap=0)),
        split="test",
        spotting=SpottingConfig(),
        cross_fitted=False,
    )
    return ScoredRun(run, read_run(run), counts, score)


def tight_of(run: ScoredRun) -> float:
    spots = random_games(int(run.run.name[1:]), NUM_GAMES, NUM_ACTIONS)[0]
    return average_map(spots, EVENTS, NUM_ACTIONS).average_map


def test_seeds_are_averaged_in_the_score_and_in_every_resample() -> None:
    resampled = Resampled(
        num_games=2,
        scores=np.array([0.2, 0.4, 0.9]),
        resamples=np.array([[0.1, 0.3, 0.8], [0.3, 0.5, 1.0]]),
    )
    found = average_seeds(resampled, [[0, 1], [2]])
    assert found.num_games == 2
    np.testing.assert_allclose(found.scores, [0.3, 0.9])
    np.testing.assert_allclose(found.resamples, [[0.2, 0.8], [0.4, 1.0]])


def test_each_pair_is_the_first_minus_the_second() -> None:
    noise = np.tile([-0.01, 0.01], 500)
    resampled = Resampled(
        num_games=10_000,  # so many that Student's t is normal
        scores=np.array([0.30, 0.35, 0.36]),
        resamples=np.stack([0.30 + 0 * noise, 0.35 + noise, 0.36 + 0 * noise], axis=1),
    )
    up, unsure = compare_pairs(resampled, [(1, 0), (2, 1)])
    assert up.difference == pytest.approx(0.05)
    assert unsure.difference == pytest.approx(0.01)
    # Both differences have the same noise, always one standard error: two comparisons are one.
    for found in (up, unsure):
        assert found.high - found.difference == pytest.approx(1.96 * 0.01, rel=1e-3)
    assert (up.verdict, unsure.verdict) == ("better", "cannot tell")


def test_one_pair_has_the_interval_of_a_paired_difference(tmp_path: Path) -> None:
    first, second = (run_of(seed, tmp_path).counts["tight"] for seed in (1, 2))
    scored = {"a": [run_of(1, tmp_path)], "b": [run_of(2, tmp_path)]}
    (found,) = compare_pairs(resample_variants(scored, num=200)["tight"].means, [(0, 1)])
    expected = paired_difference(first, second, num=200)
    assert (found.difference, found.low, found.high) == pytest.approx(expected)


@pytest.fixture
def ladder(tmp_path: Path) -> tuple[StudyResult, dict[str, list[ScoredRun]]]:
    """M4 to M7 without audio, two seeds each."""
    (study,) = choose(["m4", "m5", "m6", "m7"])
    planned = plan([study], {}, ["vtn"])
    scored = {
        "m4": [run_of(1, tmp_path), run_of(2, tmp_path)],
        "m5": [run_of(3, tmp_path), run_of(4, tmp_path)],
        "m7": [run_of(5, tmp_path, vtn=0.2), run_of(6, tmp_path, vtn=0.4)],
    }
    return study_result(study, planned, scored, resample_variants(scored, num=200)), scored


def test_a_ladder_by_hand(
    ladder: tuple[StudyResult, dict[str, list[ScoredRun]]],
) -> None:
    study, scored = ladder
    m4, m5, m6, m7 = study.rows
    tight = {name: [tight_of(run) for run in runs] for name, runs in scored.items()}
    assert m4.against is None
    assert m4.tight.by_seed == pytest.approx(tight["m4"])
    assert m4.tight.mean == pytest.approx(sum(tight["m4"]) / 2)
    step = m5.against
    assert step.name == "m4"
    assert step.thesis == pytest.approx(0.5505 - 0.5052)
    by_seed = [a - b for a, b in zip(tight["m5"], tight["m4"], strict=True)]
    assert step.tight.by_seed == pytest.approx(by_seed)
    assert step.tight.difference == pytest.approx(sum(by_seed) / 2)
    assert step.tight.low < step.tight.difference < step.tight.high
    # M6 is M5 here: it is not compared with it, and M7 is compared with what M6 is.
    assert (m6.same_as, m6.against) == ("m5", None)
    assert m6.tight == m5.tight
    assert m7.against.name == "m6"
    assert m7.against.tight.difference == pytest.approx(sum(tight["m7"]) / 2 - sum(tight["m5"]) / 2)
    assert study.num_comparisons == 2
    assert m7.stream_losses == {"vtn": pytest.approx(0.3)}, "of the best epoch, not the last"
    assert m4.stream_losses == {}
    by_action = [run.score.tight.per_action["Foul"] for run in scored["m7"]]
    assert m7.per_action["Foul"] == pytest.approx(sum(by_action) / 2)


def test_the_thesis_says_nothing_of_other_actions(
    ladder: tuple[StudyResult, dict[str, list[ScoredRun]]], tmp_path: Path
) -> None:
    assert [row.thesis_tight for row in ladder[0].rows] == [0.5052, 0.5505, 0.5677, 0.5728]
    assert shown(ladder[0]).count("thesis") == 5  # its title, and a column of each table
    (study,) = choose(["m4", "m5", "m7"])
    tennis = ("serve", "bounce", "net")
    scored = {
        name: [run_of(seed, tmp_path / "tennis", tennis, vtn=0.2)]
        for seed, name in enumerate(("m4", "m5", "m7"), start=1)
    }
    planned = plan([study], {}, ["vtn"])
    found = study_result(study, planned, scored, resample_variants(scored, num=200))
    assert [row.thesis_tight for row in found.rows] == [None] * 3
    assert shown(found, seeds=1, actions=tennis).count("thesis") == 1


def test_a_single_run_has_its_own_interval(tmp_path: Path) -> None:
    (study,) = choose(["m7"])
    run = run_of(1, tmp_path)
    scored = {"m7": [run]}
    (row,) = study_result(
        study, plan([study], {}, ["vtn"]), scored, resample_variants(scored, num=200)
    ).rows
    assert row.tight.interval == pytest.approx(bootstrap_interval(run.counts["tight"], 200))
    assert row.against is None


def test_single_settings_are_all_compared_with_m7(tmp_path: Path) -> None:
    (study,) = choose(["length"])
    planned = plan([study], {}, ["vtn"])
    scored = {
        name: [run_of(seed, tmp_path)]
        for seed, name in enumerate(("m7", *(f"length-{n}" for n in (2, 4, 5, 7))), start=1)
    }
    study = study_result(study, planned, scored, resample_variants(scored, num=200))
    assert [row.name for row in study.rows] == list(scored)
    for row in study.rows[1:]:
        difference = tight_of(scored[row.name][0]) - tight_of(scored["m7"][0])
        assert row.against.name == "m7"
        assert row.against.tight.difference == pytest.approx(difference)
        assert row.against.thesis is None


def shown(study: StudyResult, seeds: int = 2, actions: tuple[str, ...] = ACTIONS) -> str:
    whole = AblationResult(
        store="store",
        split="test",
        num_games=NUM_GAMES,
        seeds=tuple(range(seeds)),
        windows="config",
        cross_fitted=False,
        level=0.95,
        num_events=dict.fromkeys(actions, 4),
        positives=Positives(seq_len=3, num_windows=9, counts={}),
        studies=(study,),
    )
    return as_text(study_tables(whole, study))


def stepped(
    row: VariantResult, difference: float, verdict: Verdict, *by_seed: float
) -> VariantResult:
    """The same row with another difference, tight and loose."""
    assert row.against is not None
    found = replace(
        row.against.tight,
        difference=difference,
        low=difference - 0.001,
        high=difference + 0.001,
        verdict=verdict,
        by_seed=by_seed,
    )
    against = row.against.model_copy(update={"tight": found, "loose": found})
    return row.model_copy(update={"against": against})


def test_the_tables_show_every_number(
    ladder: tuple[StudyResult, dict[str, list[ScoredRun]]],
) -> None:
    m4, m5, m6, m7 = ladder[0].rows
    rows = (
        m4,
        stepped(m5, 0.05, "better", 0.04, 0.06),
        m6,
        stepped(m7, -0.02, "worse", -0.05, 0.01),
    )
    study = ladder[0].model_copy(update={"rows": rows})
    lines = [" ".join(line.split()) for line in shown(study).splitlines()]
    low, high = (f"{100 * end:.2f}" for end in m4.tight.interval)
    assert any(
        line.startswith(f"m4 a stream per embedding {100 * m4.tight.mean:.2f} {low} to {high} ")
        and " 50.52 " in line
        for line in lines
    )
    assert "m6 the same as m5: this store has no stream vggish - - - - - 56.77 - -" in lines
    one = "+5.00 +4.90 to +5.10 +4.00 to +6.00 better"
    assert f"m5 m4 {one} {one} +4.53" in lines
    other = f"-2.00 -2.10 to -1.90 -5.00 to +1.00 worse{NOT_EVERY_SEED}"
    assert f"m7 m6 {other} {other} +0.51" in lines
    assert any(line.startswith(f"{NOT_EVERY_SEED} not with every seed") for line in lines)
    assert any(line.startswith("vtn 0.3000 0.0797") for line in lines), "Table 5.6"
    assert any(line.startswith("Goal 4 ") and line.endswith(" 76.90") for line in lines)
    assert "The 2 intervals of the differences hold together" in " ".join(lines)


def test_one_seed_says_what_it_does_not_know(
    ladder: tuple[StudyResult, dict[str, list[ScoredRun]]],
) -> None:
    text = " ".join(shown(ladder[0], seeds=1).split())
    assert "another seed would change is not in them; --seeds 3 shows it" in text
    assert " seeds verdict" not in text


def test_positive_windows_by_hand(tmp_path: Path) -> None:
    root = tmp_path / "games"
    for half in (1, 2):
        save(root, "l/s/a", half, "vtn", rows("l/s/a", half, "vtn", 10))
    # Half 1: rows 4 and 5 hold a goal, so windows 3 to 6 are positive; the foul at the first row
    # is in windows 0 and 1. Half 2 is all background.
    save_labels(root, "l/s/a", [label(1, 4), label(1, 5), label(1, 0, "Foul")])
    save_splits(root, {"train": ["l/s/a"]})
    pack(root, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")
    found = count_positives(store, ["l/s/a"], seq_len=3)
    assert {name: count for name, count in found.items() if count} == {
        "background": 20 - 6,
        "Goal": 4,
        "Foul": 2,
    }
    assert len(found) == 1 + len(store.actions)


def test_a_run_is_not_scored_on_games_that_it_saw(tmp_path: Path) -> None:
    store = EmbeddingStore.open(packed(tmp_path)[0])
    run = make_run(tmp_path / "r", stopped_games=("l/s/c",))
    with pytest.raises(InputError, match="was fitted or stopped on 1 of 1 games"):
        score_run(run, store, "valid", fitted=False)


def predicted_run(tmp_path: Path, store: EmbeddingStore) -> Path:
    """A run that says nothing but Goal at every fourth second of the test game."""
    run = make_run(tmp_path / "r", actions=store.actions)
    values = np.zeros((NUM_ROWS, len(store.actions)), dtype=np.float32)
    values[::4, store.actions.index("Goal")] = np.linspace(0.1, 0.9, len(values[::4]))
    provenance = Provenance(
        run="r",
        split="test",
        store=store.place,
        store_checksum=store.checksum,
        actions=store.actions,
        rate_hz=1.0,
        fitted_games=("a",),
        created="now",
    )
    halves = [
        Probabilities(half=half, values=values) for half in store.halves_of(store.games("test"))
    ]
    write_probabilities(predictions_path(run, "test"), halves, provenance)
    return run


def num_goals(run: ScoredRun, store: EmbeddingStore) -> int:
    """Spots of Goal above the lowest threshold."""
    return int(run.counts["tight"].detections[:, store.actions.index("Goal"), 1:].sum())


def test_fitted_windows_are_those_of_the_run_folder(tmp_path: Path) -> None:
    store = EmbeddingStore.open(packed(tmp_path)[0])
    run = predicted_run(tmp_path, store)
    fixed = score_run(run, store, "test", fitted=False)
    assert num_goals(fixed, store) < 2 * 8, "20 s keep few of the 8 in each half"
    assert fixed.score.spotting.windows_s["Goal"] == 20
    written = score_path(run, "test").stat().st_mtime_ns
    score_run(run, store, "test", fitted=False)
    assert score_path(run, "test").stat().st_mtime_ns == written, "a score that is right stays"
    with pytest.raises(InputError, match="has no fitted windows; run `hmtas predict`"):
        score_run(run, store, "test", fitted=True)
    windows = {"method": "by hand", "split": "valid", "windows_s": {"Goal": 2.0}, "kinds": {}}
    write_json(run / "windows.json", windows)
    fitted = score_run(run, store, "test", fitted=True)
    assert num_goals(fitted, store) == 2 * 8
    assert fitted.score.spotting.windows_s == {"Goal": 2.0}
    assert fitted.score.cross_fitted is False
    fold = {"games": store.games("test"), "windows_s": {"Goal": 2.0}, "kinds": {}}
    write_json(run / "windows.json", {**windows, "split": "test", "folds": [fold]})
    assert score_run(run, store, "test", fitted=True).score.cross_fitted is True
