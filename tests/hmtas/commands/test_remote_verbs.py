"""Defends: every verb takes a store in a service, with the result that the folder would give."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import write_json
from hmtas.runs.record import read_run
from hmtas.store.bucket import ServiceError
from hmtas.store.remote import open_store
from hmtas.store.upload import BEGUN_FILE, upload
from hmtas.store.verify import verify
from hmtas.training.loop import fit
from tests.support.s3 import Server
from tests.support.small import make_config, make_store
from tests.support.store_tree import packed

A1_FILE = "halves/l/s/a/1.arrow"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("s3") / "log") as server:
        server.files()
        yield server


@pytest.fixture
def url(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a store may be uploaded."""
    server.use(monkeypatch, tmp_path / "cache")
    return f"s3://bucket/{tmp_path.name}/store"


def hmtas(*words: object) -> Any:
    """What a verb prints with `--json`."""
    done = CliRunner().invoke(build(), [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output + str(done.exception)
    return json.loads(done.stdout)


def test_verify_reads_the_service_and_not_the_copy(
    server: Server, url: str, tmp_path: Path
) -> None:
    path, _ = packed(tmp_path)
    upload(path, url)
    open_store(url).prefetch(open_store(url).halves)
    steps: list[None] = []
    assert verify(url, on_half=lambda: steps.append(None)) == []
    assert len(steps) == 10
    names = ["store.json", "labels.arrow", A1_FILE]
    for name in names:
        sound = (path / name).read_bytes()
        for content in (sound[:-1], sound[:70] + bytes([sound[70] ^ 4]) + sound[71:]):
            server.replace(url, name, content)
            (problem,) = verify(url)
            assert problem.startswith(f"{url}/{name}: "), problem
            assert str(tmp_path / "cache") not in problem
        server.replace(url, name, sound)
    server.replace(url, "notes.txt", b"?")
    assert verify(url) == [
        f"{url}/notes.txt: does not belong to the store; left over from an interrupted upload?"
    ]
    server.files().delete_file(f"{url.removeprefix('s3://bucket/')}/notes.txt")
    assert hmtas("verify", url)["sound"] is True
    left = [file for file in (tmp_path / "cache/stores").iterdir() if file.name.startswith(".")]
    assert left == []


def test_half_an_upload_is_no_store_and_goes_on(server: Server, url: str, tmp_path: Path) -> None:
    path, _ = packed(tmp_path)
    last = path / "halves/l/s/e/2.arrow"
    sound = last.read_bytes()
    last.write_bytes(sound[:-1] + b"?")
    with pytest.raises(InputError, match=r"e/2.arrow: missing, or not what was packed; run `hmtas"):
        upload(path, url)
    with pytest.raises(InputError, match=r"no store here .* was its upload finished"):
        open_store(url)
    last.write_bytes(sound)
    assert hmtas("upload", path, url)["num_sent"] == 1
    assert hmtas("upload", path, url)["num_sent"] == 0
    assert verify(url) == []
    # Another store of the same sizes: nothing of the one before may be taken for its own.
    server.replace(url, BEGUN_FILE, b"another")
    server.files().delete_file(f"{url.removeprefix('s3://bucket/')}/store.json")
    assert hmtas("upload", path, url)["num_sent"] == 10


def test_a_service_that_ends_while_a_store_is_verified_is_no_problem_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = packed(tmp_path)
    with Server(tmp_path / "log") as server:
        server.use(monkeypatch, tmp_path / "cache")
        server.files()
        upload(path, "s3://bucket/store")
        with pytest.raises(ServiceError, match="is the endpoint"):
            verify("s3://bucket/store", on_half=server.stop)


def test_what_needs_no_ray_takes_a_store_in_a_service(url: str, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    upload(store.path, url)
    for place, run in ((str(store.path), tmp_path / "local"), (url, tmp_path / "remote")):
        opened = open_store(place)
        fit(opened, make_config(max_epochs=1), run, name="run")
        hmtas("predict", run, "--split", "valid")
        hmtas("tune", "windows", run, "--split", "valid", "--kinds", "hard")
        hmtas("ensemble", "fit", run, "--out", run / "ensembles", "--combiner", "mean")
    ours, theirs = read_run(tmp_path / "remote"), read_run(tmp_path / "local")
    assert (ours.store, theirs.store) == (url, str(store.path))
    assert ours.weights_sha256 == theirs.weights_sha256
    assert read_run(tmp_path / "remote/ensembles/mean").store == url
    scores = [hmtas("score", tmp_path / name, "--split", "valid") for name in ("local", "remote")]
    named = hmtas("score", tmp_path / "local", "--split", "valid", "--games", url)
    for document in (*scores, named):
        document_text = json.dumps(document).replace(
            str(tmp_path / "remote"), str(tmp_path / "local")
        )
        assert json.loads(document_text) == scores[0]
    absent = open_store(url).absent(store.halves_of(store.games("test")))
    assert len(absent) == 4, "nobody asked for test games"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("local_ray", "mlflow_store")
def test_workers_of_ray_train_on_a_store_in_a_service(
    url: str, server: Server, tmp_path: Path
) -> None:
    # The workers of this Ray have another cache, as on another machine, and the endpoint from the
    # address alone.
    store = make_store(tmp_path)
    upload(store.path, url)
    url += f"?scheme=http&region=us-east-1&endpoint_override={server.endpoint.partition('//')[2]}"
    settings = tmp_path / "config.json"
    write_json(settings, {"config": make_config(max_epochs=1).model_dump(mode="json")})
    for place, name in ((str(store.path), "local"), (url, "remote")):
        hmtas("train", place, "--config", settings, "--out", tmp_path / name)
    ours, theirs = read_run(tmp_path / "remote"), read_run(tmp_path / "local")
    assert ours.store == url
    assert ours.weights_sha256 == theirs.weights_sha256
    assert ours.history[0].train_loss == theirs.history[0].train_loss
