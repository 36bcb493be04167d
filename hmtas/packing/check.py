"""Checking a season before it is packed: everything that is cheap to look at, all at once.

Only headers, labels and splits are read; the embeddings themselves are checked while they are
packed (`hmtas.packing.sources`).
"""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path

from hmtas.errors import InputError, did_you_mean, join_problems
from hmtas.formats.actions import Naming
from hmtas.formats.embeddings import BAIDU_BLOCKS
from hmtas.formats.labels import AS_LABELLED, HALVES, GameLabels, LabelSource, Oddity, to_events
from hmtas.formats.recognise import LabelOptions, open_labels
from hmtas.formats.splits import Splits
from hmtas.packing.classes import Actions, choose_actions, unknown_labels
from hmtas.packing.doubts import warnings_of
from hmtas.packing.games import choose_splits, dead_links, missing_games, missing_labels
from hmtas.packing.layout import FoundFile, Layout, LeftOut
from hmtas.packing.lengths import LateLabel, check_duration, check_lengths, late_labels
from hmtas.packing.parts import Parts, season_parts
from hmtas.packing.rates import Rates, Resampling
from hmtas.packing.shapes import why_another_width
from hmtas.packing.sources import (
    SourceFile,
    SourceHalf,
    at_rates,
    find_left_out,
    names_in,
    read_header,
    some_of,
)
from hmtas.records import Events, HalfId
from hmtas.store.index import Origin
from hmtas.terminal.text import counted

NUM_NAMED = 5  # mistakes spelled out; the rest is counted
FEW_LABELS = 20  # a half without labels is odd where the other has more


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackPlan:
    """A season that was checked and can be packed."""

    rate_hz: float
    slack_s: float
    actions: Actions
    streams: dict[str, int]  # name to width, in the order of the store
    resampled: tuple[Resampling, ...]  # the streams of another rate
    splits: Splits
    halves: tuple[SourceHalf, ...]  # in the order of the splits
    events: dict[HalfId, Events]  # of every labelled half
    labelled: tuple[str, ...]  # games with annotations
    format: str  # of the labels
    origin: Origin | None  # what is needed to write predictions in that format
    late_labels: tuple[LateLabel, ...]
    odd_labels: tuple[Oddity, ...]  # packed all the same
    missing_halves: tuple[tuple[HalfId, int], ...]  # and how many labels they have
    left_out: tuple[str, ...]  # games of the tree that no packed split names
    files_left_out: tuple[LeftOut, ...]  # of the packed games
    warnings: tuple[str, ...]  # what looks wrong and can be packed all the same


