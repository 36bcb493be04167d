"""`hmtas tune`: search models, search NMS windows, look at a study."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtas.config import parse_settings
from hmtas.console import Json, StorePlace, emit, progress, say, show
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.presets import PRESETS, preset
from hmtas.runs import MLFLOW_NOTE
from tune.budget import MANY
from tune.options import FINAL_SEEDS, TOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from hmtas.store import EmbeddingStore
    from tune.record import StudyRecord
    from tune.space import Space

app = typer.Typer(
    no_args_is_help=True,
    help="Search L, gamma, class weights and NMS windows; look at a study.",
)

Study = Annotated[Path, typer.Argument(help="Folder of the study: DIR/NAME.")]


def model(
    store: StorePlace,
    name: Annotated[str, typer.Option(help="Name of the study.")],
    out: Annotated[Path, typer.Option(help="Where studies lie: writes DIR/NAME.")],
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Points to train; default: 16, or what fits into --hours."),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Hours the sweep may take, interruptions apart; what runs then is stopped. "
            "The same command with more hours goes on.",
        ),
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; default: as many as fit.")
    ] = None,
    cpus_per_trial: Annotated[
        int, typer.Option(min=1, help="CPUs of one trial, or of each of its workers.")
    ] = 1,
    gpus_per_trial: Annotated[
        float, typer.Option(min=0, help="GPUs of one trial, or of each of its workers.")
    ] = 0.0,
    workers_per_trial: Annotated[
        int,
        typer.Option(min=1, help="Processes that train one trial together, with Ray Train."),
    ] = 1,
    preset_name: Annotated[
        str, typer.Option("--preset", help=f"Where the search starts: {', '.join(PRESETS)}.")
    ] = "m7",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Hold a setting fixed: patience=5 ... (repeat)."),
    ] = None,
    space_file: Annotated[
        Path | None,
        typer.Option(
            "--space",
            help='JSON that changes the space: {"seq_len": {"low": 3, "high": 5}, '
            '"width": [64, 128], "gamma": 0.7}. A list is choices, a number is fixed. '
            "`hmtas tune space STORE --json` prints the whole space to edit.",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="Class weights: `rate` (a scale and a power of the inverse rate), `group` (a "
            "number for each group of actions), `per_action` (one for each), or `fixed`."
        ),
    ] = "rate",
    search_windows: Annotated[
        bool,
        typer.Option(
            "--search-windows",
            help="Search NMS windows and threshold in the same study. `hmtas tune windows` "
            "finds the best ones afterwards, without training.",
        ),
    ] = False,
    sampler: Annotated[
        str, typer.Option(help="Who proposes points: tpe, cmaes, gp or random.")
    ] = "tpe",
    objective: Annotated[
        str,
        typer.Option(
            help="What is maximised on the held-out games: `tight`, `loose`, or `both`, for the "
            "front of models that no other one beats in both."
        ),
    ] = "tight",
    pruner: Annotated[
        str,
        typer.Option(
            help="What stops a weak trial: `asha` (others at its epoch), `wilcoxon` (a test over "
            "games against the best), or `none`."
        ),
    ] = "asha",
    top: Annotated[
        int,
        typer.Option(
            min=0,
            help="So many of the best are trained again with fresh seeds and compared on --split.",
        ),
    ] = TOP,
    final_seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of each of them.")
    ] = FINAL_SEEDS,
    earlier: Annotated[
        Path | None,
        typer.Option("--from", help="An earlier study to learn from, also over another space."),
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of one trial.")] = None,
    grace_epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs before a trial may be stopped; default: a tenth."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the search and of every trial.")] = 0,
    split: Annotated[str, typer.Option(help="Split that every trial predicts.")] = "valid",
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster, or `auto`; default: start one here.")
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start Ray's dashboard with it.")
    ] = False,
    experiment: Annotated[str, typer.Option(help="MLflow experiment of the sweep.")] = "hmtas",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Remove the study of this name first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a sweep, or go on with the one of the same name (as `hmtas tune resume DIR/NAME`).

    Trials are stopped and compared on a tenth of the train games, unless `--set
    stop_games=valid`, each game with the NMS windows that the others of them choose, unless `--set
    stop_windows=config` or --search-windows. Every trial stores the probabilities of the valid
    split. The first point is the preset itself.
    """
    from hmtas.remote import open_store
    from tune.options import parse_options
    from tune.record import Load, StudySettings
    from tune.study import grace_of, run_study, sweep_base, with_windows
    from tune.warm import warmed

    options = parse_options(
        sampler=sampler, objective=objective, pruner=pruner, top=top, final_seeds=final_seeds
    )
    fixed: dict[str, Any] = {"train.seed": seed}
    if max_epochs is not None:
        fixed["train.max_epochs"] = max_epochs
    base = sweep_base(preset(preset_name), options.objective)
    base = base.updated(fixed | parse_settings(settings or []))
    opened = open_store(store)
    space = _space(opened, base, weights, search_windows, space_file, split)
    study_settings = StudySettings(
        store=opened.place,
        store_checksum=opened.checksum,
        preset=preset_name,
        base=with_windows(base, space),
        space=space,
        num_trials=trials or (MANY if hours else 16),
        grace_epochs=grace_epochs or grace_of(base.train.max_epochs),
        seed=seed,
        split=split,
        workers_per_trial=workers_per_trial,
        options=options,
    )
    _finish(out / name, lambda: run_study(
        out / name,
        warmed(study_settings, earlier, None if fresh else out / name),
        experiment=experiment,
        load=Load(
            concurrent=concurrent, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial
        ),
        address=address,
        dashboard=dashboard,
        fresh=fresh,
        hours=hours,
    ), as_json)  # fmt: skip


