"""The `.npy` files of one half: what they hold, and their rows as float16.

`<half>_baidu_soccer_embeddings.npy` holds five streams side by side (thesis Table 4.1); any other
file is a stream of its own (`hmtas.store.layout` says where they lie).
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from hmtas.errors import InputError
from hmtas.files import looks_like
from hmtas.formats.embeddings import BAIDU, BAIDU_BLOCKS
from hmtas.records import HalfId
from hmtas.refusals import raise_if_refused
from hmtas.store.layout import NUMBERED, FoundFile, LeftOut

BAIDU_WIDTH = sum(BAIDU_BLOCKS.values())
FLOAT16_MAX = 65504.0  # of float16
_CHUNK_BYTES = 1 << 24  # read at once, so that one half in float16 is all that is ever held
# What holds arrays, whatever was added to its name, and a name that says its half and stream.
_DATA = re.compile(
    r"\.(npy|npz|pt|pth|th|pkl|pickle|h5|hdf5|mat|arrow|feather|parquet|safetensors|zarr|tfrecords?"
    r"|csv|tsv|jsonl|bin|dat|lmdb|zip|tar)\b",
    re.IGNORECASE,
)
_NEARLY = re.compile(r"([1-9]\d?)_(.+?)(?: - Copy| copy| *\(\d+\))*\.npy", re.IGNORECASE)
_MAGIC = b"\x93NUMPY"
_INFINITE = np.uint16(0x7C00)  # all bits of the exponent: a float16 that is not finite


class Block(NamedTuple):
    """Columns of a file that are one stream."""

    stream: str
    start: int
    width: int


class SourceFile(NamedTuple):
    """One `.npy` file, from its header."""

    path: Path
    num_rows: int
    blocks: tuple[Block, ...]
    num_bytes: int
    mtime_ns: int
    key: str = ""  # in the journal, where its name is not enough


class SourceHalf(NamedTuple):
    """The files of one half, at least one."""

    half: HalfId
    files: tuple[SourceFile, ...]

    @property
    def num_rows(self) -> int:
        """T, rows of the longest stream."""
        return max(file.num_rows for file in self.files)

    @property
    def widths(self) -> dict[str, int]:
        """Stream to width, as found."""
        return {block.stream: block.width for file in self.files for block in file.blocks}

    @property
    def added_rows(self) -> dict[str, int]:
        """Stream to the number of times that its last row is repeated."""
        return {
            block.stream: self.num_rows - file.num_rows
            for file in self.files
            for block in file.blocks
            if file.num_rows < self.num_rows
        }

    @property
    def fingerprint(self) -> dict[str, list[int]]:
        """What tells that a file was not changed since: its size and time of change."""
        return {file.key or file.path.name: [file.num_bytes, file.mtime_ns] for file in self.files}


def some_of(files: Iterable[FoundFile], streams: Collection[str] | None) -> list[FoundFile]:
    """The files that hold any of some streams; all of them for None."""
    return [
        file
        for file in files
        if streams is None or not set(streams).isdisjoint(names_in(file.stem))
    ]


def find_left_out(
    root: Path, game: str, streams: Collection[str] | None, packed: Collection[Path]
) -> list[LeftOut]:
    """The files of a game that look like data, of any of `streams`, and that are not packed."""
    folder = root / game
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    wanted = set() if streams is None else {*streams}
    if wanted.intersection(BAIDU_BLOCKS):
        wanted.add(BAIDU)
    return [
        LeftOut(f"{game}/{name}", _why_left_out(name, names))
        for name in names
        if _DATA.search(name)
        and not NUMBERED.fullmatch(name)  # of a stream or a part that is not asked for
        and folder / name not in packed
        and (streams is None or any(stream.lower() in name.lower() for stream in wanted))
    ]


def _why_left_out(name: str, others: Collection[str]) -> str:
    if name.startswith("."):
        return "hidden: half a file, or what a Mac writes beside one?"
    if not name.lower().endswith(".npy"):
        if ".npy" in name.lower():
            return "its name goes on after .npy: half a download, a copy, or compressed?"
        return "not an .npy file; save its array as <half>_<stream>.npy"
    match = _NEARLY.fullmatch(name)
    stream = re.sub(r"[^\w-]+", "_", normalize("NFC", match[2])).strip("_") if match else ""
    if match and f"{match[1]}_{stream}.npy" in others:
        return f"a second copy of {match[1]}_{stream}.npy? Remove it"
    rename = f"rename it to {match[1]}_{stream}.npy" if match and stream else "rename it"
    return f"not named <half>_<stream>.npy, a stream of letters, digits, _ and -; {rename}"


def names_in(stem: str) -> tuple[str, ...]:
    """The streams that a file holds, by what its name says."""
    return tuple(BAIDU_BLOCKS) if stem == BAIDU else (stem,)


def read_header(file: FoundFile, streams: Collection[str] | None) -> SourceFile:
    """Read the header of one file, not its values.

    Raises:
        InputError: If it is no whole `.npy` file of floating-point rows, or of a wrong width.
    """
    path, stem = file.path, file.stem
    array = _map(path)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise InputError(
            f"{path}: embeddings must be floating-point (rows, width), "
            f"got {array.dtype} {array.shape}"
        )
    num_rows, width = array.shape
    if num_rows == 0 or width == 0:
        raise InputError(
            f"{path}: no embeddings in it, its shape is {array.shape}; did extraction fail?"
        )
    blocks, start = [], 0
    if stem == BAIDU and width != BAIDU_WIDTH:
        parts = " + ".join(f"{name} {size}" for name, size in BAIDU_BLOCKS.items())
        raise InputError(
            f"{path}: this file must be {BAIDU_WIDTH} wide ({parts}), got {width}; "
            "is it of another feature extractor, or reduced by PCA?"
        )
    for name, size in BAIDU_BLOCKS.items() if stem == BAIDU else [(stem, width)]:
        if streams is None or name in streams:
            blocks.append(Block(name, start, size))
        start += size
    status = path.stat()
    return SourceFile(path, num_rows, tuple(blocks), status.st_size, status.st_mtime_ns, file.key)


def _map(path: Path) -> np.ndarray:
    start, array = b"", None
    try:
        with path.open("rb") as file:
            start = file.read(64)
        # Only what is surely an array: numpy takes all else for pickled objects.
        if start.startswith(_MAGIC):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        if path.is_symlink() and not path.exists():
            raise InputError(f"{path}: a link to nothing; was its target moved?") from None
        raise_if_refused(error, path)
        raise InputError(f"{path}: {_why_unreadable(start, str(error))}") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: {_why_unreadable(start, f'{len(start)} bytes')}")
    return array


def _why_unreadable(start: bytes, error: str) -> str:
    """Why a file is no array of numbers, from its first bytes and what numpy said."""
    is_array = start.startswith(_MAGIC)
    if start[:1] == b"\x80" or (is_array and "objects" in error):
        return (
            "not an .npy file of numbers (it holds pickled objects, which are never loaded); "
            "save it as a plain float array"
        )
    if is_array or start[:1] == _MAGIC[:1]:
        return f"not a whole .npy file ({error}); was the download cut short?"
    return f"not an .npy file but {looks_like(start) or f'something that begins {start[:16]!r}'}"


def read_streams(source: SourceHalf) -> dict[str, np.ndarray]:
    """Read the rows of every stream of one half.

    A stream that is shorter than the longest one repeats its last row, as the thesis does.

    Returns:
        Stream to float16 (T, F).

    Raises:
        InputError: If a value is not finite or too large for float16, naming its row and column,
            or a file changed since its header was read.
    """
    streams = {}
    for file in source.files:
        array = _map(file.path)
        if len(array) != file.num_rows or file.path.stat().st_mtime_ns != file.mtime_ns:
            raise InputError(f"{file.path}: changed while it was packed; pack again")
        for block in file.blocks:
            streams[block.stream] = np.empty((source.num_rows, block.width), np.float16)
        step = max(1, _CHUNK_BYTES // (array.shape[1] * array.itemsize))
        for start in range(0, file.num_rows, step):
            rows = slice(start, min(start + step, file.num_rows))
            for block in file.blocks:
                columns = slice(block.start, block.start + block.width)
                with np.errstate(over="ignore", under="ignore"):
                    half = array[rows, columns].astype(np.float16)
                if ((half.view(np.uint16) & _INFINITE) == _INFINITE).any():
                    raise _bad_value(file.path, array[rows, columns], start, block)
                streams[block.stream][rows] = half
        for block in file.blocks:
            streams[block.stream][file.num_rows :] = streams[block.stream][file.num_rows - 1]
    return streams


def _bad_value(path: Path, values: np.ndarray, start: int, block: Block) -> InputError:
    """Name the first value that float16 cannot hold."""
    with np.errstate(over="ignore"):
        row, column = np.argwhere(~np.isfinite(values.astype(np.float16)))[0]
    value = float(values[row, column])
    place = f"{path}: row {start + row}, column {block.start + column} (stream {block.stream!r})"
    if np.isfinite(value):
        return InputError(
            f"{place} is {value:g}, beyond the largest float16, {FLOAT16_MAX:g}; "
            "scale the embeddings"
        )
    return InputError(f"{place} is {value:g}; embeddings must be finite. Extract the half again")
