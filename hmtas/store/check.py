"""Checking a season before it is packed: everything that is cheap to look at, all at once.

Only headers, labels and splits are read; the embeddings themselves are checked while they are
packed (`hmtas.store.sources`).
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path

from hmtas.errors import InputError, did_you_mean, join_problems
from hmtas.formats.embeddings import BAIDU_BLOCKS
from hmtas.formats.labels import ACTIONS, HALVES, LABEL_FILE, Oddity, find_games, read_events
from hmtas.formats.splits import SPLIT_FILE, Splits, other_form, read_splits
from hmtas.records import Events, HalfId
from hmtas.store.doubts import warnings_of
from hmtas.store.lengths import LateLabel, check_lengths, late_labels
from hmtas.store.rates import Rates, Resampling
from hmtas.store.shapes import why_another_width
from hmtas.store.sources import (
    LeftOut,
    SourceFile,
    SourceHalf,
    at_rates,
    find_files,
    find_left_out,
    read_header,
    streams_of,
)
from hmtas.terminal.text import counted

NUM_NAMED = 5  # mistakes spelled out; the rest is counted
UNLABELLED_SPLIT = "challenge"
LABELLED_SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackPlan:
    """A season that was checked and can be packed."""

    rate_hz: float
    slack_s: float
    actions: tuple[str, ...]
    streams: dict[str, int]  # name to width, in the order of the store
    resampled: tuple[Resampling, ...]  # the streams of another rate
    splits: Splits
    halves: tuple[SourceHalf, ...]  # in the order of the splits
    events: dict[HalfId, Events]  # of every labelled half
    labelled: tuple[str, ...]  # games with annotations
    late_labels: tuple[LateLabel, ...]
    odd_labels: tuple[Oddity, ...]  # packed all the same
    left_out: tuple[str, ...]  # games of the tree that no packed split names
    files_left_out: tuple[LeftOut, ...]  # of the packed games
    warnings: tuple[str, ...]  # what looks wrong and can be packed all the same


def plan_pack(
    games: Path,
    *,
    splits: Path | None = None,
    only_splits: Sequence[str] | None = None,
    slack_s: float = 5.0,
    rate_hz: float | None = None,
    stream_rates_hz: Mapping[str, float] | None = None,
    method: str | None = None,
    stream_methods: Mapping[str, str] | None = None,
    actions: Sequence[str] = ACTIONS,
    streams: Sequence[str] | None = None,
) -> PackPlan:
    """Check the headers, labels and splits of a season, reading no embeddings and writing nothing.

    Args:
        games: SoccerNet tree.
        splits: Split file; None for `splits.json` in `games`.
        only_splits: Splits to pack; None for all.
        slack_s: Seconds by which the streams of a half may differ in length, and by which an
            annotation may lie past the end of its half.
        rate_hz: Rows per second of the store and of every file; None for 1, and for what is known
            of public streams.
        stream_rates_hz: Rows per second of the files of some streams.
        method: How rows of another rate are brought to that of the store (`hmtas.store.rates`);
            None for what suits the rate.
        stream_methods: The same of some streams.
        actions: All labels that may occur, in their order.
        streams: Streams to pack; None for all that are found.

    Raises:
        InputError: All mistakes at once, the first five spelled out.
    """
    rates = Rates(
        plain_hz=rate_hz,
        by_stream_hz=stream_rates_hz or {},
        plain_method=method,
        method_by_stream=stream_methods or {},
    )
    if not (0 < rates.store_hz < inf and 0 <= slack_s < inf):
        raise InputError(
            "rate must be positive and slack not negative, both finite, got "
            f"{rates.store_hz:g} Hz and {slack_s:g} s"
        )
    dead: list[Path] = []
    found = frozenset(find_games(games, on_dead_link=dead.append))
    chosen = _choose_splits(games, splits, only_splits)
    wanted = [game for names in chosen.values() for game in names]
    left_out = sorted(found.difference(wanted))
    problems = _missing_games(games, chosen, found)
    present = [game for game in wanted if game in found]
    _check_streams(games, present, [*(streams or ()), *rates.named])
    labelled = tuple(game for game in present if (games / game / LABEL_FILE).is_file())
    problems += _missing_labels(games, chosen, set(present), set(labelled))

    halves: list[SourceHalf] = []
    events: dict[HalfId, Events] = {}
    late: list[LateLabel] = []
    odd: list[Oddity] = []
    # Links to nothing, where a game may have been; those inside a game are told with its files.
    places = [file.relative_to(games) for file in dead]
    files_left_out = [
        LeftOut(place.as_posix(), "a link to nothing; was its target moved?")
        for place in places
        if place.parent.as_posix() not in found
    ]
    for game in present:
        ignored = find_left_out(games, game, streams)
        files_left_out += ignored
        has_labels = game in labelled
        sources = _find_sources(
            games, game, streams, labelled=has_labels, ignored=ignored, problems=problems
        )
        sources = [at_rates(source, rates, problems) for source in sources]
        for source in sources:
            problems += check_lengths(source, rates.store_hz, slack_s)
        halves += sources
        if not has_labels:
            continue
        try:
            annotated = read_events(games, game, actions, on_oddity=odd.append)
        except InputError as error:
            problems.append(str(error))
            continue
        events |= {item.half: item for item in annotated.values()}
        for source in sources:
            late += late_labels(
                events[source.half],
                source,
                actions,
                problems,
                rate_hz=rates.store_hz,
                slack_s=slack_s,
            )
    widths = _check_widths(halves, problems)
    _refuse(problems, games)
    if not halves:
        raise InputError(f"{games}: no game to pack in splits {', '.join(chosen)}")
    return PackPlan(
        rate_hz=rates.store_hz,
        slack_s=slack_s,
        actions=tuple(actions),
        streams=widths,
        resampled=tuple(filter(None, map(rates.resampling, widths))),
        splits=chosen,
        halves=tuple(halves),
        events=events,
        labelled=labelled,
        late_labels=tuple(late),
        odd_labels=tuple(odd),
        left_out=tuple(left_out),
        files_left_out=tuple(files_left_out),
        warnings=warnings_of(halves, events, rates.store_hz),
    )


def _refuse(problems: Sequence[str], place: Path) -> None:
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        more = len(problems) - NUM_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        found = counted(len(problems), "problem")
        raise InputError(f"{place}: {found}: {join_problems(problems[:NUM_NAMED])}{rest}")


def _choose_splits(games: Path, splits: Path | None, only: Sequence[str] | None) -> Splits:
    file = splits or games / SPLIT_FILE
    if splits is None and not file.is_file():
        raise InputError(
            f"{file}: no split file; put one there or name it with --splits "
            '({"train": [game, ...], "valid": [...], "test": [...]})'
        )
    every = read_splits(file)
    unknown = sorted(set(only or ()) - set(every))
    if unknown:
        meant = did_you_mean(unknown[0], every)
        raise InputError(f"{file}: no split {unknown[0]!r}; it has {', '.join(every)}{meant}")
    return {name: every[name] for name in every if only is None or name in only}


def _check_streams(root: Path, games: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse streams that no half has: misspelt, as every half would lack them."""
    if not wanted:
        return
    halves = (HalfId(game, half) for game in games for half in HALVES)
    found = sorted({name for half in halves for name in streams_of(root, half)})
    unknown = [name for name in wanted if name not in found]
    if unknown and found:
        raise InputError(
            f"{root}: no half has stream {unknown[0]!r}{did_you_mean(unknown[0], found)}; found "
            f"are {', '.join(found)}"
        )