def resume(
    study: Study,
    hours: Annotated[
        float | None,
        typer.Option(min=0.001, help="Hours it may take in all, interruptions apart."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Points it is to have in the end.")
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Trials at once; default: as before.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Another Ray cluster than before, or `auto`.")
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start Ray's dashboard with it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go on with a study that was interrupted, killed, or is to have more hours or trials.

    All it needs is in DIR/NAME. Trials that have ended stay; those that ran go on after their last
    complete epoch; those whose process died each time are tried again.
    """
    from tune.study import resume_study

    _finish(study, lambda: resume_study(
        study,
        hours=hours,
        trials=trials,
        concurrent=concurrent,
        address=address,
        dashboard=dashboard,
    ), as_json)  # fmt: skip


def sync(study: Study) -> None:
    """Send to MLflow what it lacks of a study; what it has already stays as it is."""
    from tune.callback import send_study
    from tune.record import read_study

    record = read_study(study)
    send_study(study.absolute(), record)
    say(f"MLflow has the {len(record.trials)} trials of {study}")


def mirror(study: Study, as_json: Json = False) -> None:
    """Write DIR/NAME/optuna.db, and print the line that opens the study in optuna-dashboard.

    A sweep that runs keeps this copy of itself up to date; nothing reads it back.
    """
    from tune.lock import driver_of
    from tune.mirror import FILE, dashboard_line, rebuild, storage_url
    from tune.record import read_study

    record = read_study(study)
    driver = driver_of(study)
    if driver is None or not (study / FILE).is_file():
        rebuild(study, record)
        say(f"{study / FILE} has the {len(record.trials)} trials of {study}")
    else:
        say(f"{study / FILE} is kept up to date by {driver}")
    if as_json:
        emit({"storage": storage_url(study), "dashboard": dashboard_line(study)})
    else:
        typer.echo(dashboard_line(study))


def _finish(folder: Path, run: "Callable[[], StudyRecord]", as_json: bool) -> None:
    """Run a study and show it."""
    from hmtas.signals import Interrupted
    from tune.tables import show_study

    try:
        study = run()
    except Interrupted as asked:
        raise typer.Exit(asked.exit_code) from None
    show_study(study, folder, as_json)
    if study.trials and all(row.status == "failed" for row in study.trials):
        raise InputError(f"{folder}: every trial failed: {study.trials[0].error}")


def space(
    store: StorePlace,
    preset_name: Annotated[
        str, typer.Option("--preset", help=f"Where the search starts: {', '.join(PRESETS)}.")
    ] = "m7",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Hold a setting fixed: patience=5 ... (repeat)."),
    ] = None,
    space_file: Annotated[
        Path | None, typer.Option("--space", help="JSON that changes the space, or is a whole one.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Class weights: rate, group, per_action or fixed.")
    ] = "rate",
    search_windows: Annotated[
        bool, typer.Option("--search-windows", help="NMS windows and threshold too.")
    ] = False,
    split: Annotated[str, typer.Option(help="Split that every trial predicts.")] = "valid",
    as_json: Json = False,
) -> None:
    """Show what `hmtas tune model` would search with the same options.

    With --json the whole space, to be edited and given back with --space.
    """
    from hmtas.remote import open_store
    from tune.default_space import space_document
    from tune.space_table import show_space
    from tune.study import sweep_base

    base = sweep_base(preset(preset_name)).updated(parse_settings(settings or []))
    found = _space(open_store(store), base, weights, search_windows, space_file, split)
    if as_json:
        emit(space_document(found))
    else:
        show_space(base, found)


def windows(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of models or ensembles.")],
    split: Annotated[str, typer.Option(help="Split to fit on; never the test split.")] = "valid",
    method: Annotated[
        str,
        typer.Option(
            help="`exact`: the best rule and window of each action. `optuna`: the same, sampled "
            "in a Ray Tune study. `global`: the best one for all actions. `fixed`: the thesis's "
            "windows, nothing fitted."
        ),
    ] = "exact",
    kinds: Annotated[
        str,
        typer.Option(help="Rules to try, of hard, thesis, linear, squared and gaussian."),
    ] = "hard,linear,squared,gaussian",
    store: Annotated[
        str | None, typer.Option(help="Where the labels are; default: the store predicted.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Drop spots below it; 0 keeps all.")
    ] = 0.0,
    trials: Annotated[
        int, typer.Option(min=1, help="Of a study of `optuna`; one for all games, one per fold.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the studies of `optuna`.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit rule and window of each action's NMS on stored probabilities; no training.

    Writes RUN/windows.json, and RUN/scores/SPLIT.json with each game scored under windows that
    other games chose. Actions with few events borrow from the others.
    """
    from hmtas.nms_windows import NUM_FOLDS, every_setting, parse_kinds, parse_method
    from tune.run_windows import check_run, check_split, tune_run
    from tune.tables import show_tuned

    check_split(split)
    for run in runs:
        check_run(run)
    chosen = parse_method(method)
    settings = every_setting(parse_kinds(kinds))
    steps = {"fixed": 0, "optuna": len(settings) + (1 + NUM_FOLDS) * trials}
    tuned = []
    with progress("Fitting windows", len(runs) * steps.get(chosen, len(settings))) as advance:
        for run in runs:
            tuned.append(
                tune_run(
                    run,
                    split,
                    method=chosen,
                    store=store,
                    settings=settings,
                    threshold=threshold,
                    trials=trials,
                    seed=seed,
                    on_step=advance,
                )
            )
    for run in runs:
        if (run / MLFLOW_NOTE).is_file():
            from hmtas.tracking import sync_run

            sync_run(run)
    show_tuned(tuned, split, as_json)


def status(
    study: Study,
    watching: Annotated[
        bool, typer.Option("--watch", help="Keep up to date until the study ends or is left.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how far a study is and its trials, from anywhere, also while it runs.

    With --json the numbers are under `progress`.
    """
    from tune.record import read_study
    from tune.summary import summarize
    from tune.tables import show_study
    from tune.view import picture, watch

    if watching:
        try:
            watch(study)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    record = read_study(study)
    if not as_json:
        show(picture(summarize(study, record)))
    show_study(record, study, as_json)


def best(study: Study, as_json: Json = False) -> None:
    """Print the configuration of the best trial, and the commands that train it again.

    stdout is the configuration alone, which `hmtas train --config` reads.
    Where the best trials were trained again it is the one that was picked among them; a study of
    two numbers lists its front.
    """
    from tune.final_table import best_document, show_best
    from tune.record import best_config, best_trial, read_study
    from tune.repeat import reproduce_line, train_line

    row, config, record = best_trial(study), best_config(study), read_study(study)
    document = config.model_dump(mode="json")
    run = study / row.run
    command, again = train_line(record, run), reproduce_line(run)
    if as_json:
        emit({"trial": row.model_dump(mode="json"), "run": str(run), "config": document,
              "command": command, "reproduce": again, **best_document(record, study)})  # fmt: skip
        return
    import json

    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    with contextlib.redirect_stdout(sys.stderr):
        show_best(record, study)
    say(
        f"trial {row.id}: tight {100 * (row.best_tight or 0):.2f} %, "
        f"loose {100 * (row.best_loose or 0):.2f} % on the games that stop it"
    )
    say(f"train it again: {command}")
    say(f"make it again as it was, and compare: {again}")


def report(
    study: Study,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: DIR/NAME/report.html.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw what a study found as one HTML page that needs nothing else, and no network.

    `hmtas tune model` does so at its end. It works while a study runs, too, and says so.
    """
    from tune.report import write_report

    path = write_report(study, out)
    if as_json:
        emit({"report": str(path), "bytes": path.stat().st_size})
        return
    say(f"wrote {path}; open it in a browser")


def _space(
    store: "EmbeddingStore",
    base: Any,
    weights: str,
    search_windows: bool,
    space_file: Path | None,
    split: str,
) -> "Space":
    """The space around `base` for a store, with the changes of a file."""
    from tune.default_space import build_space, parse_weights

    store.games(split)
    overrides = read_json(space_file) if space_file else {}
    if not isinstance(overrides, dict):
        raise InputError(f"{space_file}: must be an object from setting names to ranges")
    try:
        return build_space(
            base,
            store.actions,
            weights=parse_weights(weights),
            search_windows=search_windows,
            overrides=overrides,
        )
    except InputError as error:
        raise InputError(f"{space_file}: {error}" if space_file else str(error)) from None


app.command("model")(model)
app.command("resume")(resume)
app.command("sync")(sync)
app.command("mirror")(mirror)
app.command("space")(space)
app.command("windows")(windows)
app.command("status")(status)
app.command("best")(best)
app.command("report")(report)