def plan_pack(
    games: Path,
    *,
    features: Path | None = None,
    splits: Path | None = None,
    only_splits: Sequence[str] | None = None,
    slack_s: float = 5.0,
    rate_hz: float | None = None,
    stream_rates_hz: Mapping[str, float] | None = None,
    method: str | None = None,
    stream_methods: Mapping[str, str] | None = None,
    actions: Sequence[str] | None = None,
    streams: Sequence[str] | None = None,
    labels: LabelOptions | None = None,
    naming: Naming = AS_LABELLED,
    parts: Sequence[int] = (),
    allow_missing_halves: bool = False,
) -> PackPlan:
    """Check the headers, labels and splits of a season, reading no embeddings and writing nothing.

    Args:
        games: Folder of the labels, or a file that lists games.
        features: Folder of the embeddings; None if they lie with the labels.
        splits: Split file; None for `splits.json` in `games`, or what the label files say.
        only_splits: Splits to pack; None for all.
        slack_s: Seconds by which the streams of a half may differ in length, and by which an
            annotation may lie past the end of its half.
        rate_hz: Rows per second of the store and of every file; None for 1, and for what is known
            of public streams.
        stream_rates_hz: Rows per second of the files of some streams.
        method: How rows of another rate are brought to that of the store (`hmtas.packing.rates`);
            None for what suits the rate.
        stream_methods: The same of some streams.
        actions: All actions that may occur, in their order; None for those that the format or the
            label files list, else those of the labels of the train split; "labels" for the latter.
        streams: Streams to pack; None for all that are found.
        labels: How label files are read.
        naming: How labels become actions.
        parts: Parts of a game to pack beside halves 1 and 2 and those that labels know.
        allow_missing_halves: Pack the other halves of a game that lacks one.

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
    source = open_labels(games, labels or LabelOptions(), on_dead_link=dead.append)
    root = features or (games if games.is_dir() else games.parent)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder of embeddings (--features); misspelt?")
    layout = Layout(root, source)
    chosen = choose_splits(games, splits, only_splits, source)
    wanted = [game for names in chosen.values() for game in names]
    # New matches need not be in the label files.
    there = {game: layout.files_of(game) for game in wanted}
    known = frozenset(source.games).union(game for game, files in there.items() if files)
    tally = _Tally(problems=missing_games(root, chosen, known, source))
    present = [game for game in wanted if game in known]
    labelled = tuple(game for game in present if source.is_labelled(game))
    tally.problems += missing_labels(chosen, set(present), set(labelled), source)
    found = {game: there[game] for game in present}
    _check_streams(root, found.values(), [*(streams or ()), *rates.named])
    rates = dataclasses.replace(rates, listed_hz=_listed_rates(found, source, rates.by_stream_hz))

    annotated = _read_all(source, labelled, tally.problems)
    if labelled and not annotated:
        _refuse(tally.problems, games)
    train = [game for game in chosen.get("train", ()) if game in annotated]
    chosen_actions = choose_actions(
        actions, source, annotated, naming, fitted_on=train or list(annotated)
    )
    unknown = unknown_labels(chosen_actions.names, annotated, naming)
    tally.problems += unknown
    season = _Season(
        source=source,
        layout=layout,
        labels={} if unknown else annotated,
        naming=naming,
        actions=chosen_actions.names,
        streams=streams,
        parts=season_parts(
            found, ({label.half for label in one.labels} for one in annotated.values()), parts
        ),
        rates=rates,
        slack_s=slack_s,
        allow_missing_halves=allow_missing_halves,
    )
    tally.left_out += dead_links(games, dead, known)
    for game in present:
        _check_game(game, found[game], season, tally)
    tally.left_out += layout.strays(tally.used)
    widths = _check_widths(tally.halves, tally.problems)
    _refuse(tally.problems, games)
    if not tally.halves:
        raise InputError(f"{games}: no game to pack in splits {', '.join(chosen)}")
    merged = chosen_actions.doubt(tally.events.values())
    warnings = warnings_of(tally.halves, tally.events, rates.store_hz)
    halves = {item.half for item in tally.halves}
    return PackPlan(
        rate_hz=rates.store_hz,
        slack_s=slack_s,
        actions=chosen_actions,
        streams=widths,
        resampled=tuple(filter(None, map(rates.resampling, widths))),
        splits=chosen,
        halves=tuple(tally.halves),
        events=tally.events,
        labelled=labelled,
        format=source.format,
        origin=Origin.of(source, halves, by_team=naming.by_team),
        late_labels=tuple(tally.late),
        odd_labels=tuple(tally.odd),
        missing_halves=tuple(tally.missing),
        left_out=tuple(sorted(known.difference(wanted))),
        files_left_out=tuple(tally.left_out),
        warnings=(*warnings, *([merged] if merged else [])),
    )


def _listed_rates(
    found: Mapping[str, Mapping[int, Sequence[FoundFile]]],
    source: LabelSource,
    given: Collection[str],
) -> dict[str, float]:
    """The rates of streams that the label files say, but for those that options give.

    Raises:
        InputError: If they say several of one stream.
    """
    rates: dict[str, set[float]] = {}
    for half, recording in source.recordings.items():
        listed = dict(zip(recording.features, recording.rates_hz, strict=False))
        for file in found.get(half.game, {}).get(half.half, ()):
            if rate_hz := listed.get(file.key):
                rates.setdefault(file.stem, set()).add(rate_hz)
    for name, of_stream in rates.items():
        if len(of_stream) > 1 and name not in given:
            some = ", ".join(f"{rate_hz:g}" for rate_hz in sorted(of_stream))
            raise InputError(
                f"{source.place}: stream {name!r} has {some} rows a second by its label files, and "
                f"a stream has one rate; give it with --rate-hz {name}=HZ"
            )
    return {name: min(of_stream) for name, of_stream in rates.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Season:
    """What is known of a season before its games are looked at."""

    source: LabelSource
    layout: Layout
    labels: Mapping[str, GameLabels]
    naming: Naming
    actions: Sequence[str]
    streams: Sequence[str] | None
    parts: Parts
    rates: Rates
    slack_s: float
    allow_missing_halves: bool


@dataclasses.dataclass(kw_only=True)
class _Tally:
    """What was found in the games so far."""

    problems: list[str]
    halves: list[SourceHalf] = dataclasses.field(default_factory=list)
    events: dict[HalfId, Events] = dataclasses.field(default_factory=dict)
    late: list[LateLabel] = dataclasses.field(default_factory=list)
    odd: list[Oddity] = dataclasses.field(default_factory=list)
    missing: list[tuple[HalfId, int]] = dataclasses.field(default_factory=list)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)
    used: set[Path] = dataclasses.field(default_factory=set)


def _read_all(
    source: LabelSource, games: Iterable[str], problems: list[str]
) -> dict[str, GameLabels]:
    """The labels of games; what is wrong with some is added to `problems`."""
    found = {}
    for game in games:
        try:
            found[game] = source.read(game)
        except InputError as error:
            problems.append(str(error))
    return found


def _check_game(
    game: str, files: Mapping[int, Sequence[FoundFile]], season: _Season, tally: _Tally
) -> None:
    """Look at the labels and the headers of a game."""
    used = {file.path for of_half in files.values() for file in of_half}
    tally.used |= used
    ignored = find_left_out(season.layout.root, game, season.streams, used)
    tally.left_out += ignored
    parts: dict[int, list[FoundFile]] = {}
    for number, of_half in files.items():
        chosen = some_of(of_half, season.streams)
        if number in season.parts.known:
            parts[number] = chosen
            continue
        why = f"of part {number}, in which no game has a label; --parts {number} packs it"
        tally.left_out += [LeftOut(f"{game}/{file.path.name}", why) for file in chosen]
    events: dict[int, Events] = {}
    if game in season.labels:
        tally.odd += season.labels[game].oddities
        labels = season.labels[game].labels
        events = to_events(game, labels, season.actions, season.naming, sorted(parts))
    if not any(parts.values()):
        tally.problems.append(_no_embeddings(game, season, ignored))
        return
    needed = {half for half, item in events.items() if len(item.time_s)} | season.parts.usual
    for number in sorted({*parts, *needed}):
        half = HalfId(game, number)
        if not parts.get(number):
            tally.missing.append((half, len(events[number].time_s) if number in events else 0))
            if not season.allow_missing_halves:
                tally.problems.append(
                    f"{half}: {_what_lacks(game, season, ignored, 'was its file lost?')} "
                    "(--allow-missing-halves packs the others)"
                )
            continue
        source = _read_headers(half, parts[number], season, tally.problems)
        if source is None:
            continue
        source = at_rates(source, season.rates, tally.problems)
        tally.halves.append(source)
        store_hz = season.rates.store_hz
        tally.problems += check_lengths(source, store_hz, season.slack_s)
        if recording := season.source.recordings.get(half):
            duration_s = recording.duration_s
            tally.problems += check_duration(source, store_hz, season.slack_s, duration_s)
        if number in events:
            tally.events[half] = events[number]
            tally.late += late_labels(
                events[number],
                source,
                season.actions,
                tally.problems,
                rate_hz=store_hz,
                slack_s=season.slack_s,
            )
    tally.odd += _one_sided(game, {n: item for n, item in events.items() if parts.get(n)})


def _no_embeddings(game: str, season: _Season, ignored: Sequence[LeftOut]) -> str:
    has = "it has labels but " if season.source.is_labelled(game) else ""
    return f"{game}: {has}{_what_lacks(game, season, ignored, 'were they extracted?')}"


def _what_lacks(game: str, season: _Season, ignored: Sequence[LeftOut], cause: str) -> str:
    """What a half or game has no file of, and the likely cause."""
    what = f"none of {', '.join(season.streams)}" if season.streams else "no embeddings"
    absent = season.layout.absent(game)
    if absent:
        place = f"{season.source.place} names {absent[0]}, which is not below {season.layout.root}"
        return f"{what}; {place} (--features FOLDER)"
    if ignored:
        cause = f"{Path(ignored[0].file).name} is left out: {ignored[0].reason}"
    named = "<stream>/<video>.npy" if season.source.recordings else "<half>_<stream>.npy"
    return f"{what} ({named}); {cause}"


def _read_headers(
    half: HalfId, files: Sequence[FoundFile], season: _Season, problems: list[str]
) -> SourceHalf | None:
    """The files of a half; None if there is none to pack, and why is added to `problems`."""
    headers: list[SourceFile] = []
    for file in files:
        try:
            headers.append(read_header(file, season.streams))
        except InputError as error:
            problems.append(str(error))
    names = Counter(block.stream for header in headers for block in header.blocks)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        problems.append(f"{half}: stream {twice[0]!r} comes from two files; remove one")
    return SourceHalf(half, tuple(headers)) if headers and not twice else None


def _refuse(problems: Sequence[str], place: Path) -> None:
    if len(problems) == 1:
        raise InputError(problems[0])
    if problems:
        more = len(problems) - NUM_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        found = counted(len(problems), "problem")
        raise InputError(f"{place}: {found}: {join_problems(problems[:NUM_NAMED])}{rest}")


def _check_streams(
    root: Path, games: Iterable[Mapping[int, Sequence[FoundFile]]], wanted: Sequence[str]
) -> None:
    """Refuse streams that no half has: misspelt, as every half would lack them."""
    files = (file for halves in games for files in halves.values() for file in files)
    found = sorted({name for file in files for name in names_in(file.stem)})
    unknown = [name for name in wanted if name not in found]
    if unknown and found:
        raise InputError(
            f"{root}: no half has stream {unknown[0]!r}{did_you_mean(unknown[0], found)}; found "
            f"are {', '.join(found)}"
        )


def _one_sided(game: str, events: Mapping[int, Events]) -> list[Oddity]:
    """A half without a label, where another of the game has all of many."""
    number = {half: len(item.time_s) for half, item in events.items()}
    full = [half for half, count in number.items() if count]
    empty = [half for half in HALVES if number.get(half) == 0]
    if len(full) != 1 or not empty or number[full[0]] <= FEW_LABELS:
        return []
    what = f"no label in half {empty[0]}, all in half {full[0]}"
    return [Oddity(game, what, number[full[0]])]


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
