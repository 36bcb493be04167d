"""The `.npy` files of one half: which there are, what they hold, and their rows as float16.

`{1,2}_baidu_soccer_embeddings.npy` holds five streams side by side (thesis Table 4.1); any other
`{1,2}_<stream>.npy` is a stream of its own.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hmtas.errors import InputError
from hmtas.formats.embeddings import BAIDU, BAIDU_BLOCKS
from hmtas.records import HalfId
from hmtas.refusals import raise_if_refused

BAIDU_WIDTH = sum(BAIDU_BLOCKS.values())
FLOAT16_MAX = 65504.0  # of float16
_CHUNK_BYTES = 1 << 24  # read at once, so that one half in float16 is all that is ever held
_NAME = re.compile(r"[12]_([\w-]+)\.npy")
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
        return {file.path.name: [file.num_bytes, file.mtime_ns] for file in self.files}


def find_files(root: Path, half: HalfId, streams: Collection[str] | None) -> list[Path]:
    """The `.npy` files of one half that hold any of `streams` (None: any at all), sorted."""
    found = []
    for path in sorted((root / half.game).glob(f"{half.half}_*.npy")):
        match = _NAME.fullmatch(path.name)
        if match and (streams is None or not set(streams).isdisjoint(_names(match[1]))):
            found.append(path)
    return found


def _names(stem: str) -> tuple[str, ...]:
    return tuple(BAIDU_BLOCKS) if stem == BAIDU else (stem,)


def read_header(path: Path, streams: Collection[str] | None) -> SourceFile:
    """Read the header of one file, not its values.

    Raises:
        InputError: If it is no whole `.npy` file of floating-point rows, or of a wrong width.
    """
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
    stem = path.stem[2:]
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
    return SourceFile(path, num_rows, tuple(blocks), status.st_size, status.st_mtime_ns)


def _map(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise_if_refused(error, path)
        if "object" in str(error).lower() or "pickle" in str(error):
            raise InputError(
                f"{path}: not an .npy file of numbers (it holds pickled objects, which are never "
                "loaded, or is damaged); save it as a plain float array"
            ) from None
        raise InputError(
            f"{path}: not a whole .npy file ({error}); was the download cut short?"
        ) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: an .npz archive under the name of an .npy file; unpack it")
    return array


def check_lengths(source: SourceHalf, rate_hz: float, slack_s: float) -> list[str]:
    """The streams that end too long before the longest one of their half."""
    longest = max(source.files, key=lambda file: file.num_rows)
    return [
        f"{source.half}: stream {file.blocks[0].stream!r} has {file.num_rows} rows but "
        f"{longest.blocks[0].stream!r} has {longest.num_rows}, more than {slack_s:g} s apart; "
        "is one of them cut short, or of another video?"
        for file in source.files
        if longest.num_rows - file.num_rows > slack_s * rate_hz
    ]


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
