"""P1 finds the epochs, P2 trains on every labelled game and its spots make a submission."""

import json
import zipfile
from pathlib import Path

import pytest

from hmtas.cli import main
from hmtas.runs.record import read_run
from hmtas.training.loop import fit
from tests.support.small import make_config, make_store


def test_from_p1_to_a_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, train=2, valid=1, test=1, challenge=1)
    p1 = fit(store, make_config(max_epochs=2), tmp_path / "p1", name="p1")
    from hmtas.commands.learn import configuration

    config = configuration(None, tmp_path / "p1" / "run.json", [], "p2", None)
    assert config.train.max_epochs == p1.best_epoch
    p2 = fit(store, config, tmp_path / "p2", name="p2")
    labelled = {game for split in ("train", "valid", "test") for game in store.games(split)}
    assert set(p2.fitted_games) == labelled
    assert read_run(tmp_path / "p2").stopped_games == ()

    def hmtas(*words: object) -> None:
        monkeypatch.setattr("sys.argv", ["hmtas", *map(str, words)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        assert exit_info.value.code in {0, None}

    hmtas("predict", tmp_path / "p2", "--split", "challenge")
    hmtas("spot", tmp_path / "p2", "--split", "challenge", "--out", tmp_path / "submission.zip")
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        names = archive.namelist()
        (game,) = store.games("challenge")
        assert names == [f"{game}/results_spotting.json"]
        document = json.loads(archive.read(names[0]))
    assert document["UrlLocal"] == game
    assert {spot["half"] for spot in document["predictions"]} == {"1", "2"}