def _missing_games(root: Path, splits: Splits, found: Collection[str]) -> list[str]:
    problems = []
    for name, games in splits.items():
        missing = [game for game in games if game not in found]
        if missing:
            named = ", ".join(repr(game) for game in missing[:3])
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            causes = (_why_missing(root, game) for game in missing)
            cause = other_form(missing, found) or next(filter(None, causes), "")
            problems.append(
                f"split {name!r} names {len(missing)} of {len(games)} games that are not there: "
                f"{named}{more}; {cause or 'not downloaded, or misspelt?'} "
                "(--only-splits packs a part)"
            )
    return problems


def _why_missing(root: Path, game: str) -> str:
    """What stands where a game should be; '' if nothing does."""
    folder = root / game
    os.fsencode(folder)  # where the locale has no accents, that is what is wrong
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link to nothing"
    if folder.is_dir():
        next(folder.iterdir(), None)  # a folder that may not be read says so itself
        return f"{folder} has neither {LABEL_FILE} nor any {{1,2}}_<stream>.npy"
    return ""


def _missing_labels(
    root: Path, splits: Splits, present: Collection[str], labelled: Collection[str]
) -> list[str]:
    """Games of a labelled split without labels; a split of new matches has none at all."""
    problems = []
    for name, games in splits.items():
        labelled_split = name in LABELLED_SPLITS or any(game in labelled for game in games)
        if name != UNLABELLED_SPLIT and labelled_split:
            problems += [
                f"{game}: no {LABEL_FILE}, but split {name!r} has labels; "
                + (
                    "it is a link to nothing"
                    if (root / game / LABEL_FILE).is_symlink()
                    else "was it downloaded?"
                )
                + " (only a split named 'challenge' may mix)"
                for game in games
                if game in present and game not in labelled
            ]
    return problems


