"""A user's mistake is one line on stderr and exit code 2, and leaves nothing half-written."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ensemble.build.build import fit_ensembles
from ensemble.build.plan import plan_fit
from hmtas.cli import main
from hmtas.config import Config, locate_setting
from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.settings import ELSEWHERE
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from tests.support.members import SPLITS, model, write_store
from tests.support.small import make_config
from tests.support.store_tree import label, packed, rows, save, save_labels, save_splits, tree
from tests.support.tracked import make_run

Run = Callable[..., str]
A = "l/s/a"


@pytest.fixture
def hmtas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must fail, and give its one line."""

    def run(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["hmtas", *map(str, words)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        assert exit_info.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0]

    return run


@pytest.fixture
def games(tmp_path: Path) -> Path:
    return tree(tmp_path / "games")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("sound"))[0]


def truncate(games: Path) -> None:
    path = games / A / "1_tpn.npy"
    path.write_bytes(path.read_bytes()[:-100])


def not_finite(games: Path) -> None:
    values = rows(A, 1, "tpn")
    values[7, 3] = np.nan
    save(games, A, 1, "tpn", values)


def unknown_width(games: Path) -> None:
    save(games, A, 1, "tpn", np.zeros((30, 9), np.float32))


def beyond_the_slack(games: Path) -> None:
    save(games, A, 1, "tpn", rows(A, 1, "tpn", 20))


def unknown_label(games: Path) -> None:
    save_labels(games, A, [label(1, 5, "Gaol")])


def past_the_end(games: Path) -> None:
    save_labels(games, A, [label(2, 90)])


def two_splits(games: Path) -> None:
    save_splits(games, {"train": [A, "l/s/b"], "valid": [A]})


def missing_game(games: Path) -> None:
    save_splits(games, {"train": [A, "l/s/z"]})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate, (A, "1_tpn.npy", "cut short")),
        (not_finite, (A, "1_tpn.npy", "row 7", "3", "nan")),
        (unknown_width, (A, "1_tpn.npy", "9", "8")),
        (beyond_the_slack, (A, "half 1", "tpn", "20", "vggish", "30", "5")),
        (unknown_label, (A, "Labels-v2.json", "'Gaol'", "'Goal'")),
        (past_the_end, (A, "half 2", "Goal", "90", "30")),
        (two_splits, ("splits.json", A, "train", "valid")),
        (missing_game, ("l/s/z",)),
    ],
)
def test_a_season_that_cannot_be_packed(
    spoil: Callable[[Path], None], words: tuple[str, ...], games: Path, tmp_path: Path, hmtas: Run
) -> None:
    spoil(games)
    line = hmtas("pack", games, tmp_path / "store")
    assert [word for word in words if word not in line] == []
    assert not (tmp_path / "store" / "store.json").exists()
    assert not list((tmp_path / "store").rglob("*.part"))


def test_a_store_of_another_version(tmp_path: Path, hmtas: Run) -> None:
    store = packed(tmp_path)[0]
    index = read_json(store / "store.json")
    write_json(store / "store.json", {**index, "schema_version": 99})
    line = hmtas("train", store, "--out", tmp_path / "run")
    assert "99" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("streams", {"tpn": 8, "vggish": 5}, ("vggish", "5", "4")),
        ("actions", ["Goal", "Try"], ("the actions differ", "Try")),
    ],
)
def test_a_checkpoint_for_something_else(
    key: str, value: object, words: tuple[str, ...], *, sound: Path, tmp_path: Path, hmtas: Run
) -> None:
    run = tmp_path / "run"
    fit(EmbeddingStore.open(sound), make_config(max_epochs=1), run, name="run")
    write_json(run / "run.json", {**read_json(run / "run.json"), key: value})
    line = hmtas("predict", run, "--split", "valid")
    assert [word for word in (str(run), *words) if word not in line] == []
    assert not (run / "predictions").exists()


