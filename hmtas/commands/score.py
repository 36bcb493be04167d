"""`hmtas spot` and `hmtas score`: from stored probabilities to spots, from spots to a score."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hmtas.commands.failures import Failures, check_readable
from hmtas.commands.label_options import (
    ActionList,
    ByTeam,
    LabelFormat,
    LabelFps,
    Renames,
    SpotAt,
    reading_of,
)
from hmtas.commands.metric_options import GridHz, ToleranceFrames, ToleranceS, chosen_metric
from hmtas.commands.options import Bootstrap, Json
from hmtas.errors import InputError
from hmtas.place import check_file, check_folder
from hmtas.terminal.console import emit, progress, say, show
from hmtas.terminal.table import Table
from hmtas.terminal.text import counted, interval, percent

if TYPE_CHECKING:
    from hmtas.scoring.run import Spotted
    from hmtas.scoring.score import MetricScore, SpotsScore

Windows = Annotated[
    Path | None,
    typer.Option(
        "--windows",
        metavar="FILE",
        help="NMS windows from `hmtas tune windows`; by default RUN/windows.json, else those of "
        "the run's configuration, else those of the thesis.",
    ),
]


def spot(
    probabilities: Annotated[
        Path, typer.Argument(help="A run folder, or one file of stored probabilities.")
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the spots, a submission ending in .zip, or one file of the format of "
            "the labels, ending in .json or .csv."
        ),
    ],
    split: Annotated[
        str | None, typer.Option(help="Needed if the run has predicted several splits.")
    ] = None,
    windows: Windows = None,
    as_json: Json = False,
) -> None:
    """Write spots: a `results_spotting.json` per game, as SoccerNet's evaluator reads them.

    Into a file that ends in .json or .csv they are written as the labels of the store are: OSL,
    lists of frames, segments or CSV.

    Examples: `hmtas spot runs/m7 --split test --out submission.zip`;
    `hmtas spot runs/tennis --split test --out predictions.json`
    """
    from hmtas.formats.predictions import ENDINGS, write_spots
    from hmtas.formats.submission import wants_zip, write_submission
    from hmtas.scoring.inputs import has_probabilities, load_probabilities
    from hmtas.scoring.targets import target_of

    if not has_probabilities(probabilities):
        raise InputError(
            f"{probabilities}: neither a run folder nor a file of stored probabilities (.arrow)"
        )
    in_one = out.suffix.lower() in ENDINGS
    check_file(out) if in_one or wants_zip(out) else check_folder(out, out.absolute().parent)
    found = load_probabilities(probabilities, split, windows)
    target = target_of(probabilities, found, needed=in_one)
    if in_one and target is not None:
        write_spots(out, found.spots, found.actions, target)
    else:
        by_team = target is not None and target.by_team
        write_submission(out, found.spots, found.actions, by_team=by_team)
    num_spots = sum(len(spots.time_s) for spots in found.spots.values())
    if as_json:
        emit(
            {
                "out": str(out),
                "split": found.split,
                "num_games": len(found.games),
                "num_spots": num_spots,
            }
        )
        return
    in_games = counted(len(found.games), "game")
    say(f"{out}: {counted(num_spots, 'spot')} in {in_games} of split {found.split!r}")


def score(
    spots: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|SPOTS",
            help="Run folders, files of stored probabilities, folders or zips of "
            "`results_spotting.json`, or predictions in one .json or .csv.",
        ),
    ],
    *,
    games: Annotated[
        str | None,
        typer.Option(
            help="Where the labels are: a store, or label files of any format that `hmtas pack` "
            "reads. By default the store that the probabilities were predicted on."
        ),
    ] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Split file; by default that of the store or GAMES.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Score the games of this split; by default all.")
    ] = None,
    windows: Windows = None,
    tolerance_s: ToleranceS = None,
    grid_hz: GridHz = None,
    tolerance_frames: ToleranceFrames = None,
    label_format: LabelFormat = None,
    actions: ActionList = None,
    rename: Renames = None,
    by_team: ByTeam = False,
    fps: LabelFps = None,
    spot_at: SpotAt = None,
    label_times: Annotated[
        Literal["position", "game_time"],
        typer.Option(
            help="What the time of a label in GAMES is: its position in milliseconds, as the "
            "evaluator takes it today, or its gameTime in whole seconds, as it did in 2021 (such "
            "a score is shown, not recorded in a run)."
        ),
    ] = "position",
    bootstrap: Bootstrap = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    as_json: Json = False,
) -> None:
    """Score spots with the official metric: Average-mAP, tight and loose, with 95 % intervals.

    The score of a run is also written to RUN/scores/SPLIT.json and, if it is tracked, to MLflow.
    On the split that a run's windows were fitted on, each game takes windows fitted without it.

    The metric of another task is shown and recorded beside tight and loose: mAP@1 of ball and team
    spotting with `--tolerance-s 1 --grid-hz 25`, E2E-Spot's with `--tolerance-frames 1 --fps 25`.

    Examples: `hmtas score runs/m7 --split valid`;
    `hmtas score submission.zip --games GAMES --split test`
    """
    from hmtas.metric.teams import team_pairs
    from hmtas.scoring.inputs import is_run, load
    from hmtas.scoring.score import score_spots, write_score
    from hmtas.tracking.note import tracked
    from hmtas.tracking.run import check_tracking, log_saved

    if splits is not None and split is None:
        raise InputError(f"--splits {splits} needs --split: which of its splits is to be scored?")
    # Those of label files need no tolerance.
    of_metric = fps if tolerance_frames is not None or games is None else None
    chosen = chosen_metric(tolerance_s, grid_hz, tolerance_frames, of_metric)
    # Scores under the times of 2021 are not comparable, and not kept.
    runs = [path for path in spots if is_run(path)] if label_times == "position" else []
    reading = reading_of(
        label_format=label_format,
        fps=fps,
        spot_at=spot_at,
        rename=rename,
        by_team=by_team,
        actions=actions,
        label_times=label_times,
    )
    failures, inputs = Failures(len(spots)), []
    for path in spots:
        with failures.of(path):
            if path in runs:
                check_readable(path)
                check_folder(path / "scores")
            loaded = load(path, games=games, split=split, splits=splits, windows=windows,
                          reading=reading)  # fmt: skip
            pairs = team_pairs(loaded[0].actions, str(path)) if loaded[0].by_team else None
            inputs.append((path, *loaded, pairs))
    if not inputs:
        failures.tell()
    check_tracking(tracked(path for path, *_ in inputs if path in runs))
    scores: dict[str, SpotsScore] = {}
    with progress("Scoring", len(inputs)) as advance:
        for path, found, events, pairs in inputs:
            scores[str(path)] = score_spots(found.spots, events, found.actions, bootstrap=bootstrap,
                                            seed=seed, chosen=chosen, pairs=pairs)  # fmt: skip
            advance()
    for path, found, *_ in inputs:
        _warn_of_fitted_games(path, found)
        if path in runs:
            with failures.of(path):
                write_score(path, found.run_score(scores[str(path)]))
    notes = {str(path): found.notes for path, found, *_ in inputs if found.notes}
    for note in dict.fromkeys(note for several in notes.values() for note in several):
        say(f"note: {note}")
    if as_json:
        documents = {
            name: score.model_dump(mode="json")
            | ({"notes": list(notes[name])} if name in notes else {})
            for name, score in scores.items()
        }
        emit(documents if len(spots) > 1 else next(iter(documents.values())))
    else:
        for name, score in scores.items():
            _show_score(name, score)
        if len(scores) > 1:
            show(_summary_table(scores))
    log_saved(tracked(path for path, *_ in inputs if path in runs))
    failures.tell()


def _warn_of_fitted_games(path: Path, found: "Spotted") -> None:
    if found.provenance is None or found.provenance.cross_fitted:
        return
    seen = set(found.games) & set(found.provenance.fitted_games)
    if seen:
        say(
            f"note: {path} was fitted on {counted(len(seen), 'game')} of the {len(found.games)} "
            "scored; "
            "its score on new games will be lower"
        )


def _show_score(name: str, score: "SpotsScore") -> None:
    """The totals with their intervals, then every action, then every tolerance."""
    num_events = counted(sum(score.num_events.values()), "event")
    typer.echo(f"{name}  {counted(score.num_games, 'game')}, {num_events}, in percent")
    metrics = _metrics_of(score)
    by_team = score.tight.team_map is not None
    totals = [
        (metric, percent(found.average_map), interval(found.interval),
         percent(found.visible), percent(found.unshown),
         *([percent(found.team_map)] if by_team else []))
        for metric, found in metrics.items()
    ]  # fmt: skip
    heads = ("Average-mAP", "all", "95 %", "visible", "unshown", *(["by team"] if by_team else []))
    show(Table(heads=heads, rows=tuple(totals)))
    actions = [
        (action, f"{number:,}", *(percent(m.per_action[action]) for m in metrics.values()))
        for action, number in score.num_events.items()
    ]
    absent = frozenset(n for n, number in enumerate(score.num_events.values()) if not number)
    show(Table(heads=("action", "events", *metrics), rows=tuple(actions), faint=absent))
    for metric, found in metrics.items():  # lines short enough for 80 columns
        if len(found.per_tolerance) == 1:
            continue
        unit = "seconds"
        if score.chosen is found:
            unit = score.chosen.metric.unit
        widths = (f"{width}: {percent(value, 1)}" for width, value in found.per_tolerance.items())
        typer.echo(f"{metric} by {unit}  {'  '.join(widths)}")
    typer.echo()


def _metrics_of(score: "SpotsScore") -> "dict[str, MetricScore]":
    """Tight, loose and the chosen metric, if any, by what tables call them."""
    metrics: dict[str, MetricScore] = {"tight": score.tight, "loose": score.loose}
    if score.chosen is not None:
        metrics[score.chosen.metric.title] = score.chosen
    return metrics


def _summary_table(scores: "Mapping[str, SpotsScore]") -> Table:
    """Several scores side by side, the best tight Average-mAP first."""
    rows, heads = [], [""]
    for name, score in sorted(scores.items(), key=lambda item: -item[1].tight.average_map):
        row, heads = [name], [""]
        for metric, found in _metrics_of(score).items():
            row += [percent(found.average_map), interval(found.interval)]
            heads += [metric, "95 %"]
        rows.append(tuple(row))
    return Table(heads=tuple(heads), rows=tuple(rows))
