"""Defends: what the system refuses is one line that names the place and the likely cause."""

import errno
import os
import re
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from hmtas.errors import InputError, TransientError
from hmtas.place import check_space
from hmtas.refusals import describe_error, explain, internal, raise_if_refused
from tests.support.blocked import unreadable


def caught(action: object) -> Exception:
    try:
        action()  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_the_system_s_words_come_with_the_place_and_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert explain(caught((tmp_path / "no").read_bytes)) == (
        f"{tmp_path}/no: no such file or directory; was it moved, removed or misspelt?"
    )
    assert explain(caught((tmp_path / "file" / "x").mkdir)) == (
        f"{tmp_path}/file/x: not a directory; a file stands where a folder should"
    )
    full = OSError(errno.ENOSPC, "Error writing bytes to file")  # as Arrow has it: no file name
    assert explain(full) == (
        "no space left on device; free some space and run the same command again"
    )


@pytest.mark.parametrize("library", ["arrow", "safetensors", "plain"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(library: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_file({"a": torch.zeros(1)}, path)
    read = {
        "arrow": lambda: pa.memory_map(str(path)),
        "safetensors": lambda: save_file({"a": torch.zeros(1)}, tmp_path / "no" / "file"),
        "plain": path.read_bytes,
    }[library]
    with unreadable(path):
        error = caught(read)
    said = "no such file" if library == "safetensors" else "permission denied"
    assert said in str(explain(error))
    if library != "safetensors":
        with pytest.raises(TransientError, match=f"{path}: permission denied; does it belong to"):
            raise_if_refused(error, path)


def test_what_is_damaged_or_missing_is_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"bad")
    raise_if_refused(caught(lambda: pa.ipc.open_file(str(tmp_path / "bad"))), tmp_path)
    raise_if_refused(caught(lambda: np.load(tmp_path / "no")), tmp_path)
    raise_if_refused(ValueError("its checksum does not match"), tmp_path)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caught(lambda: np.empty(2**50)), ("not enough memory (Unable to allocate", "batch_size")),
        (caught(lambda: torch.empty(2**60)), ("not enough memory", "can't allocate", "batch_size")),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), ("not enough memory (CUDA out of",)),
        (
            RuntimeError("worker died\n\x1b[36m  failed to map segment from shared object"),
            ("memor",),
        ),
        (torch.AcceleratorError("CUDA error: no kernel image"), ("GPU cannot be used", "CPU")),
        (caught(lambda: "é".encode("ascii")), ("cannot hold '\\xe9'", "PYTHONUTF8=1")),
        (OSError("23800 requested and 20416 written"), ("no space left on device",)),
        (RuntimeError("Symlink loop from '/a/loop'"), ("'/a/loop': a link that leads back",)),
        (sqlite3.OperationalError("database or disk is full"), ("database or disk is full",)),
    ],
)
def test_memory_devices_encodings_and_databases(error: Exception, words: tuple[str, ...]) -> None:
    line = explain(error)
    assert line is not None
    assert [word for word in words if word not in line] == []
    assert "\n" not in line


def test_what_a_library_wraps_is_found_and_what_we_handled_is_not() -> None:
    def chained(how: str, error: Exception) -> Exception:
        def run() -> None:
            try:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a/file")
            except OSError as cause:
                if how == "from":
                    raise error from cause
                raise error  # noqa: B904

        return caught(run)

    assert str(explain(chained("from", KeyError("x")))).startswith("a/file: permission denied")
    assert str(explain(chained("while", pa.ArrowKeyError("x")))).startswith("a/file: permission")
    assert explain(chained("while", KeyError("x"))) is None


def test_errors_of_runs_in_one_line() -> None:
    assert describe_error(InputError("first\nsecond")) == "first"
    assert describe_error(KeyError("x")) == "KeyError: 'x'"
    assert describe_error(OSError(errno.EROFS, "x", "a")) == (
        "a: read-only file system; write to another disk"
    )


def test_a_fault_of_ours_names_its_place() -> None:
    line = internal(caught(lambda: check_space(None, 1, "", "")))  # type: ignore[arg-type]
    assert re.match(r"AttributeError at hmtas/place.py:\d+: 'NoneType'", line)
    assert "this is a fault of hmtas" in line
    assert "`hmtas --debug ...`" in line
