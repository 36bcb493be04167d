"""`hmtas ensemble select`: the best combination of some models, or the best single one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ensemble.commands.options import Combiners, FittedSplit, Folds, LabelStore, Seed
from hmtas.commands.options import Experiment, Json
from hmtas.errors import InputError
from hmtas.files import is_free, read_json, write_json
from hmtas.place import check_folder
from hmtas.terminal.console import emit, progress, say, show
from hmtas.terminal.text import counted
from hmtas.validation import read_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ensemble.build.plan import Plan
    from ensemble.combiner import Combiner
    from ensemble.selection.choose import Selection
    from ensemble.selection.diversity import Diversity
    from ensemble.selection.record import SelectionRecord

DOCUMENT, PICTURE = "selection.json", "selection.png"
SELECTED, SINGLE = "selected", "single"  # run folders below OUT
MOST_SHOWN = 12  # models whose errors are compared


def select(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders; or name an --experiment.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the result.")],
    experiment: Annotated[
        str | None,
        typer.Option(
            help="MLflow experiment whose models are the candidates, unless RUNs are named; "
            "the result is logged there."
        ),
    ] = None,
    filter_: Annotated[
        str, typer.Option("--filter", help="MLflow's filter, such as 'metrics.valid_tight > 0.05'.")
    ] = "",
    split: FittedSplit = "valid",
    combiners: Combiners = None,
    folds: Folds = 5,
    store: LabelStore = None,
    seed: Seed = 0,
    test: Annotated[
        bool, typer.Option("--test", help="Score the answer on the test split, once, at the end.")
    ] = False,
    allow_suspicious: Annotated[
        bool,
        typer.Option("--allow-suspicious", help="Use models whose input seems to hold the labels."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the best combination of models, or learn that the best single one is as good.

    Everything is fitted on some games and scored on others (nested cross-fitting over games): which
    model is the best, which take part, weights, networks, NMS windows. A combination takes the
    place of the single model only if the paired interval of their difference lies above 0; the
    intervals of all combiners hold together. What is claimed of the winner is corrected for having
    been picked.

    Writes OUT/selection.json, OUT/selection.png and the run folders OUT/selected and OUT/single,
    with cross-fitted probabilities and fitted windows, for `hmtas score`, `hmtas compare` and
    `hmtas ensemble promote`.

    Examples: `hmtas ensemble select --experiment sweep --out best`; `hmtas ensemble select
    sweep/trials/* --combiner mean --combiner greedy --out best --test`
    """
    from ensemble.build.members import stopped_on
    from ensemble.combiners.methods import USUAL, candidate_of, combiner_of
    from ensemble.selection.candidates import gather, read_candidates
    from ensemble.selection.mlflow import check_mlflow
    from ensemble.selection.picture import draw
    from ensemble.selection.record import CombinerRecord, DiversityRecord, SelectionRecord
    from ensemble.selection.table import answer, combiners_table, diversity_table
    from ensemble.selection.write import score_test
    from hmtas.scoring.games import TEST_SPLIT, refuse_test_split, refuse_unlabelled
    from hmtas.terminal.style import write_figure

    refuse_test_split(split)
    tried = {name: candidate_of(name, combiner_of(name, seed=seed)) for name in combiners or USUAL}
    check_folder(out)
    _check_out(out)
    found = gather(_runs(runs, experiment, filter_), split)
    in_mlflow = check_mlflow(out, found.runs, experiment)
    plan = read_candidates(found.runs, split, store=store, num_folds=folds, seed=seed)
    skipped = dict(found.skipped)
    skipped |= {str(run): f"the same model as {first}" for run, first in plan.copies.items()}
    _say_skipped(skipped, out)
    if test:
        # Refused now, not when all is fitted.
        refuse_unlabelled(plan.store.games(TEST_SPLIT), plan.store)
    for note in plan.evidence.stacked.notes:
        say(note)
    stopped = stopped_on(plan.members)
    for name, count in stopped.items():
        say(
            f"{name} chose its epoch on {count} of these {len(plan.evidence.games)} games: "
            "every score that it has a share in is flattered"
        )
    leaks = _look_for_leaks(plan, allowed=allow_suspicious)
    chosen, diversity = _select(plan, tried, out, seed)
    names, actions = plan.evidence.stacked.models, plan.evidence.stacked.actions
    record = SelectionRecord(
        split=split,
        num_games=len(plan.evidence.games),
        num_models=len(plan.members),
        num_folds=len(plan.folds),
        seed=seed,
        experiment=experiment,
        filter=filter_,
        skipped=skipped,
        stopped_on=stopped,
        suspicious=tuple(leaks),
        chosen=chosen.chosen,
        claimed=chosen.claimed,
        interval=chosen.interval,
        reason=chosen.reason,
        combiners=tuple(CombinerRecord.of(each, names) for each in chosen.ranked),
        diversity=DiversityRecord.of(diversity, actions),
    )
    write_json(out / DOCUMENT, record.model_dump(mode="json"))
    write_figure(draw(record), out / PICTURE)
    if test:
        single = SELECTED if record.chosen == SINGLE else SINGLE
        on_test = score_test(
            out / SELECTED,
            out / single,
            plan.store,
            on_run=lambda name: say(f"predicting test: {name}"),
        )
        record = record.model_copy(update={"test": on_test})
        write_json(out / DOCUMENT, record.model_dump(mode="json"))
    if as_json:
        emit(record.model_dump(mode="json"))
    else:
        show(combiners_table(record))
        if len(record.diversity.models) > 1:
            show(diversity_table(record.diversity))
        for line in answer(record):
            typer.echo(line)
        say(f"wrote {out / DOCUMENT}, {out / PICTURE} and the run folder {out / SELECTED}")
    if in_mlflow:
        _log(out, record, in_mlflow)


