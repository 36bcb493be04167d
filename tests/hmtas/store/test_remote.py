"""Defends: a store in a service is the store that was packed, copied once, checked, and shared."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hmtas.cli import main
from hmtas.errors import InputError
from hmtas.records import HalfId
from hmtas.store import bucket
from hmtas.store.bucket import ServiceError
from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import open_store
from hmtas.store.upload import upload
from tests.support.s3 import Server
from tests.support.store_tree import packed

A1 = HalfId("l/s/a", 1)
A1_FILE = "halves/l/s/a/1.arrow"
LAST = HalfId("l/s/e", 2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("s3") / "log") as server:
        server.files()
        yield server


@pytest.fixture
def local(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.open(packed(tmp_path)[0])


@pytest.fixture
def url(
    server: Server, local: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """That store in the service, and a cache of this test alone."""
    server.use(monkeypatch, tmp_path / "cache")
    url = f"s3://bucket/{tmp_path.name}/store"
    upload(local.path, url)
    return url


def asked(server: Server, url: str) -> list[str]:
    """The files of a store that were asked for, a request each."""
    folder = url.removeprefix("s3:/") + "/"
    return [path.removeprefix(folder) for path in server.requests("GET", folder)]


def start(program: str, *words: str) -> "subprocess.Popen[str]":
    """A process of its own that runs a program over an open store `store`."""
    begin = (
        "import sys\nfrom hmtas.store.remote import open_store\nstore = open_store(sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", begin + program, *words],
        text=True,
        stdout=subprocess.PIPE,
        env=os.environ.copy(),
    )


def test_it_is_the_store_that_was_packed(url: str, local: EmbeddingStore) -> None:
    store = open_store(url + "/")
    assert (store.place, store.checksum) == (url, local.checksum)
    assert store.splits == local.splits
    for half in local.halves:
        ours, theirs = store.open_half(half), local.open_half(half)
        assert list(ours.streams) == list(theirs.streams)
        for name, rows in theirs.streams.items():
            np.testing.assert_array_equal(ours.streams[name], rows)
        assert store.events(half).time_s.tolist() == local.events(half).time_s.tolist()
    assert store.path.stat().st_mode & 0o777 == 0o700
    assert not list(store.path.rglob("*.part"))


def test_paths_and_other_addresses(url: str, local: EmbeddingStore) -> None:
    for place in (local.path, str(local.path), f"file://{local.path}"):
        store = open_store(place)
        assert store.cache is None
        assert store.place == str(local.path)
    endpoint = os.environ.pop("AWS_ENDPOINT_URL").removeprefix("http://")
    there = f"{url}?scheme=http&region=us-east-1&endpoint_override={endpoint}"
    assert open_store(there).checksum == local.checksum


def test_only_what_is_asked_for_is_copied_and_only_once(server: Server, url: str) -> None:
    before = len(asked(server, url))

    def new() -> list[str]:
        return asked(server, url)[before:]

    store = open_store(url)
    assert new() == ["store.json"]
    assert store.absent([A1, LAST]) == [A1, LAST]
    store.open_half(A1)
    assert new() == ["store.json", A1_FILE]
    store.events(A1)
    assert new() == ["store.json", A1_FILE, "labels.arrow"]
    assert store.absent([A1, LAST]) == [LAST]
    steps: list[None] = []
    store.prefetch([A1, LAST], on_half=lambda: steps.append(None))
    assert len(steps) == 2
    again = open_store(url)
    again.open_half(A1)
    again.open_half(LAST)
    again.events(A1)
    assert new()[3:] == ["halves/l/s/e/2.arrow", "store.json"]  # the index may have changed


def test_another_process_reopens_it_by_its_checksum(
    server: Server, url: str, local: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = open_store(url)
    store.open_half(A1)
    (tmp_path / "pickle").write_bytes(pickle.dumps(store))
    assert len((tmp_path / "pickle").read_bytes()) < 500
    program = (
        "import pickle, sys\n"
        "store = pickle.load(open(sys.argv[1], 'rb'))\n"
        f"print(store.checksum, store.open_half({A1!r}).num_rows)\n"
    )
    program = "from hmtas.records import HalfId\n" + program

    def reopen() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "pickle")],
            env=os.environ.copy(), text=True, capture_output=True, check=False,
        )  # fmt: skip

    before = len(asked(server, url))
    assert reopen().stdout.split() == [local.checksum, "30"]
    assert len(asked(server, url)) == before  # on this machine nothing is asked for again
    monkeypatch.setenv("HMTAS_CACHE", str(tmp_path / "another"))  # as on another machine
    assert reopen().stdout.split() == [local.checksum, "30"]
    assert asked(server, url)[before:] == ["store.json", A1_FILE]
    other = (local.path / "store.json").read_bytes().replace(b'"slack_s": 5.0', b'"slack_s": 4.0')
    server.replace(url, "store.json", other)
    monkeypatch.setenv("HMTAS_CACHE", str(tmp_path / "third"))
    assert "its checksum does not match" in reopen().stderr


def test_two_processes_copy_every_file_once(server: Server, url: str) -> None:
    before = len(asked(server, url))
    program = "store.prefetch(list(store.halves)); print(len(store.absent(list(store.halves))))"
    both = [start(program, url) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["0", "0"]
    halves = [name for name in asked(server, url)[before:] if name.startswith("halves/")]
    assert sorted(halves) == sorted(item.file for item in open_store(url).halves.values())


def test_threads_that_want_the_same_half_copy_it_once(server: Server, url: str) -> None:
    store = open_store(url)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(store.fetch, [store.halves[A1].as_file()] * 64))
    assert asked(server, url).count(A1_FILE) == 1
    assert not list(store.path.rglob("*.part"))


def test_a_killed_copy_goes_on_in_the_middle_of_a_file(
    server: Server, url: str, local: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(url)
    part = store.path / "halves/l/s/a/.1.arrow.part"
    program = (
        "import hmtas.store.bucket\n"
        "hmtas.store.bucket.BLOCK_BYTES = 8\n"
        "store.prefetch(list(store.halves)[:1])\n"
    )
    process = start(program, url)
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 1000:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()
    size = part.stat().st_size
    assert 1000 <= size < store.halves[A1].num_bytes
    before = asked(server, url).count(A1_FILE)
    monkeypatch.setattr(bucket, "BLOCK_BYTES", 100)
    store.fetch(store.halves[A1].as_file())
    needed = -(-(store.halves[A1].num_bytes - size) // 100)
    # The server may have noted the last request of the killed process after we counted.
    assert needed <= asked(server, url).count(A1_FILE) - before <= needed + 1
    assert (store.path / A1_FILE).read_bytes() == (local.path / A1_FILE).read_bytes()
    assert not part.exists()


def test_a_part_that_is_not_a_beginning_is_copied_anew(url: str, local: EmbeddingStore) -> None:
    store = open_store(url)
    for content in (b"?" * 100, b"?" * 10**6):
        part = store.path / "halves/l/s/a/.1.arrow.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        store.fetch(store.halves[A1].as_file())
        assert (store.path / A1_FILE).read_bytes() == (local.path / A1_FILE).read_bytes()
        (store.path / A1_FILE).unlink()


def test_a_damaged_object_is_one_line(server: Server, url: str, local: EmbeddingStore) -> None:
    store = open_store(url)
    sound = (local.path / A1_FILE).read_bytes()
    server.replace(url, A1_FILE, sound[:-1] + bytes([sound[-1] ^ 1]))
    line = rf"^{url}/{A1_FILE}: its SHA-256 is \w{{64}}, twice, but the index says "
    with pytest.raises(InputError, match=line + store.halves[A1].sha256) as error:
        store.open_half(A1)
    assert "\n" not in str(error.value)
    assert asked(server, url).count(A1_FILE) == 2  # tried once more
    server.replace(url, A1_FILE, sound[:-1])
    with pytest.raises(InputError, match=rf"{A1_FILE}: 2,345 bytes, but the index says 2,346"):
        store.prefetch([A1])
    server.files().delete_file(f"{url.removeprefix('s3://bucket/')}/{A1_FILE}")
    with pytest.raises(InputError, match=rf"{A1_FILE}: not there; is the address right"):
        store.open_half(A1)
    server.replace(url, A1_FILE, sound)
    assert store.open_half(A1).num_rows == 30


def test_a_disk_that_cannot_hold_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(url)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4000))
    store.prefetch([A1])
    needed = 2 * store.halves[LAST].num_bytes
    line = f"need {needed:,} bytes more, but the disk has 4,000 free"
    with pytest.raises(InputError, match=line):
        store.prefetch([A1, HalfId("l/s/a", 2), LAST])
    assert store.absent([A1, LAST]) == [LAST]
    monkeypatch.setenv("HMTAS_CACHE", "/dev/null")
    with pytest.raises(InputError, match=r"cannot be made .*; stores from a service are copied"):
        open_store(url)


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("s3://bucket/nothing", r"^s3://bucket/nothing: no store here \(store.json is missing\)"),
        ("s3://no-bucket/store", r"^s3://no-bucket/store: no store here"),
        ("s3://", r"^s3://: names no bucket; write s3://BUCKET/FOLDER"),
        ("s3:/bucket/store", "an address has two slashes"),
        ("s4://bucket/store", "Unrecognized filesystem type"),
        ("s3://bucket/my store", "not an address of a store .* with %20 for a space"),
        ("s3://bucket/store?ednpoint=x", "Unexpected query parameter in S3 URI: 'ednpoint'"),
    ],
)
@pytest.mark.usefixtures("url")
def test_a_wrong_address_is_one_line(address: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        open_store(address)
    assert "\n" not in str(error.value)


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="has credentials in the address") as error:
        open_store("s3://key:hush@bucket/store")
    assert "hush" not in str(error.value)


def test_an_index_that_names_files_elsewhere_is_refused(
    server: Server, url: str, local: EmbeddingStore
) -> None:
    stored = local.index.halves[0]._replace(
        half=HalfId("../../x", 1), file="halves/../../x/1.arrow"
    )
    index = local.index.model_copy(update={"halves": (stored,)})
    server.replace(url, "store.json", json.dumps(index.document()).encode())
    with pytest.raises(InputError, match=r"lies in 'halves/../../x/1.arrow'; pack again"):
        open_store(url)


def test_a_service_that_refuses_or_is_gone(
    tmp_path: Path,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Server(tmp_path / "strict", INITIAL_NO_AUTH_ACTION_COUNT="0") as strict:
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict.endpoint)
        with pytest.raises(ServiceError, match=r"are the credentials .* set") as error:
            open_store(url)
        assert str(error.value).startswith(f"{url}/store.json: the service failed")
    started = time.monotonic()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)  # without them nothing may hang
    monkeypatch.setattr("sys.argv", ["hmtas", "verify", url])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert line.startswith(f"error: {url}/store.json: the service failed")
    assert "is the endpoint (AWS_ENDPOINT_URL" in line
    assert time.monotonic() - started < 30