def _find_sources(
    root: Path,
    game: str,
    streams: Sequence[str] | None,
    *,
    labelled: bool,
    ignored: Sequence[LeftOut],
    problems: list[str],
) -> list[SourceHalf]:
    """Headers of both halves of a game; what is wrong is added to `problems`."""
    paths = {half: find_files(root, HalfId(game, half), streams) for half in HALVES}
    what = f"none of {', '.join(streams)}" if streams else "no embeddings"
    but = f"; {Path(ignored[0].file).name} is left out: {ignored[0].reason}" if ignored else ""
    if not any(paths.values()):
        has = "it has labels but " if labelled else ""
        problems.append(
            f"{game}: {has}{what} ({{1,2}}_<stream>.npy){but or '; were they extracted?'}"
        )
        return []
    sources = []
    for half, files in paths.items():
        if not files:
            problems.append(f"{HalfId(game, half)}: {what}{but or '; was its file lost?'}")
        headers: list[SourceFile] = []
        for path in files:
            try:
                headers.append(read_header(path, streams))
            except InputError as error:
                problems.append(str(error))
        names = Counter(block.stream for header in headers for block in header.blocks)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            problems.append(
                f"{HalfId(game, half)}: stream {twice[0]!r} comes from two files; remove one"
            )
        elif headers:
            sources.append(SourceHalf(HalfId(game, half), tuple(headers)))
    return sources


def _check_widths(halves: Iterable[SourceHalf], problems: list[str]) -> dict[str, int]:
    """The width that most files of each stream have, in the order of the store."""
    widths: dict[str, Counter[int]] = {}
    for source in halves:
        for name, width in source.widths.items():
            widths.setdefault(name, Counter())[width] += 1
    usual = {name: counts.most_common(1)[0][0] for name, counts in widths.items()}
    for source in halves:
        for file in source.files:
            problems += [
                f"{file.path}: stream {block.stream!r} is {block.width} wide here, but "
                f"{usual[block.stream]} in {widths[block.stream][usual[block.stream]]} other "
                f"halves; {why_another_width(file.num_rows, block.width, usual[block.stream])}"
                for block in file.blocks
                if block.width != usual[block.stream]
            ]
    first = [name for name in BAIDU_BLOCKS if name in usual]
    return {name: usual[name] for name in [*first, *sorted(set(usual) - set(first))]}
