"""The paired part of `hmtas compare A B ...`: all on the same games, one against another."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from hmtas.errors import InputError
from hmtas.terminal.console import emit, progress, show

if TYPE_CHECKING:
    from hmtas.statistics.games import GameCounts

PICKED_ON = "valid"  # the split whose scores choose the best run


def compare_spots(
    paths: Sequence[Path],
    split: str | None,
    games: str | None,
    splits: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare folders or zips of spots, of which MLflow knows nothing, also with runs."""
    named = {str(path): path for path in paths}
    if len(named) < 2:
        raise InputError(
            f"{paths[0]}: there is nothing to compare it with; name two or more, "
            "or score it with `hmtas score`"
        )
    document = paired_document(named, split, {}, games=games, splits=splits)
    if as_json:
        emit({"paired": document})
    else:
        show_paired(document)


def paired_document(
    runs: Mapping[str, Path],
    split: str | None,
    valid_tight: Mapping[str, float],
    *,
    games: str | None = None,
    splits: Path | None = None,
) -> dict[str, Any]:
    """Compare runs on the same games by their stored probabilities, tight Average-mAP.

    Two runs are compared with each other, the first minus the second; more are each compared with
    the best by validation.

    Args:
        runs: Two or more run folders, or folders or zips of spots, by the name to show.
        split: Whose games; None takes all games of the spots.
        valid_tight: Validation score by name, for another split than the validation one.
        games: Where the labels are, see `hmtas score`; needed for spots.
        splits: Split file, see there.

    Returns:
        Of JSON types; differences and scores are shares of 1.

    Raises:
        InputError: If a run cannot be scored on these games as the others are.
    """
    from hmtas.statistics.games import check_paired
    from hmtas.statistics.intervals import LEVEL, resample
    from hmtas.statistics.verdicts import MOST_GAMES, POWER, compare_to
    from hmtas.statistics.winner import corrected_winner

    names = list(runs)
    with progress("Comparing", 2 * len(names)) as advance:
        models, cross_fitted = [], []
        for path in runs.values():
            counts, fitted_here = _count(path, split, games, splits)
            models.append(counts)
            cross_fitted.append(fitted_here)
            advance()
        check_paired(models, [str(path) for path in runs.values()])
        resampled = resample(models, on_model=advance)
    picked = split in (PICKED_ON, None)
    if len(names) == 2:
        reference = 1
    elif picked:
        reference = int(resampled.scores.argmax())
    else:
        reference = names.index(_best(valid_tight, names))
    compared = compare_to(resampled, reference, picked=picked)
    winner = corrected_winner(models) if picked else None
    return {
        "split": split,
        "num_games": resampled.num_games,
        "reference": names[reference],
        "level": LEVEL,
        "power": POWER,
        "most_games": MOST_GAMES,
        "runs": [
            {
                "name": name,
                "run_dir": str(runs[name]),
                "tight": float(resampled.scores[m]),
                "cross_fitted": cross_fitted[m],
                "against_reference": None if m == reference else asdict(compared[m]),
            }
            for m, name in enumerate(names)
        ],
        "winner": winner
        and {
            "name": names[winner.candidate],
            "num_candidates": len(names),
            "tight": winner.score,
            "corrected": winner.corrected,
        },
    }


def _count(
    path: Path, split: str | None, place: str | None, splits: Path | None
) -> "tuple[GameCounts, bool]":
    """What the metric counts of a run, and were its windows or weights fitted on these games?"""
    from hmtas.scoring.inputs import choose_games, load

    found, labels = load(path, place, split)
    games = choose_games(path, found, labels, split, splits)
    counts = found.only(games).counts(labels.events(games, found.actions))
    return counts, found.cross_fitted


def _best(valid_tight: Mapping[str, float], names: Sequence[str]) -> str:
    scored = [name for name in names if name in valid_tight]
    if not scored:
        raise InputError(
            "no run has a validation score, so there is none to compare the others with; "
            "run `hmtas score RUN --split valid`, or name two runs"
        )
    return max(scored, key=lambda name: valid_tight[name])


def show_paired(document: Mapping[str, Any]) -> None:
    """The table and its sentences on stdout."""
    of_split = f" of {document['split']}" if document["split"] else ""
    typer.echo(
        f"The same {document['num_games']} games{of_split}: tight Average-mAP in %, "
        f"and the difference from {document['reference']} in points"
    )
    show(_table(document))
    for line in _sentences(document):
        typer.echo(line)


def _table(document: Mapping[str, Any]) -> Table:
    """The runs, each against the reference."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("name", overflow="fold", min_width=12)
    for header in ("tight", "difference"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("95 %", no_wrap=True, style="dim")
    table.add_column("verdict", no_wrap=True)
    table.add_column("games needed", justify="right", no_wrap=True)
    for row in sorted(document["runs"], key=lambda row: -row["tight"]):
        tight = f"{100 * row['tight']:.2f}{'*' if row['cross_fitted'] else ' '}"
        found = row["against_reference"]
        cells = [row["name"], tight, "-", "", "", ""]
        if found is not None:
            cells[2:] = [
                f"{100 * found['difference']:+.2f}",
                f"{100 * found['low']:+.2f} to {100 * found['high']:+.2f}",
                found["verdict"],
                _number(found["games_needed"], document["most_games"]),
            ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _sentences(document: Mapping[str, Any]) -> list[str]:
    """What the table says, and what it assumes."""
    against = [row for row in document["runs"] if row["against_reference"] is not None]
    lines = []
    if len(against) == 1:
        lines.append(_of_two(document, against[0]))
    else:
        lines.append(
            f"The {len(against)} intervals hold together at 95 %: they are corrected for their "
            "number (max-T over resampled games"
            + (", whichever run is the best)." if document["winner"] else ").")
        )
    lines.append(
        "Games needed: to tell a difference of the size seen, if it is the true one, with "
        f"{100 * document['power']:.0f} % probability."
    )
    winner = document["winner"]
    if winner:
        lines.append(
            f"{winner['name']}: best of {winner['num_candidates']} at "
            f"{100 * winner['tight']:.2f}, corrected for having been picked: "
            f"{100 * winner['corrected']:.2f}."
        )
    return lines


def _of_two(document: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    verdict = {
        "better": f"{row['name']} is better than {document['reference']}.",
        "worse": f"{row['name']} is worse than {document['reference']}.",
        "cannot tell": f"{document['num_games']} games cannot tell {row['name']} from "
        f"{document['reference']}.",
    }
    return f"Verdict: {verdict[row['against_reference']['verdict']]}"


def _number(games_needed: int | None, most_games: int) -> str:
    return f"> {most_games:,}" if games_needed is None else f"{games_needed:,}"
