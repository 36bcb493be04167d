"""What can be scored, of any kind, with its labels, of any kind: runs, probabilities, spots."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hmtas.config import SpottingConfig
from hmtas.errors import InputError, did_you_mean
from hmtas.formats.actions import Naming
from hmtas.formats.labels import AS_LABELLED, LabelSource, Oddity, to_events
from hmtas.formats.predictions import is_file_of_spots, read_spots
from hmtas.formats.recognise import LabelOptions, open_labels
from hmtas.formats.splits import SPLIT_FILE, read_splits
from hmtas.formats.submission import holds_spots
from hmtas.packing.classes import choose_actions
from hmtas.records import Events, HalfId
from hmtas.runs.probabilities import read_probabilities
from hmtas.runs.record import RECORD, predicted_splits, predictions_path
from hmtas.scoring.games import check_complete, check_events, check_parts, how_to_predict
from hmtas.scoring.run import Spotted, spot_stored, windows_of
from hmtas.spotting.spots import FittedWindows, read_windows
from hmtas.store.index import INDEX_FILE
from hmtas.store.local import EmbeddingStore
from hmtas.store.recorded import open_recorded
from hmtas.store.remote import is_remote, open_store
from hmtas.terminal.text import counted


def is_run(path: Path) -> bool:
    """Is this a run folder?"""
    return (path / RECORD).is_file()


def has_probabilities(path: Path) -> bool:
    """Is this a run folder or a file of stored probabilities?"""
    return is_run(path) or path.suffix.lower() == ".arrow"


def is_spots(path: Path) -> bool:
    """Is this a submission or a file of probabilities, which MLflow cannot know?"""
    return not is_run(path) and (
        path.suffix.lower() == ".arrow" or is_file_of_spots(path) or holds_spots(path)
    )


def load_probabilities(path: Path, split: str | None, windows: Path | None) -> Spotted:
    """Spots of a run's split, or of one file, under the windows that apply.

    Those are the ones given, else those in the run folder, else those of the run's configuration,
    else the thesis's, with 9 s for actions that it does not know.

    Raises:
        InputError: If there are none, or none of a game.
    """
    applied: SpottingConfig | FittedWindows = SpottingConfig()
    if windows is not None:
        applied = read_windows(windows)
    elif is_run(path):
        applied = windows_of(path)
    file = _predictions_of(path, split) if is_run(path) else path
    stored = read_probabilities(file)
    if not stored.halves:
        raise InputError(f"{file}: holds no game; had split {stored.provenance.split!r} none?")
    return spot_stored(stored, applied)


class Reading(NamedTuple):
    """How label files and predictions are read, where there is no store that knows."""

    labels: LabelOptions = LabelOptions()
    naming: Naming = AS_LABELLED
    actions: Sequence[str] | None = (
        None  # "labels", or None for those of the format, or of the labels
    )


AS_THEY_ARE = Reading()


def load(
    path: Path,
    *,
    games: str | None,
    split: str | None,
    splits: Path | None,
    windows: Path | None = None,
    reading: Reading = AS_THEY_ARE,
) -> tuple[Spotted, dict[HalfId, Events]]:
    """The spots of the games to score, and their annotations.

    Args:
        path: A run folder, a file of stored probabilities, or predictions of any format.
        games: Where the labels are; predictions need it.
        split: Whose games, and that of a run; all games of the predictions unless given.
        splits: Split file; that of the store or of `games` unless given.
        windows: See `load_probabilities`.
        reading: How labels and predictions are read.

    Raises:
        InputError: If there is nothing to score, a game lacks spots or labels, or none of the
            labels has an event.
    """
    notes: list[str] = []
    if has_probabilities(path):
        found = load_probabilities(path, split, windows)
        made_on = found.provenance
        assert made_on is not None
        if games is None:
            store = open_recorded(
                path, made_on.store, made_on.store_checksum, other_data=True, option="--games"
            )
            labels = _Labels.of(store, reading)
        else:
            labels = _Labels.open(games, reading)
    elif windows is not None:
        raise InputError(f"{path}: these are spots already; --windows is for probabilities")
    elif not path.exists():
        raise InputError(f"{path}: no such run, file or folder of spots; misspelt?")
    elif games is None:
        raise InputError(f"{path}: spots do not say where their labels are; add --games")
    else:
        labels = _Labels.open(games, reading)
        spots = read_spots(
            path,
            labels.actions,
            games=labels.all_games,
            naming=labels.naming,
            options=reading.labels,
            on_note=notes.append,
        )
        found = Spotted(spots=spots, actions=labels.actions)
    name = split or found.split
    of_split = None if name is None else labels.games(name, splits)
    if of_split is None and split not in (None, found.split):
        raise InputError(
            f"{path}: which games are split {split!r}? Add --splits FILE, or put a splits.json "
            f"into {labels.place}"
        )
    chosen = found.games if of_split is None else sorted(of_split)
    check_complete(str(path), found.games, labels.labelled(chosen), chosen)
    odd: list[Oddity] = []
    events = labels.events(chosen, found.actions, odd.append)
    check_events(str(path), events)
    scored = found.only(chosen)
    check_parts(str(path), scored.spots, events)
    notes += [
        f"{labels.place}/{one.game}: {counted(one.num_labels, 'label')}: {one.what}" for one in odd
    ]
    return replace(scored, by_team=labels.naming.by_team, notes=tuple(notes)), events


def _predictions_of(run: Path, split: str | None) -> Path:
    stored = predicted_splits(run)
    if split is None and len(stored) > 1:
        raise InputError(f"{run}: has predictions of {', '.join(stored)}; choose one with --split")
    if not stored or (split is not None and split not in stored):
        raise InputError(
            f"{run}: no predictions{f' of split {split!r}' if split else ''}, "
            f"{'only of ' + ', '.join(stored) if stored else 'nor of any other'}; "
            f"{how_to_predict(run, split or 'valid')}"
        )
    return predictions_path(run, split or stored[0])


@dataclass(frozen=True)
class _Labels:
    """Annotations in label files or in a store."""

    place: str  # of the label files or the store
    store: EmbeddingStore | None  # open, if it is one
    source: LabelSource | None = None  # if it is none
    reading: Reading = AS_THEY_ARE

    @classmethod
    def open(cls, place: str, reading: Reading) -> "_Labels":
        """Open a store, or label files of any format."""
        if is_remote(place) or (Path(place) / INDEX_FILE).is_file():
            return cls.of(open_store(place), reading)
        if not Path(place).exists():
            raise InputError(f"{place}: no such folder of games, and no store")
        return cls(place, None, open_labels(Path(place), reading.labels), reading)

    @classmethod
    def of(cls, store: EmbeddingStore, reading: Reading) -> "_Labels":
        """Those of a store, which knows no other times than positions, and no other names."""
        if reading.labels.times == "game_time":
            raise InputError(
                f"{store.place}: a store keeps the position of a label, not its gameTime; "
                "name the tree of label files with --games, or leave --label-times out"
            )
        return cls(store.place, store, None, reading)

    @property
    def naming(self) -> Naming:
        """How labels become actions: by team too if the store was packed so."""
        origin = None if self.store is None else self.store.index.origin
        asked = self.reading.naming
        return replace(asked, by_team=asked.by_team or (origin is not None and origin.by_team))

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """The store's actions, those asked for, those of the format, or those of the labels."""
        if self.store is not None:
            return self.store.actions
        assert self.source is not None
        asked = self.reading.actions
        listed = self.source.actions if asked is None else asked
        if listed and not isinstance(listed, str) and not self.reading.naming.by_team:
            return tuple(listed)
        labels = {
            game: self.source.read(game)
            for game in self.source.games
            if self.source.is_labelled(game)
        }
        naming = self.reading.naming
        return choose_actions(asked, self.source, labels, naming, fitted_on=labels).names

    @property
    def all_games(self) -> Collection[str]:
        """Every game."""
        if self.store is not None:
            return [game for games in self.store.splits.values() for game in games]
        assert self.source is not None
        return self.source.games

    def games(self, split: str, splits: Path | None) -> tuple[str, ...] | None:
        """Games of a split by a split file, or else by the store or the label files.

        Returns:
            None where nothing says which games those are.
        """
        if splits is None and self.store is not None:
            return self.store.games(split)
        file = Path(self.place) / SPLIT_FILE if splits is None else splits
        if splits is not None or file.is_file():
            known = read_splits(file)
        elif self.source is not None and self.source.splits is not None:
            known = self.source.splits
        else:
            return None
        if split not in known:
            meant = did_you_mean(split, known)
            raise InputError(f"{file}: no split {split!r}; it has {', '.join(known)}{meant}")
        return known[split]

    def labelled(self, games: Sequence[str]) -> Collection[str]:
        """Those of some games that are annotated; where one is not, all that are."""
        if self.store is not None:
            return self.store.index.labelled_games
        assert self.source is not None
        here = [game for game in games if self.source.is_labelled(game)]
        return here if len(here) == len(games) else self.source.games

    def events(
        self,
        games: Sequence[str],
        actions: tuple[str, ...],
        on_oddity: Callable[[Oddity], None],
    ) -> dict[HalfId, Events]:
        """Annotations of the halves of some games, their actions indexed by `actions`."""
        if self.store is None:
            assert self.source is not None
            events: dict[HalfId, Events] = {}
            for game in games:
                found = self.source.read(game)
                for oddity in found.oddities:
                    on_oddity(oddity)
                of_halves = to_events(game, found.labels, actions, self.reading.naming)
                events |= {item.half: item for item in of_halves.values()}
            return events
        if self.store.actions != actions:
            raise InputError(
                f"{self.place}: its {len(self.store.actions)} actions are not the {len(actions)} "
                "that were predicted; is it another store?"
            )
        return self.store.events_of(games)
