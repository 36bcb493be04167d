"""What the tests of several verbs begin with."""

from pathlib import Path

import pytest

from tests.support.tracked import copy_database


@pytest.fixture
def work(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    copy_database(tmp_path_factory, tmp_path / "work")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"