def test_all_bad_settings_at_once(sound: Path, tmp_path: Path, hmtas: Run) -> None:
    words = ["seqlen=4", "gama=0.7", "width=10", "batch_size=big", "patience"]
    settings = [word for name in words[:4] for word in ("--set", name)]
    line = hmtas("train", sound, "--out", tmp_path / "run", *settings)
    for part in ("'seqlen', did you mean 'seq_len'?", "'gama', did you mean 'gamma'?"):
        assert part in line
    assert "width (10) must be a multiple of num_heads (8)" in line
    assert "batch_size" in line
    assert "'patience' must read like name=value" in hmtas(
        "train", sound, "--out", tmp_path / "run", "--set", "patience"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "verb",
    [
        ("train", "STORE", "--out", "OUT", "--set", "windows_s.Gaol=3"),
        ("train", "STORE", "--out", "OUT", "--config", "CONFIG"),
        ("tune", "model", "STORE", "--out", "OUT", "--name", "s", "--set", "windows_s.Gaol=3"),
        ("tune", "model", "STORE", "--out", "OUT", "--name", "s", "--space", "SPACE"),
        ("tune", "space", "STORE", "--set", "windows_s.Gaol=3"),
        ("ablate", "STORE", "--out", "OUT", "--what", "m7", "--set", "windows_s.Gaol=3"),
        ("train", "STORE", "--out", "OUT", "--set", 'exclude_streams=["tpm"]'),
        (
            "tune",
            "model",
            "STORE",
            "--out",
            "OUT",
            "--name",
            "s",
            "--set",
            'exclude_streams=["tpm"]',
        ),
        ("ablate", "STORE", "--out", "OUT", "--what", "m7", "--set", 'exclude_streams=["tpm"]'),
        ("train", "STORE", "--out", "OUT", "--set", "exclude_streams=vggish, tpm"),
        ("train", "STORE", "--out", "OUT", "--set", "class_weights.by_action.Gaol=2"),
        ("tune", "model", "STORE", "--out", "OUT", "--name", "s", "--space", "STREAMS"),
        ("baseline", "STORE", "--out", "OUT", "--streams", "tpm"),
        ("pack", "GAMES", "OUT", "--streams", "tpm"),
        ("pack", "GAMES", "OUT", "--only-splits", "vaild"),
        ("baseline", "STORE", "--out", "OUT", "--split", "vaild"),
        ("tune", "model", "STORE", "--out", "OUT", "--name", "s", "--split", "vaild"),
        ("ablate", "STORE", "--out", "OUT", "--split", "vaild"),
        ("predict", "RUN", "--split", "vaild"),
        ("score", "RUN", "--split", "vaild"),
        ("spot", "RUN", "--split", "vaild", "--out", "OUT"),
        ("tune", "windows", "RUN", "--split", "vaild"),
        ("ensemble", "fit", "RUN", "--split", "vaild", "--out", "OUT"),
        ("ensemble", "select", "RUN", "--split", "vaild", "--out", "OUT"),
    ],
    ids=" ".join,
)
def test_a_misspelt_stream_action_or_split_is_refused_before_anything_runs(
    verb: tuple[str, ...],
    *,
    sound: Path,
    games: Path,
    tmp_path: Path,
    hmtas: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ray.init", start)
    monkeypatch.chdir(tmp_path)
    place = {name: tmp_path / name.lower() for name in ("OUT", "CONFIG", "SPACE", "STREAMS")}
    write_json(place["CONFIG"], Config().updated({"windows_s.Gaol": 3}).model_dump(mode="json"))
    write_json(place["SPACE"], {"by_action.Gaol": [1, 2]})
    write_json(place["STREAMS"], {"exclude_streams": ["vggish", "tpm"]})
    store = EmbeddingStore.open(sound)
    model = make_run(
        tmp_path / "run", store=str(sound), store_checksum=store.checksum, status="done"
    )
    place |= {"STORE": sound, "GAMES": games, "RUN": model}
    before = sorted(tmp_path.rglob("*"))
    line = hmtas(*(place.get(word, word) for word in verb))
    assert any(f"did you mean {name!r}" in line for name in ("Goal", "tpn", "valid"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "verb",
    [
        ("predict", "RUN", "--split", "challenge"),
        ("baseline", "STORE", "--out", "OUT", "--split", "valid", "--split", "challenge"),
        ("tune", "model", "STORE", "--out", "OUT", "--name", "s", "--split", "challenge"),
        ("tune", "space", "STORE", "--split", "challenge"),
        ("ablate", "STORE", "--out", "OUT", "--split", "challenge"),
        ("spot", "RUN", "--split", "challenge", "--out", "OUT"),
        ("ensemble", "apply", "ENSEMBLE", "--split", "challenge"),
    ],
    ids=" ".join,
)
def test_a_split_without_games_is_refused_before_anything_runs(
    verb: tuple[str, ...],
    *,
    tmp_path: Path,
    hmtas: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    store = write_store(tmp_path, {**SPLITS, "challenge": ()})
    place: dict[str, Path] = {"STORE": store.path, "OUT": tmp_path / "out"}
    # Runs that an earlier version let predict it.
    place["RUN"] = model(tmp_path / "run", store, seed=0, splits=("valid", "challenge"))
    if verb[0] == "ensemble":
        fit_ensembles(plan_fit([place["RUN"]], "valid", methods=["mean"]), tmp_path / "ensembles")
        place["ENSEMBLE"] = tmp_path / "ensembles" / "mean"
    before = sorted(tmp_path.rglob("*"))
    line = hmtas(*(place.get(word, word) for word in verb))
    assert re.search("'challenge' has no games|holds? no game", line)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_p2_run_without_the_p1_run_is_refused_by_either_name(
    sound: Path, tmp_path: Path, hmtas: Run
) -> None:
    out = tmp_path / "run"
    for words in (("--protocol", "p2"), ("--set", "protocol=p2"), ("--set", "train.protocol=p2")):
        line = hmtas("train", sound, "--out", out, *words)
        assert "trains for the epochs that a p1 run found; name that run: --config" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "'learning_rate'"),
        ("train.lr", "'learning_rate'"),
        ("learning-rate", "'learning_rate'"),
        ("LR", "'learning_rate'"),
        ("bs", "'batch_size'"),
        ("batchsize", "'batch_size'"),
        ("epochs", "'max_epochs'"),
        ("num_epochs", "'max_epochs'"),
        ("wd", "'weight_decay'"),
        ("window", "'seq_len' or 'default_window_s'"),
        ("dropout", "'stream_dropout' or 'fusion_dropout' or 'head_dropout' or 'encoder_dropout'"),
        ("n_heads", "'num_heads'"),
        ("hidden_size", "'width'"),
    ],
)
def test_what_people_type_from_habit_is_answered_with_its_name_here(name: str, meant: str) -> None:
    with pytest.raises(InputError) as refused:
        Config().updated({name: 1})
    assert f"unknown setting {name!r}, did you mean {meant}?" in str(refused.value)


