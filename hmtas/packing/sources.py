"""The `.npy` files of one half: what they hold, and their rows as float16.

`<half>_baidu_soccer_embeddings.npy` holds five streams side by side (thesis Table 4.1); any other
file is a stream of its own (`hmtas.packing.layout` says where they lie).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from hmtas.errors import InputError
from hmtas.files import looks_like
from hmtas.formats.embeddings import BAIDU, BAIDU_BLOCKS
from hmtas.packing.layout import NUMBERED, FoundFile, LeftOut
from hmtas.packing.rates import Rates, Resampling
from hmtas.packing.shapes import why_no_rows, why_transposed
from hmtas.records import HalfId
from hmtas.refusals import raise_if_refused

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
    num_trailing_bytes: int = 0  # after the array: nothing reads them

    key: str = ""  # in the journal, where its name is not enough

    @property
    def name(self) -> str:
        """What options call its rows: its stream, or the file of several."""
        return self.blocks[0].stream if len(self.blocks) == 1 else BAIDU

    @property
    def why_transposed(self) -> str:
        """The question to ask of a file whose rows look like columns; '' of any other."""
        return why_transposed(self.num_rows, sum(block.width for block in self.blocks))


class SourceHalf(NamedTuple):
    """The files of one half, at least one."""

    half: HalfId
    files: tuple[SourceFile, ...]
    resampled: Mapping[str, Resampling] = MappingProxyType({})  # streams of another rate

    @property
    def num_rows(self) -> int:
        """T, rows of the longest stream, at the rate of the store."""
        return max(self.rows_of(file) for file in self.files)

    def rows_of(self, file: SourceFile) -> int:
        """Rows of a file, at the rate of the store."""
        resampling = self.resampled.get(file.blocks[0].stream)
        return resampling.num_rows(file.num_rows) if resampling else file.num_rows

    def rate_of(self, file: SourceFile, store_hz: float) -> float:
        """Rows per second of a file."""
        resampling = self.resampled.get(file.blocks[0].stream)
        return resampling.rate_hz if resampling else store_hz

    @property
    def widths(self) -> dict[str, int]:
        """Stream to width, as found."""
        return {block.stream: block.width for file in self.files for block in file.blocks}

    @property
    def added_rows(self) -> dict[str, int]:
        """Stream to the number of times that its last row is repeated."""
        return {
            block.stream: self.num_rows - self.rows_of(file)
            for file in self.files
            for block in file.blocks
            if self.rows_of(file) < self.num_rows
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
    if why := why_no_rows(array):
        raise InputError(f"{path}: {why}")
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
            + (
                why_transposed(num_rows, width)
                or "is it of another feature extractor, or reduced by PCA?"
            )
        )
    for name, size in BAIDU_BLOCKS.items() if stem == BAIDU else [(stem, width)]:
        if streams is None or name in streams:
            blocks.append(Block(name, start, size))
        start += size
    status = path.stat()
    trailing = status.st_size - array.offset - array.nbytes
    return SourceFile(
        path,
        num_rows,
        tuple(blocks),
        status.st_size,
        status.st_mtime_ns,
        num_trailing_bytes=trailing,
        key=file.key,
    )


def at_rates(source: SourceHalf, rates: Rates, problems: list[str]) -> SourceHalf:
    """A half whose streams of another rate than the store's are brought to it.

    Streams that lie in one file and are said to have different rates are added to `problems`.
    """
    every = {stream: rates.resampling(stream) for stream in source.widths}
    for file in source.files:
        found = [every[block.stream] for block in file.blocks]
        rates_hz = [item.rate_hz if item else rates.store_hz for item in found]
        if len({*rates_hz}) > 1:
            named = ", ".join(
                f"{block.stream} {rate_hz:g}"
                for block, rate_hz in zip(file.blocks, rates_hz, strict=True)
            )
            problems.append(
                f"{file.path}: the streams of one file have one rate, got {named} Hz; give that of "
                f"the file: --rate-hz {file.name}=HZ"
            )
    return source._replace(resampled={name: item for name, item in every.items() if item})


def _map(path: Path) -> np.memmap:
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
    if not isinstance(array, np.memmap):
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

    A stream of another rate than the store's is brought to it. One that is shorter than the longest
    repeats its last row, as the thesis does.

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
        as_they_are = [block for block in file.blocks if block.stream not in source.resampled]
        step = max(1, _CHUNK_BYTES // (array.shape[1] * array.itemsize))
        for start in range(0, file.num_rows, step) if as_they_are else ():
            rows = slice(start, min(start + step, file.num_rows))
            for block in as_they_are:
                values = array[rows, block.start : block.start + block.width]
                streams[block.stream][rows] = _checked(values, file.path, start, block)
        for block in file.blocks:
            filled = source.rows_of(file)
            if block.stream in source.resampled:
                resampling = source.resampled[block.stream]
                _resample(array, file.path, block, resampling, streams[block.stream][:filled])
            streams[block.stream][filled:] = streams[block.stream][filled - 1]
    return streams


def _resample(
    array: np.ndarray, path: Path, block: Block, resampling: Resampling, out: np.ndarray
) -> None:
    """Write the rows of a block, brought to the rate of the store, to `out`, float16 (T, F).

    Every row of the file is checked, also one that nothing is made of.
    """
    columns = slice(block.start, block.start + block.width)
    num_rows, checked = len(array), 0
    at_once = _CHUNK_BYTES // (block.width * max(array.itemsize, 4))
    step = max(1, int(at_once / max(resampling.ratio, 1)))
    for start in range(0, len(out), step):
        stop = min(start + step, len(out))
        first, weights = resampling.weights(start, stop, num_rows)
        end = num_rows if stop == len(out) else min(int(first[-1]) + weights.shape[1], num_rows)
        begin = min(int(first[0]), checked)
        values = array[begin:end, columns]
        _checked(values, path, begin, block)
        checked = end
        rows = values.astype(np.float32, copy=False)
        mixed = np.zeros((stop - start, block.width), np.float32)
        for k in range(weights.shape[1]):
            mixed += weights[:, k, None] * rows[np.minimum(first - begin + k, end - begin - 1)]
        with np.errstate(under="ignore"):
            out[start:stop] = mixed.astype(np.float16)


def _checked(values: np.ndarray, path: Path, start: int, block: Block) -> np.ndarray:
    """Rows of a file, from row `start` on, as float16.

    Raises:
        InputError: If float16 cannot hold a value.
    """
    with np.errstate(over="ignore", under="ignore"):
        half = values.astype(np.float16)
    if ((half.view(np.uint16) & _INFINITE) == _INFINITE).any():
        raise _bad_value(path, values, start, block)
    return half


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
