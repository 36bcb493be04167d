"""Which format the labels of a data set have, and how to open them."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from hmtas.errors import InputError, quoted
from hmtas.files import looks_like, parse_json, walk_files
from hmtas.formats.actions import check_names, read_actions
from hmtas.formats.frames import read_frames
from hmtas.formats.labels import LabelSource
from hmtas.formats.listing import Entry, Options, make_listing
from hmtas.formats.osl import read_osl_v1, read_osl_v2, v1_actions, v2_actions
from hmtas.formats.rows import read_rows
from hmtas.formats.segments import read_segments
from hmtas.formats.soccernet import EMBEDDINGS, LABEL_FILES, LabelTree, find_games
from hmtas.formats.splits import SPLIT_FILE, split_called, split_named
from hmtas.formats.times import Times

Format = Literal[
    "soccernet-v2", "soccernet-ball", "soccernet-v1", "osl-v1", "osl-v2", "frames", "segments",
    "csv",
]  # fmt: skip
FORMATS: tuple[str, ...] = get_args(Format)
CLASS_FILE = "class.txt"
_LIST_READERS: dict[str, Callable[[Any, str, Options], list[Entry]]] = {
    "osl-v1": read_osl_v1,
    "osl-v2": read_osl_v2,
    "frames": read_frames,
    "segments": read_segments,
    "csv": read_rows,
}
_ENDINGS = (".json", ".csv", ".tsv")


class LabelOptions(NamedTuple):
    """How labels are read, where files leave it open."""

    format: str | None = None  # recognised unless given
    fps: float | None = None
    spot_at: str | None = None  # of a segment
    times: Times = "position"


def open_labels(
    place: Path,
    options: LabelOptions | None = None,
    *,
    on_dead_link: Callable[[Path], None] = lambda path: None,
) -> LabelSource:
    """The labels of a data set: a tree of games with label files, or files that list games.

    Args:
        place: The folder, or one file that lists games.
        options: How to read them.
        on_dead_link: Called with each file of a tree that is a link to nothing.

    Raises:
        InputError: If the format cannot be told, or the files are malformed.
    """
    options = options or LabelOptions()
    if options.format is not None and options.format not in FORMATS:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}, got {options.format!r}")
    if options.fps is not None and not 0 < options.fps < 1e6:
        raise InputError(f"--fps must be a positive number of frames a second, got {options.fps}")
    if place.is_file():
        if options.format in LABEL_FILES:
            raise InputError(
                f"{place}: is a file, and --format {options.format} a file in the folder of each "
                "game; name the folder of all games"
            )
        return _open_lists([place], options)
    if not place.is_dir():
        raise InputError(f"{place}: no such folder of games, and no file that lists them")
    chosen = options.format
    tree = chosen if chosen in LABEL_FILES else None
    if chosen is None:
        names = {path.name for path in walk_files(place)}
        tree = next((kind for kind, name in LABEL_FILES.items() if name in names), None)
    lists, damaged = ([], []) if tree is not None and chosen else _list_files(place, chosen)
    if damaged and tree is None:
        raise damaged[0]
    if tree is not None and lists:
        raise InputError(
            f"{place}: holds {LABEL_FILES[tree]} of games, and {lists[0].relative_to(place)} lists "
            f"games; choose one with --format {tree} or --format {_format_of(lists[0])}"
        )
    if lists:
        return _open_lists(lists, options)
    if chosen in _LIST_READERS:
        raise InputError(f"{place}: no file of format {chosen} in it; {_looked_for()}")
    tree = tree or "soccernet-v2"
    games = find_games(place, label_file=LABEL_FILES[tree], on_dead_link=on_dead_link)
    if not games and not (place / SPLIT_FILE).is_file():  # whose games are named one by one
        if damaged:
            raise damaged[0]
        raise InputError(f"{place}: no labels and no embeddings of games found; {_looked_for()}")
    return LabelTree(place, tree, games, options.times)


def _looked_for() -> str:
    return (
        f"looked for {', '.join(LABEL_FILES.values())} or {EMBEDDINGS} in the folders of games, "
        "and in the folder and those in it for .json of OSL (videos or data), lists of frames "
        "(video, events) or segments (database), and .csv with a head (game, label, time_s)"
    )


def _list_files(folder: Path, chosen: str | None) -> tuple[list[Path], list[InputError]]:
    """The files that list games, in a folder and in those in it; and why some are no files."""
    near = [path for depth in ("*", "*/*") for path in sorted(folder.glob(depth))]
    files = [path for path in near if path.suffix.lower() in _ENDINGS and path.is_file()]
    found: dict[Path, str | None] = {}
    damaged = []
    for path in files:
        try:
            found[path] = _format_of(path)
        except InputError as error:
            damaged.append(error)
    formats = sorted(set(filter(None, found.values())))
    if chosen is None and len(formats) > 1:
        some = ", ".join(
            f"{next(path for path in found if found[path] == kind).relative_to(folder)} ({kind})"
            for kind in formats
        )
        raise InputError(f"{folder}: files of several formats, {some}; choose one with --format")
    lists = [path for path in found if found[path] and chosen in (None, found[path])]
    return lists, damaged


def _format_of(path: Path) -> str | None:
    """The format of a file that lists games, by what is in it; None if it lists none.

    Raises:
        InputError: If it is not what its ending says.
    """
    if path.suffix.lower() != ".json":
        with path.open("rb") as file:
            head = file.readline(1 << 16)
        if what := looks_like(head):
            raise InputError(f"{path}: not a table (CSV) but {what}")
        words = re.split(r"[,;\t]", head.decode("utf-8-sig", errors="replace"))
        columns = {word.strip().strip('"').lower() for word in words}
        return "csv" if {"game", "label"} <= columns else None
    return _format_of_document(parse_json(path.read_bytes(), str(path)))


def _format_of_document(document: Any) -> str | None:
    if isinstance(document, list):
        some = document[:1]
        return "frames" if some and isinstance(some[0], dict) and "video" in some[0] else None
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("data"), list):
        return "osl-v2"
    if isinstance(document.get("videos"), list):
        return "osl-v1"
    if isinstance(document.get("database"), dict):
        return "segments"
    return None


def _open_lists(files: Sequence[Path], options: LabelOptions) -> LabelSource:
    """Read files of one format."""
    entries: list[Entry] = []
    listed: dict[str, None] = {}
    chosen, listed_in = options.format, "the label files"
    for path in files:
        content = path.read_bytes()
        is_json = path.suffix.lower() == ".json"
        document = parse_json(content, str(path)) if is_json else content
        chosen = chosen or _recognised(document, str(path))
        read = _read_entries(document, str(path), chosen, split_named(path.stem), options)
        _check_labels(read, document)
        entries += read
        names = _listed_in(document, chosen, path)
        if not names:
            names, listed_in = _listed_beside(path), CLASS_FILE
        listed |= dict.fromkeys(names)
    assert chosen is not None
    return make_listing(chosen, files, entries, listed, listed_in)


def open_document(document: Any, place: str, options: LabelOptions) -> LabelSource:
    """A document that lists games, such as predictions in the format of labels.

    Args:
        document: Parsed JSON, or the bytes of a table.
        place: Where it comes from.
        options: How to read it.

    Raises:
        InputError: If its format is not known, or it is malformed.
    """
    chosen = _recognised(document, place)
    entries = _read_entries(
        document, place, chosen, None, options._replace(spot_at=options.spot_at or "start")
    )
    return make_listing(chosen, [Path(place)], entries, ())


def _read_entries(
    document: Any, place: str, chosen: str, of_file: str | None, options: LabelOptions
) -> list[Entry]:
    """The entries of a document, each with its split."""
    _check_shape(document, chosen, place)
    found = []
    for entry in _LIST_READERS[chosen](document, place, Options(options.fps, options.spot_at)):
        split = split_called(entry.split, entry.place) if entry.split else of_file
        labelled = entry.labelled and not (split == "challenge" and not entry.labels)
        found.append(entry._replace(split=split, labelled=labelled))
    return found


def _check_labels(entries: Sequence[Entry], document: Any) -> None:
    """Refuse predictions in the place of labels; OSL's annotators leave a confidence at some."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    says = isinstance(metadata, dict) and metadata.get("type") == "predictions"
    for entry in entries:
        sure = [label for label in entry.labels if label.confidence is not None]
        if sure and (says or len(sure) == len(entry.labels)):
            raise InputError(
                f"{sure[0].place}: has a confidence, as every label of its video; are these "
                "predictions, and not labels? Keep them in another folder"
            )