def test_every_name_that_is_suggested_is_a_setting() -> None:
    for names in ELSEWHERE.values():
        for suggested in names:
            locate_setting(suggested)


def test_more_workers_than_cores(sound: Path, tmp_path: Path, hmtas: Run) -> None:
    games = read_json(sound / "store.json")["splits"]["train"]
    line = hmtas("train", sound, "--out", tmp_path / "run", "--workers", len(games) + 1)
    assert f"{len(games) + 1} workers cannot share {len(games)} games" in line


def test_more_workers_than_processors(
    sound: Path, tmp_path: Path, hmtas: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    line = hmtas("train", sound, "--out", tmp_path / "run", "--workers", 2)
    assert "--workers 2: each worker needs a CPU and there are 1" in line
    assert not (tmp_path / "run").exists()


def test_no_free_disk(games: Path, tmp_path: Path, hmtas: Run) -> None:
    with pytest.MonkeyPatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)._replace(free=10)
        patch.setattr("shutil.disk_usage", lambda _: usage)
        line = hmtas("pack", games, tmp_path / "store")
    assert "10" in line
    assert not (tmp_path / "store" / "store.json").exists()


def test_what_is_not_there(tmp_path: Path, hmtas: Run) -> None:
    assert "no run here" in hmtas("predict", tmp_path / "run", "--split", "test")
    assert str(tmp_path / "store") in hmtas("train", tmp_path / "store", "--out", tmp_path / "r")
    assert "unknown preset 'm99'" in hmtas("train", tmp_path, "--preset", "m99", "--out", tmp_path)
    (tmp_path / "c.json").write_text(json.dumps({"model": {"widht": 3}}))
    line = hmtas("train", tmp_path, "--config", tmp_path / "c.json", "--out", tmp_path)
    assert "model.widht" in line
    assert "p2 trains for the epochs that a p1 run found" in hmtas(
        "train", tmp_path, "--protocol", "p2", "--out", tmp_path
    )


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("pack", "GAMES", "STORE"), "--rate-hz"),
        (("pack", "GAMES", "STORE"), "--slack-s"),
        (("season", "NEW"), "--minutes"),
        (("baseline", "STORE", "--out", "NEW"), "--nms-window-s"),
        (("ablate", "STORE", "--out", "NEW"), "--nms-window-s"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_before_any_work(
    hmtas: Run, tmp_path: Path, words: tuple[str, ...], option: str, value: str
) -> None:
    places = [tmp_path / word.lower() if word.isupper() else word for word in words]
    found = hmtas(*places, option, value)
    assert re.fullmatch(rf"error: {option} must be a finite number, got (nan|-?inf)", found)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rate-hz", "fast"), "--rate-hz must be a number, such as 2, or .*; got 'fast'"),
        (("--rate-hz", "tpn="), "--rate-hz must be a number, .*; got ''"),
        (("--rate-hz", "tpn=nan"), "--rate-hz must be a finite number, got nan"),
        (("--rate-hz", "tpn=0"), "rate of stream 'tpn' must be positive and finite, got 0 Hz"),
        (("--rate-hz", "0"), "rate must be positive and slack not negative, .* got 0 Hz"),
        (("--rate-hz", "=2"), "--rate-hz =2: name the stream, as in STREAM=2"),
        (("--rate-hz", "1", "--rate-hz", "2"), "--rate-hz 2: all streams had a value before"),
        (("--rate-hz", "tpn=1", "--rate-hz", "tpn=2"), "--rate-hz tpn=2: stream 'tpn' had a value"),
        (("--rate-hz", "tpm=2"), "no half has stream 'tpm', did you mean 'tpn'"),
        (("--resample", "vgish=mean"), "no half has stream 'vgish', did you mean 'vggish'"),
        (("--resample", "tpn=avg"), "no method 'avg' .*; there are nearest, linear, mean"),
        (("--resample", "liner"), "no method 'liner' .*, did you mean 'linear'"),
        (("--rate-hz", "tpn=2"), "'tpn' has 30 rows of 2 Hz but 'vggish' has 30, more than 5 s"),
    ],
)
def test_rates_and_methods_that_cannot_be(
    hmtas: Run, games: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    assert re.search(said, hmtas("pack", games, tmp_path / "store", *words))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((30, 1, 8), np.float32), "save np.squeeze(array, 1)"),
        (np.zeros((1, 30, 8), np.float32), "save np.squeeze(array, 0)"),
        (np.zeros((30, 8), np.uint8), "are they quantised?"),
        (np.zeros((30, 8), np.int64), "quantised, or token ids?"),
        (np.zeros((512, 300), np.float32), "is it transposed, (512, 300) for (300, 512)?"),
        (np.zeros((30, 8), np.complex64), "got complex64 (30, 8)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_of_another_shape_or_type(
    hmtas: Run, games: Path, tmp_path: Path, array: np.ndarray, said: str
) -> None:
    path = save(games, A, 1, "tpn", array)
    line = hmtas("pack", games, tmp_path / "store")
    assert path.name in line
    assert said in line
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["splits.json", f"{A}/Labels-v2.json"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
        (b"\n<html><body>Log in", "an HTML page, such as one that asks to log in"),
        ("{}".encode("utf-16"), "UTF-16, as PowerShell writes it: save it as UTF-8"),
        (b"", "empty: did its download, or what wrote it, fail?"),
    ],
)
def test_json_of_another_kind_is_said_to_be_that(
    hmtas: Run, games: Path, name: str, content: bytes, said: str
) -> None:
    (games / name).write_bytes(content)
    found = hmtas("pack", games, games.with_name("store"))
    assert f"{games / name}: not JSON but " in found
    assert said in found


def test_json_with_the_mark_that_windows_puts_before_it_is_read(games: Path) -> None:
    file = games / "splits.json"
    expected = read_json(file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_json(file) == expected
