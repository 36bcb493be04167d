"""Timed transcripts of a tree of games to per-second embeddings beside them.

GAMES/<game>/{1,2}_asr.json become OUT/<game>/{1,2}_<stream>.npy, float16 (T, F): the streams of
`hmtas.embed.encoder` and `clock`. `commentary.json` in each game's folder is written last and
says what the game was embedded from, so that a second run skips what is done.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, RootModel

from hmtas.embed.clock import clock_features
from hmtas.embed.encoder import SAID_S, VERSION, Encoder, fit_encoder, load_encoder, save_encoder
from hmtas.embed.transcripts import SpokenWords, Transcript, count_words, read_transcript
from hmtas.errors import InputError
from hmtas.files import atomic_path, read_json, sha256_file, sha256_json, write_json
from hmtas.formats.actions import ACTIONS
from hmtas.formats.labels import HALVES
from hmtas.formats.soccernet import LABEL_FILE, find_games, read_events
from hmtas.formats.splits import SPLIT_FILE, other_form, read_splits
from hmtas.records import Events, HalfId
from hmtas.validation import read_record

ENCODER_FILE = "commentary.encoder.safetensors"
HALF_SECONDS_FILE = "half_seconds.json"
DONE_FILE = "commentary.json"
WORD_STREAMS = (*SAID_S, "word_actions")
MAX_HALF_S = 7200.0  # the official metric looks no further


class Length(NamedTuple):
    """Rows of a half, and whether its end is known or only guessed."""

    num_rows: int
    known: bool


@dataclass(kw_only=True)
class EmbedReport:
    """What `embed_games` did."""

    num_games: int = 0  # embedded now
    num_kept: int = 0  # there already
    encoder: str = ""  # its path
    fitted_games: int = 0  # train games that it was fitted on
    refitted: bool = False  # was it fitted now?
    no_transcript: list[str] = field(default_factory=list)  # halves with only a `clock` stream
    no_length: list[str] = field(default_factory=list)  # halves with no stream at all
    skipped_segments: Counter[str] = field(default_factory=Counter)  # left out, by reason


def find_transcribed(root: Path) -> list[str]:
    """List the games below `root`: every folder with a transcript or with labels.

    Raises:
        InputError: If there are none.
    """
    games = find_games(root, "[12]_asr.json")
    if not games:
        raise InputError(
            f"{root}: no game here, neither a {{1,2}}_asr.json nor a {LABEL_FILE}; "
            "is this the folder above the leagues?"
        )
    return games


_Seconds = Annotated[float, Field(strict=True, gt=0, le=MAX_HALF_S)]


class _HalfSeconds(RootModel[dict[str, dict[Literal["1", "2"], _Seconds]]]):
    """The content of half_seconds.json."""


def read_half_seconds(path: Path) -> dict[HalfId, float]:
    """Read `{game: {"1": seconds, "2": seconds}}`.

    Raises:
        InputError: If it has another shape, or a length is not in (0, 7200] s.
    """
    cause = 'lengths read {game: {"1": seconds, "2": seconds}}'
    lengths = read_record(path, _HalfSeconds, cause=cause).root
    return {
        HalfId(game, int(half)): seconds
        for game, halves in lengths.items()
        for half, seconds in halves.items()
    }


class CommentarySource:
    """The input tree; it keeps what is read twice."""

    def __init__(self, root: Path, half_seconds: Mapping[HalfId, float]) -> None:
        self.root = root
        self.half_seconds = half_seconds
        self.skipped: dict[HalfId, dict[str, int]] = {}
        self._said: dict[HalfId, SpokenWords] = {}

    def transcript_path(self, half: HalfId) -> Path:
        """Where the transcript of a half lies, if it has one."""
        return self.root / half.game / f"{half.half}_asr.json"

    def events(self, half: HalfId) -> Events:
        """Annotations; none where the game has no labels."""
        if not (self.root / half.game / LABEL_FILE).is_file():
            return Events.empty(half)
        return read_events(self.root, half.game)[half.half]

    def read(self, half: HalfId, *, keep: bool = False) -> tuple[Length | None, SpokenWords | None]:
        """Length of a half and what was said in it; None for what is not known."""
        if half in self._said:
            said = self._said.pop(half)
            return Length(len(said.num_words), half in self.half_seconds), said
        path = self.transcript_path(half)
        transcript = read_transcript(path) if path.is_file() else Transcript((), {})
        self.skipped[half] = transcript.skipped
        length = self._length(half, transcript)
        # An empty transcript says that the half was not transcribed, not that nobody spoke.
        if length is None or not transcript.segments:
            return length, None
        said = count_words(transcript, length.num_rows)
        if keep:
            self._said[half] = said
        return length, said

    def _length(self, half: HalfId, transcript: Transcript) -> Length | None:
        """The length given; else to the last word or label. Second t.0 belongs to row t."""
        if half in self.half_seconds:
            return Length(int(self.half_seconds[half]) + 1, True)
        last_s = max([transcript.end_s, *self.events(half).time_s[-1:].tolist()])
        return Length(int(min(last_s, MAX_HALF_S)) + 1, False) if last_s > 0 else None

    def digest(self, game: str) -> dict[str, Any]:
        """What a game's embeddings and the fit depend on, except the encoder."""
        paths = [self.transcript_path(HalfId(game, half)) for half in HALVES]
        paths.append(self.root / game / LABEL_FILE)
        found = {path.name: sha256_file(path) for path in paths if path.is_file()}
        lengths = {str(half): self.half_seconds.get(HalfId(game, half)) for half in HALVES}
        return {"files": found, "half_seconds": lengths}


