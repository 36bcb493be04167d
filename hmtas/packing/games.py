"""Which games are packed, by the splits, and which of them are missing or have no labels."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from hmtas.errors import InputError, did_you_mean
from hmtas.formats.labels import LabelSource
from hmtas.formats.splits import SPLIT_FILE, Splits, other_form, read_splits
from hmtas.packing.layout import LeftOut

UNLABELLED_SPLIT = "challenge"
LABELLED_SPLITS = ("train", "valid", "test")


def choose_splits(
    games: Path, splits: Path | None, only: Sequence[str] | None, source: LabelSource
) -> Splits:
    """The games of each split that is to be packed.

    Raises:
        InputError: If nothing says what the splits are, or one is asked for that is not there.
    """
    file = splits or games / SPLIT_FILE
    if splits is None and not file.is_file():
        if source.splits is None:
            raise InputError(
                f"{file}: no split file; put one there or name it with --splits "
                '({"train": [game, ...], "valid": [...], "test": [...]}, or a table: game,split)'
            )
        file, every = Path(source.place), source.splits
    else:
        every = read_splits(file)
    unknown = sorted(set(only or ()) - set(every))
    if unknown:
        meant = did_you_mean(unknown[0], every)
        raise InputError(f"{file}: no split {unknown[0]!r}; it has {', '.join(every)}{meant}")
    return {name: every[name] for name in every if only is None or name in only}


def missing_games(
    root: Path, splits: Splits, found: Collection[str], source: LabelSource
) -> list[str]:
    """Games that a split names and that are not there."""
    problems = []
    for name, games in splits.items():
        missing = [game for game in games if game not in found]
        if missing:
            named = ", ".join(repr(game) for game in missing[:3])
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            causes = (_why_missing(root, game, source) for game in missing)
            cause = other_form(missing, found) or next(filter(None, causes), "")
            problems.append(
                f"split {name!r} names {len(missing)} of {len(games)} games that are not there: "
                f"{named}{more}; {cause or 'not downloaded, or misspelt?'} "
                "(--only-splits packs a part)"
            )
    return problems


def _why_missing(root: Path, game: str, source: LabelSource) -> str:
    """What stands where a game should be; '' if nothing does."""
    if source.recordings:
        return f"{source.place} has games such as {source.games[0]!r}" if source.games else ""
    folder = root / game
    os.fsencode(folder)  # where the locale has no accents, that is what is wrong
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link to nothing"
    if folder.is_dir():
        next(folder.iterdir(), None)  # a folder that may not be read says so itself
        return f"{folder} has neither {source.label_file(game).name} nor any <half>_<stream>.npy"
    return ""


def missing_labels(
    splits: Splits, present: Collection[str], labelled: Collection[str], source: LabelSource
) -> list[str]:
    """Games of a labelled split without labels; a split of new matches has none at all."""
    problems = []
    for name, games in splits.items():
        labelled_split = name in LABELLED_SPLITS or any(game in labelled for game in games)
        if name != UNLABELLED_SPLIT and labelled_split:
            for game in games:
                if game in present and game not in labelled:
                    file = source.label_file(game)
                    cause = "it is a link to nothing" if file.is_symlink() else "was it downloaded?"
                    problems.append(
                        f"{game}: no {file.name}, but split {name!r} has labels; {cause} "
                        "(only a split named 'challenge' may mix)"
                    )
    return problems


def dead_links(games: Path, dead: Sequence[Path], known: Collection[str]) -> list[LeftOut]:
    """Links to nothing, where a game may have been; those in a game are told with its files."""
    places = [file.relative_to(games) for file in dead]
    return [
        LeftOut(place.as_posix(), "a link to nothing; was its target moved?")
        for place in places
        if place.parent.as_posix() not in known
    ]
