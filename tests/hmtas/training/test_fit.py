"""Training learns, stops early, keeps its best epoch and goes on bit for bit where it stopped."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.model.checkpoint import CHECKPOINT, PREVIOUS, load_model
from hmtas.runs.record import WEIGHTS, EpochRecord, read_run
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from hmtas.training.on_store import on_store
from tests.support.killed import KilledError, killed_after, killed_before_record
from tests.support.small import make_config


def test_a_run_folder_holds_everything(store: EmbeddingStore, tmp_path: Path) -> None:
    config = make_config()
    seen: list[EpochRecord] = []
    record = fit(store, config, tmp_path, name="run", report=seen.append)
    assert record == read_run(tmp_path)
    assert record.status == "done"
    assert record.config == on_store(config, store)
    assert record.fitted_games == store.games("train")
    assert record.stopped_games == store.games("valid")
    assert seen == list(record.history)
    assert set(record.history[0].val_stream_losses) == set(store.streams)
    assert not (tmp_path / CHECKPOINT).exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_training_lowers_the_loss(store: EmbeddingStore, tmp_path: Path) -> None:
    record = fit(store, make_config(max_epochs=3, learning_rate=5e-3), tmp_path, name="run")
    losses = [entry.val_loss for entry in record.history]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0]


def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    config = make_config(max_epochs=3, patience=3)
    whole = fit(store, config, tmp_path / "whole", name="run")
    with pytest.raises(KilledError):
        fit(store, config, tmp_path / "killed", name="run", report=killed_after(2))
    resumed = fit(store, config, tmp_path / "killed", name="run")
    assert [e.val_loss for e in resumed.history] == [e.val_loss for e in whole.history]
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_epoch_that_died_between_its_checkpoint_and_its_record_is_reported(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(max_epochs=3, patience=3)
    whole = fit(store, config, tmp_path / "whole", name="run")
    seen: list[EpochRecord] = []
    monkeypatch.setattr("hmtas.training.loop.write_run", killed_before_record(2))
    with pytest.raises(KilledError):
        fit(store, config, tmp_path / "killed", name="run", report=seen.append)
    monkeypatch.undo()
    assert [entry.epoch for entry in seen] == [1]
    resumed = fit(store, config, tmp_path / "killed", name="run", report=seen.append)
    assert [entry.val_loss for entry in seen] == [entry.val_loss for entry in whole.history]
    assert seen == list(resumed.history)


def test_a_training_that_goes_on_elsewhere_says_so(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    with pytest.raises(KilledError):
        fit(store, config, tmp_path, name="run", report=killed_after(1))
    begun = read_run(tmp_path).environment
    assert begun is not None
    assert begun.threads == torch.get_num_threads()
    moved = begun.model_copy(update={"packages": {**begun.packages, "torch": "9.0"}})
    monkeypatch.setattr("hmtas.training.loop._environment", lambda device: moved)
    record = fit(store, config, tmp_path, name="run")
    assert record.environment == begun
    assert record.notes == (f"after epoch 1: torch 9.0, not {begun.packages['torch']}",)


def test_a_training_ends_after_the_epochs_it_is_told(store: EmbeddingStore, tmp_path: Path) -> None:
    record = fit(store, make_config(max_epochs=5), tmp_path, name="run", stop_after=1)
    assert (len(record.history), record.status) == (1, "done")


def test_the_weights_are_those_of_the_best_epoch(store: EmbeddingStore, tmp_path: Path) -> None:
    config = make_config(max_epochs=6, learning_rate=0.1, patience=2)
    record = fit(store, config, tmp_path / "long", name="run")
    losses = [entry.val_loss or 0.0 for entry in record.history]
    assert record.best_epoch == 1 + losses.index(min(losses))
    if len(losses) < 6:
        assert len(losses) == record.best_epoch + config.train.patience
    short = config.updated({"max_epochs": record.best_epoch})
    fit(store, short, tmp_path / "short", name="run")
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("long", "short"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_p2_runs_its_epochs_without_validation(store: EmbeddingStore, tmp_path: Path) -> None:
    record = fit(store, make_config(protocol="p2"), tmp_path, name="run")
    assert len(record.history) == 2
    assert record.best_epoch == 2
    assert record.history[0].val_loss is None


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"the loss is (nan|inf) in epoch 1, batch \d+"):
        fit(store, make_config(learning_rate=1e30), tmp_path, name="run")
    assert not (tmp_path / WEIGHTS).exists()


def test_a_finished_run_is_not_trained_again(store: EmbeddingStore, tmp_path: Path) -> None:
    first = fit(store, make_config(), tmp_path, name="run")
    assert fit(store, make_config(), tmp_path, name="run", report=killed_after(1)) == first


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"kind": "fcnn", "gamma": 1.0}, id="m0"),
        pytest.param({"kind": "encoder", "gamma": 1.0}, id="m2"),
        pytest.param({"mixup_alpha": 0.2}, id="mix-up"),
        pytest.param({"attention": "batch"}, id="batch attention"),
        pytest.param({"precision": "bf16"}, id="bf16"),
        pytest.param({"stop_on": "tight", "stop_games": "held_out"}, id="tight on held-out games"),
        pytest.param({"power": 0.5, "windows_share": 0.5}, id="weights by rate"),
    ],
)
def test_every_way_of_training_ends(
    settings: dict[str, object], store: EmbeddingStore, tmp_path: Path
) -> None:
    record = fit(store, make_config(max_epochs=1, **settings), tmp_path, name="run")
    assert record.status == "done"


def test_an_unknown_action_in_the_weights(store: EmbeddingStore, tmp_path: Path) -> None:
    config = make_config(**{"by_action.Gaol": 3.0})
    with pytest.raises(InputError, match="by_action: no action 'Gaol', did you mean 'Goal'"):
        fit(store, config, tmp_path, name="run")


def test_weights_that_are_not_those_of_the_record(store: EmbeddingStore, tmp_path: Path) -> None:
    fit(store, make_config(max_epochs=1), tmp_path, name="run")
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(InputError, match="its checksum is not the one in"):
        load_model(tmp_path)


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    config = make_config(max_epochs=4, patience=4)
    whole = fit(store, config, tmp_path / "whole", name="run")
    run = tmp_path / "killed"
    with pytest.raises(KilledError):
        fit(store, config, run, name="run", report=killed_after(3))
    data = bytearray((run / CHECKPOINT).read_bytes())
    data[-1] ^= 1
    (run / CHECKPOINT).write_bytes(bytes(data))
    resumed = fit(store, config, run, name="run")
    assert "its checksum does not match" in resumed.notes[0]
    assert "resumed after epoch 2" in resumed.notes[0]
    assert resumed.weights_sha256 == whole.weights_sha256
    assert [e.train_loss for e in resumed.history] == [e.train_loss for e in whole.history]


def test_damage_after_damage_costs_an_epoch_each_time(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    config = make_config(max_epochs=4, patience=4)
    for _ in range(2):
        with pytest.raises(KilledError):
            fit(store, config, tmp_path, name="run", report=killed_after(3))
        (tmp_path / CHECKPOINT).write_bytes(b"cut short")
    record = fit(store, config, tmp_path, name="run")
    assert len(record.history) == 4
    assert [note.rpartition("; ")[2] for note in record.notes] == [
        "resumed after epoch 2, from the previous one"
    ]


def test_two_damaged_checkpoints(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        fit(store, make_config(), tmp_path, name="run", report=killed_after(2))
    for name in (CHECKPOINT, PREVIOUS):
        (tmp_path / name).write_bytes(b"not safetensors")
    with pytest.raises(InputError, match=r"damaged checkpoint .* start this run again"):
        fit(store, make_config(max_epochs=2), tmp_path, name="run")


def test_the_configuration_repeats_the_run(store: EmbeddingStore, tmp_path: Path) -> None:
    first = fit(store, make_config(max_epochs=1), tmp_path / "a", name="run")
    again = Config.model_validate_json(first.config.model_dump_json())
    second = fit(store, again, tmp_path / "b", name="run")
    assert first.weights_sha256 == second.weights_sha256
