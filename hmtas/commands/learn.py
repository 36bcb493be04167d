"""`hmtas train` and `hmtas predict`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hmtas.commands.failures import Failures, check_readable
from hmtas.commands.options import (
    Address,
    Device,
    Experiment,
    Json,
    RunOut,
    Settings,
    StorePlace,
    device_here,
)
from hmtas.config import Config, Precision, read_config
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.place import check_folder, check_space
from hmtas.presets import PRESETS, preset
from hmtas.runs.record import predict_line, predictions_path, read_run
from hmtas.settings import parse_settings
from hmtas.terminal.console import emit, progress, say
from hmtas.terminal.text import counted, percent

_NEEDS_P1 = "trains for the epochs that a p1 run found; name that run: --config RUN/run.json"
_PRESETS = ", ".join(f"{name} ({p.title})" for name, p in PRESETS.items())


def train(
    store: StorePlace,
    out: RunOut,
    preset_name: Annotated[
        str | None, typer.Option("--preset", help=f"Where to start from: {_PRESETS}.")
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="Repeat the configuration of this run.json.")
    ] = None,
    settings: Settings = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="With p1, fit on train and stop on valid. With p2, fit on all labelled games for "
            "the epochs that the p1 run named by --config found best."
        ),
    ] = "p1",
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and dropout.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    device: Device = "auto",
    address: Address = None,
    experiment: Experiment = "hmtas",
    as_json: Json = False,
) -> None:
    """Train one model with Ray Train.

    Shows a line per epoch, writes the run folder (weights, full configuration, games, curves) and
    logs it to MLflow. After an interruption the same command resumes.
    """
    config = configuration(preset_name, config_file, settings or [], protocol, seed)
    from hmtas.tracking.run import check_tracking, log_saved

    check_folder(out)
    check_tracking([out], experiment)
    from hmtas.cluster.workers import describe_epoch
    from hmtas.cluster.workers import train as train_with_ray
    from hmtas.prediction.shared_windows import slow_precision

    use_gpu = _has_gpu(address) if device == "auto" else device == "cuda"
    slow = slow_precision(config.train.precision, "cuda" if use_gpu else "cpu")
    if slow and address is None:
        say(f"note: {slow}")
    record = train_with_ray(
        store,
        config,
        out,
        name=out.name,
        preset=preset_name,
        num_workers=workers,
        use_gpu=use_gpu,
        address=address,
        on_epoch=lambda entry: say(describe_epoch(entry, config)),
    )
    if as_json:
        emit(record.model_dump(mode="json"))
    else:
        best = next((e for e in record.history if e.epoch == record.best_epoch), None)
        score = f", tight Average-mAP {percent(best.tight)} %" if best and best.tight else ""
        score += {"mean": " (tight and loose count)", "loose": " (loose counts)"}.get(
            config.train.stop_on, ""
        )
        for note in record.notes:
            say(f"note: {note}")
        epochs = counted(len(record.history), "epoch")
        say(f"{out}: {epochs}, the best is {record.best_epoch}{score}")
    log_saved([out], experiment)


def predict(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders of `hmtas train` or `hmtas tune model`.")
    ],
    split: Annotated[str, typer.Option(help="Split of the store to predict.")],
    store: Annotated[
        str | None, typer.Option(help="By default the store that the run was trained on.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[
        Precision,
        typer.Option(
            help="Precision of matrix products; bf16 is twice as fast where the hardware has it."
        ),
    ] = "fp32",
    as_json: Json = False,
) -> None:
    """Store the probabilities of every second of every half of a split.

    Writes RUN/predictions/SPLIT.arrow, unless it exists and the run has not changed since.
    """
    from hmtas.tracking.note import tracked
    from hmtas.tracking.run import check_tracking, log_saved

    failures, records = Failures(len(runs)), {}
    for run in runs:
        with failures.of(run):
            check_readable(run)
            record = read_run(run)
            if record.kind == "ensemble":
                raise InputError(f"{run}: is an ensemble; use {predict_line(run, split)}")
            check_folder(predictions_path(run, split).parent)
            records[run] = record
    check_tracking(tracked(records))
    from hmtas.prediction.shared_windows import slow_precision
    from hmtas.prediction.slide import predict_run, predicted
    from hmtas.store.recorded import open_recorded
    from hmtas.store.remote import prefetch_games

    chosen = device_here(device)
    if slow := slow_precision(precision, chosen):
        say(f"note: {slow}")
    written: dict[Path, str] = {}
    for run, record in records.items():
        with failures.of(run):
            opened = open_recorded(
                run, record.store, record.store_checksum, named=store, other_data=True
            )
            games = opened.some_games(split)
            path = predicted(run, opened, split, precision)
            if path is None:
                halves = opened.halves_of(games)
                prefetch_games(opened, games)
                num_rows = sum(opened.halves[half].num_rows for half in halves)
                num_bytes = 4 * num_rows * len(record.actions)
                check_space(run, num_bytes, f"predictions of {split}", "predict another split")
                if record.is_linear:
                    line = predict_line(run, split)
                    raise InputError(f"{run}: is a linear model, without weights; use {line}")
                with progress(f"{run.name}, {split}", len(halves)) as advance:
                    path = predict_run(
                        run, opened, split, device=chosen, precision=precision, on_half=advance
                    )
            written[run] = str(path)
    if as_json:
        emit({"predictions": list(written.values())})
    else:
        for file in written.values():
            say(f"wrote {file}")
    log_saved(tracked(written))
    failures.tell()


def configuration(
    preset_name: str | None,
    config_file: Path | None,
    assignments: list[str],
    protocol: str,
    seed: int | None,
) -> Config:
    """The configuration that the options of `hmtas train` name.

    Raises:
        InputError: If they contradict each other, or a setting is not valid.
    """
    if preset_name is not None and config_file is not None:
        raise InputError("--preset and --config both say where to start from; give one of them")
    settings: dict[str, Any] = {}
    config = preset(preset_name or "m7")
    if config_file is not None:
        document = read_json(config_file)
        config = read_config(document, str(config_file))
        if protocol == "p2":
            settings |= {"protocol": "p2", "max_epochs": _best_epoch(document, config_file)}
    elif protocol == "p2":
        raise InputError(f"--protocol p2 {_NEEDS_P1}")
    if protocol not in {"p1", "p2"}:
        raise InputError(f"--protocol must be p1 or p2, got {protocol!r}")
    if seed is not None:
        settings["seed"] = seed
    assigned = parse_settings(assignments)
    chosen = config.updated(settings | assigned)
    if unused := chosen.unused(assigned):
        say(f"note: kind {chosen.model.kind} does not use {', '.join(unused)}")
    if chosen.train.protocol == "p2" and "p2" not in (protocol, config.train.protocol):
        raise InputError(f"--set protocol=p2 {_NEEDS_P1} --protocol p2")
    return chosen


def _best_epoch(document: Any, place: Path) -> int:
    best = document.get("best_epoch")
    if not isinstance(best, int):
        raise InputError(f"{place}: has no best_epoch; is it the record of a finished p1 run?")
    return best


def _has_gpu(address: str | None) -> bool:
    """Whether the machine or cluster that trains has a GPU."""
    if address is None:
        return device_here("auto") == "cuda"
    from hmtas.cluster.session import ray_session, resources

    with ray_session(address):
        return resources().get("GPU", 0) > 0
