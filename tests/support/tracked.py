"""What the tests of tracking share: a migrated MLflow database to copy, fabricated run folders."""

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from hmtas.config import Config
from hmtas.files import write_json
from hmtas.formats.actions import ACTIONS
from hmtas.runs.record import EpochRecord, RunRecord, score_path, write_run
from hmtas.tracking.client import connect


def copy_database(factory: pytest.TempPathFactory, folder: Path) -> str:
    """Put a migrated, empty database into `folder`; returns its URI."""
    template = factory.getbasetemp() / "mlflow-template.db"
    if not template.is_file():  # a new database costs seconds, a copy nothing
        connect(f"sqlite:///{template}")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


def epochs(num: int) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(epoch=e, train_loss=1 / e, val_loss=2 / e, tight=0.1 * e, seconds=2, windows=9)
        for e in range(1, num + 1)
    )


def make_run(run: Path, *, num_epochs: int = 2, files: bool = False, **changes: Any) -> Path:
    """A run folder with a record and, if asked for, weights and probabilities."""
    record: dict[str, Any] = {
        "name": run.name,
        "version": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "config": Config().updated({"seq_len": 4, "gamma": 0.6}),
        "store": "/data/store",
        "store_checksum": "abc",
        "streams": {"tpn": 16},
        "actions": ACTIONS,
        "rate_hz": 1.0,
        "fitted_games": ("a",),
        "best_epoch": 2,
        "history": epochs(num_epochs),
    }
    write_run(run, RunRecord.model_validate({**record, **changes}))
    if files:
        (run / "model.safetensors").write_bytes(b"weights")
        (run / "predictions").mkdir()
        (run / "predictions" / "valid.arrow").write_bytes(b"probabilities")
    return run


def write_score(
    run: Path, split: str, tight: float, *, loose: float = 0.7, cross_fitted: bool = False
) -> None:
    """A score document as `hmtas score` writes it; "Red card" has no events."""
    per_action = dict.fromkeys(ACTIONS, tight) | {"Red card": None}
    one = {"visible": tight, "unshown": 0.0, "per_action": per_action, "per_tolerance": {}}
    write_json(
        score_path(run, split),
        {
            "tight": {"average_map": tight, "interval": [tight - 0.03, tight + 0.02], **one},
            "loose": {"average_map": loose, "interval": [loose - 0.03, loose + 0.02], **one},
            "num_games": 2,
            "num_events": dict.fromkeys(ACTIONS, 4) | {"Red card": 0},
            "split": split,
            "spotting": {},
            "cross_fitted": cross_fitted,
        },
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def printed_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, without what only aligns it."""
    printed = capsys.readouterr().out.splitlines()
    return [" ".join(line.split()) for line in printed if line.strip()]