def _recognised(document: Any, place: str) -> str:
    found = "csv" if isinstance(document, bytes) else _format_of_document(document)
    if found is None:
        raise InputError(f"{place}: its format is not known, {_kind(document)}; {_looked_for()}")
    return found


def _check_shape(document: Any, chosen: str, place: str) -> None:
    """Refuse a document that is not what `--format` says."""
    if isinstance(document, bytes) != (chosen == "csv"):
        raise InputError(f"{place}: is it {chosen}, as --format says?")
    key = {"osl-v1": "videos", "osl-v2": "data"}.get(chosen)
    if chosen == "frames" and not isinstance(document, list):
        raise InputError(f"{place}: frames are a list of videos, got {_kind(document)}")
    if chosen in ("osl-v1", "osl-v2", "segments") and not isinstance(document, dict):
        raise InputError(f"{place}: must be an object, got {_kind(document)}; is it {chosen}?")
    if key is not None and key not in document:
        raise InputError(f"{place}: no list named {key!r}; is it {chosen}?")


def _kind(document: Any) -> str:
    if isinstance(document, dict):
        return f"an object of {', '.join(map(quoted, list(document)[:5])) or 'nothing'}"
    return "a list" if isinstance(document, list) else quoted(document)


def _listed_in(document: Any, chosen: str, path: Path) -> tuple[str, ...]:
    """The actions that a file of OSL lists; none if it lists none."""
    listed = {"osl-v1": v1_actions, "osl-v2": v2_actions}.get(chosen)
    names = listed(document) if listed else []
    return check_names(names, path) if names else ()


def _listed_beside(path: Path) -> tuple[str, ...]:
    """The list of actions beside a label file, or a folder up, as data sets of frames have it."""
    files = (folder / CLASS_FILE for folder in (path.parent, path.parent.parent))
    return next((read_actions(file) for file in files if file.is_file()), ())
