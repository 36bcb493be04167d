"""`hmtas tune space`: what a sweep would search, and the space of its options."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtas.commands.options import Json, Settings, StorePlace
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.presets import PRESETS, preset
from hmtas.settings import parse_settings
from hmtas.terminal.console import emit, say, show
from hmtas.validation import one_of

if TYPE_CHECKING:
    from hmtas.store.local import EmbeddingStore
    from tune.space.dimensions import Space

PresetName = Annotated[
    str, typer.Option("--preset", help=f"Where the search starts: {', '.join(PRESETS)}.")
]
SpaceFile = Annotated[
    Path | None,
    typer.Option(
        "--space",
        help='JSON that changes the space: {"seq_len": {"low": 3, "high": 5}, '
        '"width": [64, 128], "gamma": 0.7}. A list is choices, a number is fixed. '
        "`hmtas tune space STORE --json` prints the whole space to edit.",
    ),
]
WeightsKind = Annotated[
    str,
    typer.Option(
        "--weights",
        help="Class weights: `rate` (a scale and a power of the inverse rate), `group` (a "
        "number for each group of actions), `per_action` (one for each), or `fixed`.",
    ),
]
SearchWindows = Annotated[
    bool,
    typer.Option(
        "--search-windows",
        help="Search NMS windows and threshold in the same study. `hmtas tune windows` finds the "
        "best ones afterwards, without training.",
    ),
]
PredictedSplit = Annotated[str, typer.Option("--split", help="Split that every trial predicts.")]


def space(
    store: StorePlace,
    preset_name: PresetName = "m7",
    settings: Settings = None,
    space_file: SpaceFile = None,
    weights: WeightsKind = "rate",
    search_windows: SearchWindows = False,
    split: PredictedSplit = "valid",
    as_json: Json = False,
) -> None:
    """Show what `hmtas tune model` would search with the same options.

    With --json the whole space, to edit and to give back with --space.
    """
    from hmtas.store.remote import open_store
    from hmtas.training.on_store import on_store
    from tune.space.default import space_document
    from tune.space.labels import last_name, space_table, text_of
    from tune.study.settings import sweep_base

    base = sweep_base(preset(preset_name)).updated(parse_settings(settings or []))
    opened = open_store(store)
    base = on_store(base, opened)
    found = space_of(opened, base, weights, search_windows, space_file, split)
    if as_json:
        emit(space_document(found))
        return
    show(space_table(base, found))
    for i, point in enumerate(found.points, 1):
        named = [f"{last_name(path)} {text_of(value, 6)}" for path, value in point.items()]
        say(f"tried first, after the preset: point {i}: {', '.join(named) or 'the preset'}")


def space_of(
    store: "EmbeddingStore",
    base: Any,
    weights: str,
    search_windows: bool,
    space_file: Path | None,
    split: str,
) -> "Space":
    """The space around `base`, as it is on a store, with the changes of a file."""
    from hmtas.store.names import check_names
    from tune.space.contexts import Season
    from tune.space.default import Weights, build_space
    from tune.space.dimensions import EXCLUDED

    store.some_games(split)
    overrides = read_json(space_file) if space_file else {}
    if not isinstance(overrides, dict):
        raise InputError(f"{space_file}: must be an object from setting names to ranges")
    halves = store.halves_of(store.some_games("train"))
    seconds = [store.halves[half].num_rows / store.rate_hz for half in halves]
    try:
        found = build_space(
            base,
            store.actions,
            weights=one_of("weights", weights, Weights),
            search_windows=search_windows,
            season=Season(store.rate_hz, max(seconds), sum(seconds)),
            overrides=overrides,
        )
    except InputError as error:
        raise InputError(f"{space_file}: {error}" if space_file else str(error)) from None
    for value in found.values_of(EXCLUDED):
        check_names(base.updated({EXCLUDED: value}), store)
    return found
