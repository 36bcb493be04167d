"""Models of contexts, with all that a training can have, resume bit for bit and learn."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.model.checkpoint import CHECKPOINT, load_model
from hmtas.runs.record import RECORD, WEIGHTS, EpochRecord, RunRecord
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.killed import KilledError, killed_after, killed_before_record
from tests.support.small import make_config

CONTEXTS = {"reach_s": 4.0, "context_s": 32.0, "margin_s": 6.0, "batch_size": 4}
EVERYTHING = {
    **CONTEXTS,
    "output_rate_hz": 2,
    "displacement": True,
    "time_mask": 0.1,
    "drop_streams": 0.2,
    "mixup_alpha": 0.4,
    "mixup_partner": "balanced",
    "focal_exponent": 1.0,
    "target": "triangular",
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "ema_decay": 0.9,
    "clip_norm": 1.0,
    "stop_on": "tight",
}
GAMMA = {"dense": 0.7, "conv": 1.0}


def everything(kind: str = "dense", **settings: object) -> Config:
    both = {"max_epochs": 3, "patience": 3, "gamma": GAMMA[kind]}
    return make_config(**{"kind": kind, **EVERYTHING, **both, **settings})


def seen_of(record: RunRecord) -> list[EpochRecord]:
    return [entry.model_copy(update={"seconds": 0}) for entry in record.history]


def same_weights(first: Path, second: Path) -> bool:
    ours, theirs = (load_file(run / WEIGHTS) for run in (first, second))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.fixture(scope="module", params=["dense", "conv"])
def whole(
    request: pytest.FixtureRequest, store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunRecord, Path]:
    """A training that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    return fit(store, everything(request.param), out, name="run"), out


@pytest.mark.parametrize("last", [1, 2])
def test_a_killed_training_ends_as_one_that_was_not(
    last: int, whole: tuple[RunRecord, Path], store: EmbeddingStore, tmp_path: Path
) -> None:
    record, out = whole
    with pytest.raises(KilledError):
        fit(store, record.config, tmp_path, name="run", report=killed_after(last))
    resumed = fit(store, record.config, tmp_path, name="run")
    assert seen_of(resumed) == seen_of(record)
    assert same_weights(tmp_path, out)


def test_so_does_one_that_died_between_its_checkpoint_and_its_record(
    whole: tuple[RunRecord, Path],
    store: EmbeddingStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record, out = whole
    monkeypatch.setattr("hmtas.training.loop.write_run", killed_before_record(2))
    with pytest.raises(KilledError):
        fit(store, record.config, tmp_path, name="run")
    monkeypatch.undo()
    assert seen_of(fit(store, record.config, tmp_path, name="run")) == seen_of(record)
    assert same_weights(tmp_path, out)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_training_lowers_the_loss(kind: str, store: EmbeddingStore, tmp_path: Path) -> None:
    settings = {"kind": kind, **CONTEXTS, "gamma": GAMMA[kind], "displacement": True}
    config = make_config(**{**settings, "max_epochs": 3, "learning_rate": 5e-3})
    losses = [entry.val_loss or 0.0 for entry in fit(store, config, tmp_path, name="run").history]
    assert 0 < losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("dense", {"precision": "bf16", "displacement": True}),
        ("conv", {"precision": "bf16"}),
        ("dense", {"stream_heads": False, "gamma": 1.0, "sequence_layers": 1}),
        ("dense", {"target": "gaussian", "mixup_alpha": 0.4, "windows_share": 0.5}),
        ("conv", {"protocol": "p2", "schedule": "linear"}),
        ("dense", {"exclude_streams": "vggish"}),
    ],
)
def test_every_way_of_training_ends(
    kind: str, settings: dict[str, object], store: EmbeddingStore, tmp_path: Path
) -> None:
    begin = {"kind": kind, **CONTEXTS, "gamma": GAMMA[kind], "max_epochs": 1}
    record = fit(store, make_config(**{**begin, **settings}), tmp_path, name="run")
    assert record.status == "done"
    load_model(tmp_path)


def test_weights_of_another_kind_of_model(whole: tuple[RunRecord, Path], tmp_path: Path) -> None:
    record, out = whole
    other = "conv" if record.config.model.kind == "dense" else "dense"
    document = read_json(out / RECORD)
    document["config"]["model"]["kind"] = other
    document["config"]["train"]["gamma"] = 1.0
    write_json(tmp_path / RECORD, document)
    (tmp_path / WEIGHTS).write_bytes((out / WEIGHTS).read_bytes())
    with pytest.raises(InputError, match="the weights of another kind of model") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


PLAIN = {"ema_decay": 0.0}


@pytest.mark.parametrize(
    ("mine", "theirs", "match"),
    [
        ({}, {"kind": "conv", "gamma": 1.0}, "another kind of model than the record"),
        ({}, PLAIN, "holds model, not average, model"),
        (PLAIN, {}, r"holds average, model, not model, .*ema_decay"),
    ],
)
def test_a_checkpoint_of_another_kind_of_training(
    mine: dict[str, object],
    theirs: dict[str, object],
    match: str,
    store: EmbeddingStore,
    tmp_path: Path,
) -> None:
    """Copied into a folder whose record says something else."""
    begun, copied = tmp_path / "begun", tmp_path / "copied"
    for run, settings in ((begun, mine), (copied, theirs)):
        config = everything(**{"kind": "dense", **settings})
        with pytest.raises(KilledError):
            fit(store, config, run, name="run", report=killed_after(1))
    before = (begun / RECORD).read_bytes()
    (begun / CHECKPOINT).write_bytes((copied / CHECKPOINT).read_bytes())
    with pytest.raises(InputError, match=match) as caught:
        fit(store, everything(**{"kind": "dense", **mine}), begun, name="run")
    assert "\n" not in str(caught.value)
    assert (begun / RECORD).read_bytes() == before
