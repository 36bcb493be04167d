"""`hmtas ablate`: the ladder of the thesis, and single settings, trained and compared."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hmtas.ablation.variants import FAMILIES, LADDER, REFERENCE
from hmtas.commands.options import (
    Address,
    Bootstrap,
    Experiment,
    Json,
    NmsWindow,
    Settings,
    StorePlace,
)
from hmtas.errors import InputError
from hmtas.place import check_folder
from hmtas.settings import parse_settings
from hmtas.terminal.console import emit, progress, say, show
from hmtas.terminal.signals import Interrupted

if TYPE_CHECKING:
    from hmtas.ablation.results import AblationResult
    from hmtas.ablation.train import Job
    from hmtas.ablation.variants import Planned, Study
    from hmtas.store.local import EmbeddingStore
    from hmtas.tracking.parent import Parent

TABLES, PICTURES = "tables", "pictures"
_FAMILIES = "; ".join(
    f"`{name}` ({family.title.lower()}: {', '.join(map(str, family.values))})"
    for name, family in FAMILIES.items()
)


def ablate(
    store: StorePlace,
    *,
    out: Annotated[
        Path, typer.Option(help="Folder for runs, tables and pictures; on a cluster, a shared one.")
    ] = Path("ablation"),
    what: Annotated[
        str,
        typer.Option(
            help=f"Studies, with commas between: `{LADDER}` (M0 to M10 and conv, each against the "
            f"one before), or one setting of M7 or of `conv` changed: {_FAMILIES}. Or single "
            "variants: m0,m4,m7 or length-5,radius-2."
        ),
    ] = LADDER,
    seeds: Annotated[int, typer.Option(min=1, help="Train every variant with seeds 0 to N-1.")] = 1,
    settings: Settings = None,
    split: Annotated[
        str | None,
        typer.Option(help="Labelled split to score; by default test if it has labels, else valid."),
    ] = None,
    windows: Annotated[
        Literal["config", "fitted"],
        typer.Option(
            help="NMS windows: those of the configuration (the thesis's, or --nms-window-s), or "
            "those that `hmtas tune windows OUT/runs/* --split valid` left in the run folders."
        ),
    ] = "config",
    nms_window_s: NmsWindow = None,
    concurrent: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once, each on one core; by default as many as fit."),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs of each run, such as 0.25; by default what its memory needs, where there "
            "is a GPU.",
        ),
    ] = None,
    address: Address = None,
    bootstrap: Bootstrap = 1000,
    experiment: Experiment = "hmtas",
    as_json: Json = False,
) -> None:
    """Train the ladder of the thesis and beyond, and say what each step is worth on your games.

    Prints Table 5.2 (tight and loose with 95 % intervals, the thesis's number beside them, and the
    paired difference to the rung before: better, worse or cannot tell), Table 5.5 (by action) and
    Table 5.6 (loss of each stream's own head); draws the ladder, the loss curves (Figure 5.21) and
    the positives by action (Figure 5.20). All of it lies in OUT/tables and OUT/pictures, and in
    MLflow, as one run with a child for each training.

    Trainings stop on a tenth of the train games, so that nothing is fitted on the split that is
    scored. Variants that are the same on this store are trained once: M6 adds audio, and is M5
    without a `vggish` stream. The run folders OUT/runs/* are ordinary ones: `hmtas compare`,
    `hmtas tune windows` and `hmtas ensemble fit` work on them.

    After an interruption the same command resumes. More seeds or other studies in the same OUT
    train only what is missing. `--set` changes every variant, except where a study tries the
    setting out. At full size the ladder takes a GPU; for two cores and half an hour, use
    `--set width=64 --set num_heads=4 --set batch_size=256 --set windows_share=0.1 --set
    max_epochs=6`.

    Examples: `hmtas ablate store --seeds 3`; `hmtas ablate store --what length,gamma`
    """
    from hmtas.ablation.train import check_concurrent, check_folders, jobs_of, train_all
    from hmtas.ablation.variants import choose, plan
    from hmtas.store.names import check_names
    from hmtas.store.remote import open_store, prefetch_games
    from hmtas.tracking.parent import HASTE_S, Outbox, Parent
    from hmtas.tracking.run import check_tracking

    chosen = _settings(settings or [], nms_window_s)
    studies = choose(word.strip() for word in what.split(",") if word.strip())
    opened = open_store(store)
    split = _split(opened, split)
    planned = plan(studies, chosen, opened.streams, opened.rate_hz)
    for each in planned.values():
        check_names(each.config, opened)
    _check_games(opened, split, planned)
    jobs = jobs_of(planned, chosen, seeds, out)
    every = [job for of_variant in jobs.values() for job in of_variant]
    check_folders(every, opened)
    check_concurrent(concurrent, address)
    check_folder(out)
    check_tracking([out], experiment, can_wait=True)
    if address is None:  # the nodes of a cluster copy what they train on themselves
        prefetch_games(opened, [*opened.games("train"), *opened.games(split)])
    again = shlex.join(["hmtas", *sys.argv[1:]])
    params = {"store": opened.place, "what": what, "seeds": seeds, "split": split, **chosen}
    outbox = Outbox(Parent(out, experiment, "ablation", params))
    outbox.start()
    try:
        train_all(
            every, opened, split, outbox=outbox, concurrent=concurrent, gpus=gpus, address=address
        )
    except Interrupted:
        outbox.leave(HASTE_S)
        say(f"interrupted; what is trained stays. Resume with: {again}")
        raise
    except InputError:
        outbox.finish(again)
        raise
    result = _score(opened, split, studies, planned, jobs, windows, bootstrap)
    files = _write(result, out)
    outbox.finish(again, lambda: _send(outbox.parent, every, files, result))
    if as_json:
        files_json = {"out": str(out), "files": [str(path) for path in files]}
        emit({**result.model_dump(mode="json"), **files_json})
        return
    from hmtas.ablation.tables import study_tables
    from hmtas.tracking.client import ui_line
    from hmtas.tracking.note import store_of

    for study in result.studies:
        for part in study_tables(result, study):
            show(part)
    say(f"tables are in {out / TABLES}, pictures in {out / PICTURES}, runs in {out / 'runs'}")
    say(f"MLflow: {ui_line(store_of(out))}")


def _settings(assignments: Sequence[str], nms_window_s: float | None) -> dict[str, Any]:
    """The settings for every variant.

    Raises:
        InputError: If they set what the command sets itself.
    """
    chosen = parse_settings(assignments)
    own = {"seed": "use --seeds", "protocol": "the ladder needs games to stop on (p1)"}
    for name in chosen:
        hint = own.get(name.rpartition(".")[2])
        if hint is not None:
            raise InputError(f"--set {name}: {hint}")
    if nms_window_s is not None:
        chosen |= {"spotting.windows_s": {}, "spotting.default_window_s": nms_window_s}
    return chosen


def _split(store: "EmbeddingStore", split: str | None) -> str:
    """The split to score.

    Raises:
        InputError: If the store has no such split, or a game of it lacks labels.
    """
    from hmtas.scoring.games import refuse_unlabelled

    if split is None:
        for name in ("test", "valid"):
            games = store.splits.get(name)
            if games and all(map(store.has_labels, games)) and store.has_events(games):
                return name
        raise InputError(
            f"{store.place}: neither test nor valid games with labels to score; "
            f"name another split of {', '.join(store.splits)} with --split"
        )
    refuse_unlabelled(store.some_games(split), store)
    return split


def _check_games(store: "EmbeddingStore", split: str, planned: "Mapping[str, Planned]") -> None:
    """Refuse, before anything is trained, games that do not fit.

    That are games too short for a context, and to score games that the training will have seen.
    """
    from hmtas.scoring.games import refuse_seen
    from hmtas.training.games import check_contexts, plan_games

    for name, plan in planned.items():
        found = plan_games(store, plan.config.train)
        try:
            check_contexts(store, plan.config, found)
        except InputError as error:
            raise InputError(f"{name}: {error}, or variants that fit with --what") from None
        for did, seen in (("would fit on", found.fitted), ("would stop on", found.stopped)):
            refuse_seen(
                f"--split {split}: {name}",
                store.games(split),
                seen,
                did=did,
                advice="choose another split, or leave stop_games=held_out",
            )


def _score(
    store: "EmbeddingStore",
    split: str,
    studies: "Sequence[Study]",
    planned: "Mapping[str, Planned]",
    jobs: "Mapping[str, Sequence[Job]]",
    windows: str,
    bootstrap: int,
) -> "AblationResult":
    """Score every run, resample them together, and put together what is shown."""
    from hmtas.ablation.results import AblationResult, Positives, resample_variants, study_result
    from hmtas.ablation.scores import ScoredRun, count_positives, score_run
    from hmtas.statistics.intervals import LEVEL

    scored: dict[str, list[ScoredRun]] = {}
    with progress("Scoring", 3 * sum(map(len, jobs.values()))) as advance:
        for name, of_variant in jobs.items():
            scored[name] = []
            for job in of_variant:
                scored[name].append(score_run(job.run, store, split, fitted=windows == "fitted"))
                advance()
        resampled = resample_variants(scored, num=bootstrap, on_run=advance)
    first = next(iter(scored.values()))
    config = planned.get(REFERENCE, list(planned.values())[-1]).config
    fitted = first[0].record.fitted_games
    return AblationResult(
        store=store.place,
        split=split,
        num_games=len(store.games(split)),
        seeds=tuple(range(len(first))),
        windows=windows,
        cross_fitted=any(run.score.cross_fitted for runs in scored.values() for run in runs),
        level=LEVEL,
        num_events=first[0].score.num_events,
        positives=Positives(
            seq_len=config.train.seq_len,
            num_windows=sum(store.halves[half].num_rows for half in store.halves_of(fitted)),
            counts=count_positives(store, fitted, config.train.seq_len),
        ),
        studies=tuple(study_result(study, planned, scored, resampled) for study in studies),
    )


def _write(result: "AblationResult", out: Path) -> list[Path]:
    """Tables as text and JSON, pictures as PNG; returns the files."""
    from hmtas.ablation.pictures import write_pictures
    from hmtas.ablation.tables import as_text, study_tables
    from hmtas.files import write_json, write_text

    files = []
    for study in result.studies:
        path = out / TABLES / f"{study.name}.txt"
        write_text(path, as_text(study_tables(result, study)))
        alone = result.model_copy(update={"studies": (study,)})
        write_json(path.with_suffix(".json"), alone.model_dump(mode="json"))
        files += [path, path.with_suffix(".json")]
    return [*files, *write_pictures(result, out / PICTURES)]


def _send(
    parent: "Parent", jobs: "Sequence[Job]", files: Sequence[Path], result: "AblationResult"
) -> None:
    """Bring MLflow up to date with the runs, and with what came of them."""
    for job in jobs:
        parent.sync(job.run)
    parent.attach([path.absolute() for path in files])
    parent.close(_metrics(result))


def _metrics(result: "AblationResult") -> dict[str, float]:
    """What the parent run in MLflow shows: the mean of each variant, and its step."""
    metrics = {}
    for row in (row for study in result.studies for row in study.trained):
        metrics[f"{result.split}_tight/{row.name}"] = row.tight.mean
        metrics[f"{result.split}_loose/{row.name}"] = row.loose.mean
        if row.against is not None:
            metrics[f"step_tight/{row.name}"] = row.against.tight.difference
            metrics[f"step_loose/{row.name}"] = row.against.loose.difference
    return metrics
