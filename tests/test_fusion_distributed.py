"""Several processes fit the learned fusion of one: the same gradients, weights and decisions."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from members import SPLITS, model, write_store
from safetensors.torch import load_file, save_file
from test_fusion import ACTIONS, planted
from torch import Tensor, distributed, multiprocessing
from typer.testing import CliRunner

from ensemble.cli import app
from ensemble.distributed import fit_on_workers, fusion_worker
from ensemble.fusion import FittedFusion, FusionConfig, fit_fusion, fit_rows, fuse
from ensemble.fusion_rows import Material, lay_out, load_material, save_material
from ensemble.refit import refit
from ensemble.team import Team
from hmtas.distributed import Share
from hmtas.errors import InputError
from hmtas.records import HalfId
from hmtas.runs import EpochRecord, read_run

SURE = FusionConfig(feedforward=16, num_layers=1, dropout=0.0, rows_share=1.0, held_out_share=0.0)
CASES = {
    # 33 rows in one batch: the shares are of 17 and 16.
    "unequal shares": SURE.model_copy(update={"epochs": 1, "max_rows": 33, "batch_size": 33}),
    # 33 rows in batches of 16: the last one has a row, which the second process has not.
    "an empty share": SURE.model_copy(
        update={"epochs": 2, "max_rows": 33, "batch_size": 16, "held_out_share": 0.2}
    ),
    # At this rate the network gets worse, so that the held-out game stops it.
    "stopped, with dropout": SURE.model_copy(
        update={"epochs": 30, "learning_rate": 3.0, "patience": 2, "held_out_share": 0.2}
        | {"dropout": 0.3, "max_rows": 301, "batch_size": 50}
    ),
}


def material_of(config: FusionConfig) -> Material:
    halves, events = planted(6)
    return lay_out(halves, events, ACTIONS, config, rate_hz=1.0)


def outcome(config: FusionConfig, team: Team) -> dict[str, Tensor]:
    """Last gradients, weights and losses of a fit."""
    losses: list[float] = []

    def report(entry: EpochRecord) -> None:
        losses.extend([entry.train_loss, entry.val_loss or 0.0])

    named = Team(rank=team.rank, size=team.size, add_up=team.add_up, report=report)
    fitted = fit_rows(material_of(config), config, team=named)
    found = {f"weight {name}": value for name, value in fitted.model.state_dict().items()}
    for name, parameter in fitted.model.named_parameters():
        assert parameter.grad is not None
        found[f"gradient {name}"] = parameter.grad.clone()
    found["epochs"] = torch.tensor([fitted.epochs, fitted.best_epoch])
    return found | {"losses": torch.tensor(losses)}


def fit_all(rank: int, size: int, folder: Path) -> None:
    """One process of a team that fits every case; runs in a process of its own."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size
    )
    team = Team(rank=rank, size=size, add_up=distributed.all_reduce)
    for name, config in CASES.items():
        save_file(outcome(config, team), folder / f"{name} {rank}.safetensors")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two real processes made of every case."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(fit_all, (2, folder), nprocs=2)
    return folder


def of_two(folder: Path, case: str) -> list[dict[str, Tensor]]:
    return [load_file(folder / f"{case} {rank}.safetensors") for rank in (0, 1)]


def test_two_processes_have_the_gradients_of_one(two: Path) -> None:
    case = "unequal shares"
    alone, first = outcome(CASES[case], Team()), of_two(two, case)[0]
    for name in alone:
        if name.startswith("gradient"):
            largest = float(alone[name].abs().max())
            assert largest > 1e-4
            torch.testing.assert_close(first[name], alone[name], rtol=0, atol=1e-6 * largest)
    torch.testing.assert_close(first["losses"], alone["losses"], rtol=1e-6, atol=0)


