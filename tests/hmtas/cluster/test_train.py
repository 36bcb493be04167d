"""Ray Train trains with one or more workers, and a user's mistake comes back as one."""

from pathlib import Path

import pytest

from hmtas.cluster.workers import describe_epoch, train
from hmtas.errors import InputError
from hmtas.runs.record import EpochRecord, read_run
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.small import make_config


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_two_workers_train_one_model(store: EmbeddingStore, tmp_path: Path) -> None:
    epochs: list[EpochRecord] = []
    record = train(
        store.path, make_config(), tmp_path / "run", name="run", num_workers=2,
        on_epoch=epochs.append,
    )  # fmt: skip
    assert record == read_run(tmp_path / "run")
    assert record.status == "done"
    assert record.num_workers == 2
    assert epochs == list(record.history)
    assert record.history[-1].tight is not None
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_one_worker_trains_what_fit_trains(store: EmbeddingStore, tmp_path: Path) -> None:
    config = make_config(max_epochs=1)
    ours = train(store.path, config, tmp_path / "ray", name="run")
    plain = fit(store, config, tmp_path / "plain", name="run")
    assert ours.history[0].val_loss == pytest.approx(plain.history[0].val_loss, rel=1e-4)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_mistake_found_by_a_worker_is_the_users(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the loss is (nan|inf) in epoch 1"):
        train(store.path, make_config(learning_rate=1e30), tmp_path / "run", name="run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_needs_no_ray(store: EmbeddingStore, tmp_path: Path) -> None:
    record = fit(store, make_config(max_epochs=1), tmp_path, name="run")
    assert train(store.path, record.config, tmp_path, name="run") == record


def test_an_epoch_in_words() -> None:
    entry = EpochRecord(
        epoch=3, train_loss=0.25, val_loss=0.5, tight=0.4321, loose=0.5, seconds=2.0, windows=5000
    )
    assert describe_epoch(entry, make_config()) == (
        "epoch 3: train loss 0.2500, validation loss 0.5000, tight Average-mAP 43.21 %, "
        "loose 50.00 %, 2,500 windows/s"
    )
    contexts = make_config(kind="conv", gamma=1.0, reach_s=4.0)
    assert describe_epoch(entry, contexts).endswith("2,500 steps/s")
