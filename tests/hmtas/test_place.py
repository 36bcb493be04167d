"""A place that cannot be written is known before anything is, and nothing is left behind."""

import shutil
from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.place import check_file, check_folder, check_space
from tests.support.blocked import read_only


def test_what_can_be_written_or_made_passes_and_stays_as_it_was(tmp_path: Path) -> None:
    check_folder(tmp_path, tmp_path / "a" / "b")
    check_file(tmp_path / "a" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_each_reason_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for folder, reason in (
        (tmp_path / "file", f"{tmp_path}/file is a file"),
        (tmp_path / "file" / "a" / "b", f"{tmp_path}/file is a file"),
        (tmp_path / "link", f"{tmp_path}/link is a link to nothing"),
        (Path("~/runs"), r"no shell has replaced ~; write \$HOME"),
        (Path("~me/runs"), "no shell has replaced ~me"),
    ):
        with pytest.raises(InputError, match=rf"^{folder}: cannot be written \({reason}"):
            check_folder(folder)
    with pytest.raises(InputError, match="is a folder; name a file"):
        check_file(tmp_path)
    assert not (tmp_path / "~").exists()


def test_a_folder_of_that_name_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    check_folder(Path("~/runs"))


def test_permissions_and_disks_that_are_read_only(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    with read_only(folder), pytest.raises(InputError, match=f"{folder}: .* not permitted|denied"):
        check_folder(folder / "run")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs Linux")
def test_a_place_where_nobody_writes() -> None:
    with pytest.raises(InputError, match=r"/sys/kernel: (Permission denied|Read-only)"):
        check_folder(Path("/sys/kernel/run"))


def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check_space(tmp_path / "new", 1000, "two halves", "pack fewer")
    with pytest.raises(InputError, match=r"two halves need 1,001 bytes more, but .* 1,000 free"):
        check_space(tmp_path / "new", 1001, "two halves", "pack fewer")