def test_a_process_without_rows_in_a_batch_takes_part_all_the_same(two: Path) -> None:
    case = "an empty share"
    alone, first = outcome(CASES[case], Team()), of_two(two, case)[0]
    # Two epochs' losses, of rows to fit on and of held-out ones. Not weights: Adam makes steps of
    # gradients that are nothing but rounding, as those of the keys' biases are.
    assert len(alone["losses"]) == 4
    torch.testing.assert_close(first["losses"], alone["losses"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_both_processes_end_with_the_same_weights_at_the_same_epoch(case: str, two: Path) -> None:
    first, second = of_two(two, case)
    assert all(torch.equal(first[name], second[name]) for name in first)
    if case.startswith("stopped"):
        epochs, best_epoch = first["epochs"].tolist()
        assert epochs == best_epoch + 2
        assert epochs < 30


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_each_process_draws_a_dropout_of_its_own(dropout: float) -> None:
    """All rows are alike, so that without dropout all shares have the same gradient."""
    config = SURE.model_copy(update={"epochs": 1, "max_rows": 16, "dropout": dropout})
    halves = {HalfId("game", 1): np.full((3, 64, 2), 0.5, dtype=np.float32)}
    material = lay_out(halves, {}, ACTIONS, config, rate_hz=1.0)
    gradients = []
    for rank in (0, 1):
        met: list[Tensor] = []

        def add_up(values: Tensor, met: list[Tensor] = met) -> None:
            met.append(values.clone())

        fit_rows(material, config, team=Team(rank=rank, size=2, add_up=add_up))
        gradients += [values for values in met if len(values) > 1]
    first, second = gradients
    assert torch.equal(first, second) is (dropout == 0)


def test_rows_come_back_from_their_file(tmp_path: Path) -> None:
    material = material_of(CASES["stopped, with dropout"])
    save_material(tmp_path / "rows", material)
    again = load_material(tmp_path / "rows")
    assert again.held_out_games == material.held_out_games
    assert again.num_models == 3
    for before, now in ((material.train, again.train), (material.check, again.check)):
        assert before is not None
        assert now is not None
        assert all(torch.equal(one, other) for one, other in zip(before, now, strict=True))
    with pytest.raises(InputError, match="not there for a worker; on a cluster --out must be"):
        load_material(tmp_path / "elsewhere")


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_two_workers_fit_the_network_of_one_process(tmp_path: Path) -> None:
    halves, events = planted(6)
    config = SURE.model_copy(update={"epochs": 3, "held_out_share": 0.2, "max_rows": 500})
    steps: list[int] = []
    folder = tmp_path / "ensembles"
    fitted = fit_on_workers(
        halves, events, ACTIONS, config,
        folder=folder, share=Share(2, 1), on_epoch=lambda: steps.append(1),
    )  # fmt: skip
    alone = fit_fusion(halves, events, ACTIONS, config)
    assert fitted[1:4] == alone[1:4]
    assert fitted.held_out_loss == pytest.approx(alone.held_out_loss, rel=1e-4)
    stacked = next(iter(halves.values()))
    np.testing.assert_allclose(
        fuse(fitted.model, stacked), fuse(alone.model, stacked), rtol=0, atol=1e-4
    )
    assert len(steps) == 3
    assert not folder.exists()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_loss_that_is_not_finite_ends_all_workers_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves, events = planted(6)
    # One row of 1800 is broken, so only one of the two workers meets it.
    next(iter(halves.values()))[0, 10, 0] = np.nan
    config = SURE.model_copy(update={"epochs": 2, "max_rows": None})
    starts = tmp_path / "starts"
    starts.mkdir()

    def worker(settings: dict[str, Any]) -> bool:
        (starts / uuid.uuid4().hex).touch()
        return fusion_worker(settings)

    monkeypatch.setattr("ensemble.distributed.fusion_worker", worker)
    with pytest.raises(InputError, match=r"^the loss of the learned fusion became nan; lower"):
        fit_on_workers(halves, events, ACTIONS, config, folder=tmp_path / "out", share=Share(2, 1))
    assert len(list(starts.iterdir())) == 2  # none was started again
    assert not (tmp_path / "out").exists()


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    store = write_store(tmp_path / "season", SPLITS)
    return [model(tmp_path / "runs" / name, store, seed=i) for i, name in enumerate("ab")]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_the_record_says_how_many_workers_and_the_same_number_fits_again(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[Share] = []

    def fit_here(*args: Any, folder: Path, share: Share, **options: Any) -> FittedFusion:
        assert folder.is_relative_to(tmp_path)
        shares.append(share)
        return fit_fusion(*args, **options)

    monkeypatch.setattr("ensemble.distributed.fit_on_workers", fit_here)
    words = ["fit", *map(str, runs), "--out", str(tmp_path / "out"), "--folds", "2"]
    for method, num_workers in (("learned-small", 2), ("mean", 1)):
        options = ["--method", method, "--workers", str(num_workers)]
        result = CliRunner().invoke(app, [*words, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert read_run(tmp_path / "out" / method).num_workers == num_workers
    assert shares == 3 * [Share(2, 1, 0.0)]  # two folds, then all games
    again = refit(tmp_path / "out" / "learned-small", tmp_path / "again" / "learned-small")
    assert read_run(again).num_workers == 2
    assert shares == 6 * [Share(2, 1, 0.0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--method", "learned", "--workers", "999"],
            r"--workers 999: each worker needs a CPU and there are \d+; use fewer workers",
            id="more workers than processors",
        ),
        pytest.param(
            ["--method", "greedy", "--workers", "2"],
            "--workers 2: greedy is fitted in one process; only learned fusions use workers",
            id="nothing for them to do",
        ),
    ],
)
def test_what_workers_cannot_do_is_refused_before_ray_starts(
    options: list[str],
    message: str,
    runs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ensemble.distributed.ray_session", never)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(
            app, ["fit", *map(str, runs), "--out", str(out), *options], catch_exceptions=False
        )
    assert not out.exists()