def sync(
    selection: Annotated[Path, typer.Argument(help="Folder that `select` wrote.")],
    experiment: Experiment,
    as_json: Json = False,
) -> None:
    """Log a selection to MLflow that could not be logged when it was made."""
    from ensemble.selection.record import SelectionRecord

    _log(selection, read_record(selection / DOCUMENT, SelectionRecord), experiment)
    if as_json:
        emit({"selection": str(selection), "experiment": experiment})
    else:
        say(f"MLflow has {selection}")


def _log(out: Path, record: "SelectionRecord", experiment: str) -> None:
    from ensemble.selection.mlflow import log_selection
    from hmtas.tracking.run import or_later

    folders = (SELECTED,) if record.chosen == SINGLE else (SELECTED, SINGLE)
    with or_later(out, ["hmtas", "ensemble", "sync", str(out), "--experiment", experiment]):
        log_selection(out, record, experiment, files=(DOCUMENT, PICTURE), folders=folders)


def _check_out(out: Path) -> None:
    if (out / DOCUMENT).is_file():
        before = read_json(out / DOCUMENT).get("test")
        if before:
            raise InputError(
                f"{out}: its answer was scored on the test split on {before['scored'][:10]}; a "
                "selection made after that score was seen is no honest one. Another --out makes "
                "it all the same, and its test score is not the first"
            )
    elif not is_free(out):
        raise InputError(f"{out}: holds something else than a selection; choose another --out")


def _runs(runs: list[Path] | None, experiment: str | None, filter_string: str) -> list[Path]:
    """Run folders as named, or those of an experiment."""
    if not runs and not experiment:
        raise InputError("name run folders, or an --experiment, to select from")
    if runs:
        if filter_string:
            raise InputError("--filter is for an --experiment; run folders are named one by one")
        return runs
    from hmtas.tracking.table import read_table

    assert experiment is not None
    found = [row for row in read_table(experiment, filter_string) if row.kind == "model"]
    if not found:
        raise InputError(f"experiment {experiment!r} has no model that fits {filter_string!r}")
    return list(dict.fromkeys(Path(row.run_dir) for row in found if row.run_dir))


def _say_skipped(skipped: "Mapping[str, str]", out: Path) -> None:
    for name, reason in list(skipped.items())[:3]:
        say(f"skipped {name}: {reason}")
    if len(skipped) > 3:
        say(f"skipped {len(skipped) - 3} more; {out / DOCUMENT} names them")


def _look_for_leaks(plan: "Plan", *, allowed: bool) -> list[str]:
    from ensemble.selection.candidates import find_leaks, refuse_leaks

    with progress("looking for leaks", None) as step:
        leaks = find_leaks(plan, on_game=step)
    if not allowed:
        refuse_leaks(leaks)
    for leak in leaks:
        say(f"suspicious: {leak}")
    return leaks


def _select(
    plan: "Plan", combiners: "Mapping[str, Combiner]", out: Path, seed: int
) -> "tuple[Selection, Diversity]":
    """Select, write the run folders, and see how much the models of interest err together."""
    from ensemble.combiners.shortlist import Single
    from ensemble.selection.choose import num_search_steps, search
    from ensemble.selection.diversity import error_correlations
    from ensemble.selection.nested import settings_to_try
    from ensemble.selection.write import write_selected

    evidence = plan.evidence
    names = evidence.stacked.models
    total = num_search_steps(combiners, len(names), len(plan.folds))
    with progress(f"selecting from {counted(len(names), 'model')}", total) as step:
        selection = search(
            evidence,
            combiners,
            plan.folds,
            settings_to_try(evidence.stacked.rate_hz),
            split=plan.split,
            seed=seed,
            on_step=step,
        )
    every = {SINGLE: Single(), **combiners}
    for folder, name in ((SELECTED, selection.chosen), (SINGLE, SINGLE)):
        shown = f"{SELECTED}: {name}" if folder == SELECTED else name
        nested = selection.of(name).nested
        write_selected(plan, nested, every[name], out / folder, name=shown)
    return selection, error_correlations(evidence, _of_interest(selection, len(names)))


def _of_interest(selection: "Selection", num_models: int) -> list[int]:
    """Models with the largest weights in the answer, then those that other combiners use."""
    order: dict[int, None] = {}
    ranked = sorted(selection.ranked, key=lambda each: each.nested.method != selection.chosen)
    for each in ranked:
        weights = each.nested.fitted.weights
        if weights is not None:
            weight_M = weights.reshape(num_models, -1).mean(axis=1)
            order |= {int(m): None for m in (-weight_M).argsort(kind="stable") if weight_M[m] > 0}
    return list(order)[:MOST_SHOWN]
