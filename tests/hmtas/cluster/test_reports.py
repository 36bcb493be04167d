"""What Ray Train's workers report is heard in order, and nothing that they recorded is lost."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from hmtas.cluster.reports import EpochCallback, listen_to_epochs
from hmtas.runs.record import RECORD, EpochRecord, read_run
from hmtas.training.loop import fit
from tests.support.small import make_config, make_store


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_an_epoch_whose_report_was_lost_is_heard_in_its_place(tmp_path: Path) -> None:
    config = make_config(max_epochs=4, patience=4)
    history = fit(make_store(tmp_path), config, tmp_path / "whole", name="run").history
    run = tmp_path / "run"
    run.mkdir()
    heard: list[EpochRecord] = []

    def report(callback: EpochCallback, epoch: int) -> None:
        callback.after_report(None, [history[epoch - 1].model_dump(mode="json")], None)

    with listen_to_epochs(run, heard.append) as callback:
        shutil.copy2(tmp_path / "whole" / RECORD, run / RECORD)
        report(callback, 2)  # the node that was to report epoch 1 is gone
        report(callback, 2)  # its worker's successor may report one again
        report(callback, 3)
    assert heard == list(history)
    with listen_to_epochs(run, heard.append) as callback:
        report(callback, 4)
    assert heard == list(history), "epochs that were there before are not news"


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_every_epoch_is_heard_of_once(tmp_path: Path) -> None:
    epochs = [EpochRecord(epoch=n, train_loss=1.0, seconds=1.0, windows=1) for n in (1, 2, 3)]
    heard: list[int] = []
    with listen_to_epochs(tmp_path, lambda entry: heard.append(entry.epoch)) as callback:
        for entry in (epochs[0], epochs[1], epochs[0], epochs[1]):  # the workers began again
            callback.after_report(SimpleNamespace(), [entry.model_dump(mode="json")], None)
    assert heard == [1, 2]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_an_epoch_whose_report_was_lost_is_heard_of_at_the_end(
    tmp_path: Path,
) -> None:
    heard: list[int] = []

    def refuse(entry: EpochRecord) -> None:
        raise FloatingPointError(f"epoch {entry.epoch}")

    with listen_to_epochs(tmp_path, lambda entry: heard.append(entry.epoch)):
        fit(make_store(tmp_path / "season"), make_config(max_epochs=2), tmp_path, name="run")
    assert heard == [1, 2]
    entry = read_run(tmp_path).history[0].model_dump(mode="json")
    (tmp_path / RECORD).unlink()
    with (
        pytest.raises(FloatingPointError, match="epoch 1"),
        listen_to_epochs(tmp_path, refuse) as callback,
    ):
        callback.after_report(SimpleNamespace(), [entry], None)
