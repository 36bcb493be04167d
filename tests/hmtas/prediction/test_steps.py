"""A half is predicted as a whole, as the model sees it; scores move to where they point."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmtas.cli import main
from hmtas.config import Precision
from hmtas.files import read_json
from hmtas.model.build import build_model
from hmtas.model.steps import Rates, StepModel
from hmtas.prediction.slide import Predictor, pad_rows, predict_run
from hmtas.prediction.steps import moved
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import RECORD
from hmtas.store.halves import Half
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.small import make_config

ONE_HZ, TWO_HZ = Rates(1.0, 1.0), Rates(1.0, 2.0)
SMALL = {"gamma": 1.0, "reach_s": 4.0, "context_s": 32.0, "margin_s": 6.0, "batch_size": 4}
KINDS = ("dense", "conv")


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_without_displacement_and_at_one_rate_nothing_moves() -> None:
    scores = torch.rand(5, 2)
    assert moved(scores, None, ONE_HZ) is scores
    assert moved(scores, None, TWO_HZ) is scores  # steps are labelled at 2 Hz already


def test_of_scores_that_meet_the_largest_wins_and_what_they_leave_is_empty() -> None:
    found = moved(column(0.2, 0.6, 0.1, 0.5), column(1, 0, -1, 0), ONE_HZ)
    assert found[:, 0].tolist() == pytest.approx([0, 0.6, 0, 0.5])


def test_each_action_moves_by_itself() -> None:
    scores = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    found = moved(scores, torch.tensor([[1.0, 0.0], [0.0, -1.0]]), ONE_HZ)
    assert found.tolist() == [[0, pytest.approx(0.4)], [pytest.approx(0.3), 0]]


def test_a_score_that_leaves_the_half_stays_at_its_end() -> None:
    found = moved(column(0.2, 0.1, 0.3), column(-5, 0, 5), ONE_HZ)
    assert found[:, 0].tolist() == pytest.approx([0.2, 0.1, 0.3])


def test_displacements_are_seconds_and_places_are_steps() -> None:
    found = moved(column(0.9, 0, 0, 0, 0, 0), column(1.6, 0, 0, 0, 0, 0), TWO_HZ)
    assert found[:, 0].tolist() == pytest.approx([0, 0, 0, 0.9, 0, 0])


@pytest.mark.parametrize("num_rows", [7, 8])
def test_two_rows_a_second_become_one(num_rows: int) -> None:
    """Seconds 0, 1/2, 1, 3/2 ...: a row halfway between two seconds is of the later one."""
    scores = column(*(0.1 * (1 + row) for row in range(num_rows)))
    found = moved(scores, None, Rates(2.0, 1.0))
    assert found[:, 0].tolist() == pytest.approx([0.1, 0.3, 0.5, 0.7 if num_rows == 7 else 0.8])


def test_displacements_at_a_lower_output_rate() -> None:
    found = moved(column(0.2, 0.9, 0.4, 0.1), column(0, 0.6, 0, 0), Rates(2.0, 1.0))
    assert found[:, 0].tolist() == pytest.approx([0.2, 0.9])


def open_predictor(
    store: EmbeddingStore, precision: Precision = "fp32", **settings: object
) -> tuple[StepModel, Predictor]:
    torch.manual_seed(0)
    config = make_config(**{**SMALL, **settings})
    model = build_model(store.streams, len(store.actions) + 1, config.model)
    assert isinstance(model, StepModel)
    for parameter in model.parameters():  # biases and positions are 0 before training
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval(), Predictor(model, store.streams, config, precision=precision)


def first_half(store: EmbeddingStore) -> Half:
    return store.open_half(store.halves_of(store.games("valid"))[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", ["", "vtn", "vggish"])
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="1 Hz"),
        pytest.param({"output_rate_hz": 2, "displacement": True, "sequence_layers": 1}, id="2 Hz"),
    ],
)
def test_a_whole_half_is_as_the_model_sees_it(
    kind: str, missing: str, settings: dict[str, object], *, store: EmbeddingStore
) -> None:
    model, predictor = open_predictor(store, kind=kind, **settings)
    half = first_half(store)
    x = {name: torch.tensor(np.float32(rows))[None] for name, rows in half.streams.items()}
    x = {name: pad_rows(rows[0], 13)[None] for name, rows in x.items()}
    present = torch.tensor([[name != missing for name in store.streams]])
    with torch.no_grad():
        expected = model(x, present, 13)
    streams = {name: rows for name, rows in half.streams.items() if name != missing}
    found = predictor.logits(half._replace(streams=streams))
    assert len(found.fused_BC) == half.num_rows * model.num_steps
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(found.fused_BC, expected.fused_BC, **close)
    if found.shift_BA is not None:
        torch.testing.assert_close(found.shift_BA, expected.shift_BA, **close)
    values = predictor.probabilities(found, half).values
    assert values.shape == (half.num_rows * model.num_steps, len(store.actions))


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_is_near(kind: str, store: EmbeddingStore) -> None:
    (_, exact), (_, rounded) = (open_predictor(store, p, kind=kind) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    half = first_half(store)
    difference = np.abs(exact.predict(half).values - rounded.predict(half).values)
    assert 0 < difference.max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_at_2_hz_are_scored_and_get_windows(
    kind: str,
    store: EmbeddingStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    settings = {"output_rate_hz": 2, "displacement": True, "max_epochs": 1}
    fit(store, make_config(**{**SMALL, "kind": kind, **settings}), run, name="run")
    stored = read_probabilities(predict_run(run, store, "valid"))
    for half, found in stored.halves.items():
        assert found.rate_hz == 2.0
        assert len(found.values) == 2 * store.halves[half].num_rows
    assert read_json(run / RECORD)["rate_hz"] == 1.0
    for words in (["score", str(run), "--split", "valid"], ["tune", "windows", str(run)]):
        monkeypatch.setattr("sys.argv", ["hmtas", *words])
        with pytest.raises(SystemExit) as exit_info:
            main()
        assert exit_info.value.code in (0, None), capsys.readouterr().err