def embed_games(
    games: Path,
    *,
    out: Path | None = None,
    splits: Path | None = None,
    half_seconds: Path | None = None,
    encoder: Path | None = None,
    width: int = 64,
    on_game: Callable[[], None] = lambda: None,
) -> EmbedReport:
    """Embed the commentary of every game of a tree.

    Args:
        games: Tree with `{1,2}_asr.json`.
        out: Where the embeddings go; `games` if None. Labels, splits and lengths are copied.
        splits: Names the train games; `games`/splits.json if None. Not read with `encoder`.
        half_seconds: Lengths of the halves; `games`/half_seconds.json if None and there.
        encoder: Apply this one; if None one is fitted, and kept in `out`.
        width: Dimensions of each `said_*` stream, when fitting.
        on_game: Called after each game.

    Raises:
        InputError: If a file is malformed, or there is nothing to fit on.
    """
    out = games if out is None else out
    names = find_transcribed(games)
    if half_seconds is None and (games / HALF_SECONDS_FILE).is_file():
        half_seconds = games / HALF_SECONDS_FILE
    lengths = {} if half_seconds is None else read_half_seconds(half_seconds)
    without = set(names).difference(half.game for half in lengths)
    if twin := other_form(without, (half.game for half in lengths)):
        raise InputError(f"{half_seconds}: the length of a game is not there, but {twin}")
    source = CommentarySource(games, lengths)
    report = EmbedReport()
    if encoder is None:
        splits = games / SPLIT_FILE if splits is None else splits
        train = _train_games(splits, names)
        fitted = _fit_or_reuse(source, train, out / ENCODER_FILE, width=width, report=report)
    else:
        fitted = load_encoder(encoder)
        report.encoder = str(encoder)
    report.fitted_games = len(fitted.folds)
    for name in names:
        _embed_game(source, name, fitted, out=out, report=report)
        on_game()
    if out != games:
        _copy(splits, out / SPLIT_FILE)
        _copy(half_seconds, out / HALF_SECONDS_FILE)
    for reasons in source.skipped.values():
        report.skipped_segments.update(reasons)
    return report


def _train_games(splits: Path, present: list[str]) -> list[str]:
    """Train games that are in the tree, in the order of the split file."""
    listed = read_splits(splits).get("train", ())
    train = [game for game in listed if game in set(present)]
    if twin := other_form(set(listed).difference(train), present):
        raise InputError(f"{splits}: a train game is not in the tree, but {twin}")
    if not train:
        raise InputError(
            f"{splits}: none of its {len(listed)} games of split 'train' is in the tree; "
            "the encoder is fitted on train games (do the names match the folders?)"
        )
    return train


def _fit_or_reuse(
    source: CommentarySource, train: list[str], path: Path, *, width: int, report: EmbedReport
) -> Encoder:
    """The encoder at `path` if it was fitted on the same input, else a new one, written there."""
    digests = {game: source.digest(game) for game in train}
    digest = sha256_json({"version": VERSION, "width": width, "games": digests})
    report.encoder = str(path)
    if path.is_file():
        earlier = load_encoder(path)
        if earlier.fitted_on == digest:
            return earlier
    said, events = {}, {}
    for half in (HalfId(game, half) for game in train for half in HALVES):
        spoken = source.read(half, keep=True)[1]
        if spoken is not None:
            said[half], events[half] = spoken, source.events(half)
    if not said:
        raise InputError(
            f"{source.root}: none of the {len(train)} train games has a transcript; the encoder "
            "is fitted on train games (is another tree meant, or `--encoder`?)"
        )
    encoder = fit_encoder(said, events, ACTIONS, width=width, fitted_on=digest)
    save_encoder(path, encoder)
    report.refitted = True
    return encoder


def _embed_game(
    source: CommentarySource, game: str, encoder: Encoder, *, out: Path, report: EmbedReport
) -> None:
    folder = out / game
    done: dict[str, Any] = {"encoder": encoder.checksum, "source": source.digest(game)}
    earlier = read_json(folder / DONE_FILE) if (folder / DONE_FILE).is_file() else None
    if (
        isinstance(earlier, dict)
        and done.items() <= earlier.items()
        and all((folder / name).is_file() for name in earlier["files"])
    ):
        report.num_kept += 1
        report.no_transcript += [f"{game}, half {half}" for half in earlier["no_transcript"]]
        return
    (folder / DONE_FILE).unlink(missing_ok=True)
    done |= {"files": [], "no_transcript": []}
    for half in (HalfId(game, half) for half in HALVES):
        length, said = source.read(half)
        for stream in (*WORD_STREAMS, "clock"):  # of an earlier encoder or transcript
            (folder / f"{half.half}_{stream}.npy").unlink(missing_ok=True)
        if said is None:
            report.no_transcript.append(str(half))
            done["no_transcript"].append(half.half)
        if length is None:
            report.no_length.append(str(half))
            continue
        streams = {} if said is None else encoder.embed(game, said.words)
        num_words = None if said is None else said.num_words
        streams["clock"] = clock_features(
            half.half, length.num_rows, num_words, end_known=length.known
        )
        for stream, rows in streams.items():
            name = f"{half.half}_{stream}.npy"
            with atomic_path(folder / name) as scratch, scratch.open("wb") as file:
                np.save(file, rows, allow_pickle=False)
            done["files"].append(name)
    if out != source.root:
        _copy(source.root / game / LABEL_FILE, folder / LABEL_FILE)
    write_json(folder / DONE_FILE, done)
    report.num_games += 1


def _copy(source: Path | None, target: Path) -> None:
    """Copy a small file, atomically, if there is one."""
    if source is not None and source.is_file():
        with atomic_path(target) as scratch:
            scratch.write_bytes(source.read_bytes())
