"""Unpacking, alike on every Python that the project takes."""

import tarfile
from collections.abc import Iterable
from pathlib import Path


def extract(archive: tarfile.TarFile, folder: Path, members: Iterable[tarfile.TarInfo]) -> None:
    """Unpack some members, none outside the folder."""
    if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
        archive.extraction_filter = tarfile.data_filter
    archive.extractall(folder, members)
