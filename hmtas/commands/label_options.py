"""The options that say how label files and predictions are read, shared by verbs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from hmtas.scoring.inputs import Reading

LabelFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Format of the labels: soccernet-v2, soccernet-ball, soccernet-v1, osl-v1, osl-v2, "
        "frames, segments or csv; by default recognised by the files (docs/data.md).",
    ),
]
LabelFps = Annotated[
    float | None,
    typer.Option(
        "--fps",
        help="Frames a second: of videos whose label files do not say, or say -1, and of "
        "--tolerance-frames.",
    ),
]
SpotAt = Annotated[
    Literal["start", "middle", "end"] | None,
    typer.Option(help="The moment of a segment that is spotted."),
]
Renames = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        metavar="OLD=NEW",
        help="Give a label the name of another action; OLD= leaves it out (repeat for several).",
    ),
]
ByTeam = Annotated[
    bool,
    typer.Option(
        "--by-team",
        help="Make the team a part of the action, such as 'left PASS'; a score has Team-mAP too.",
    ),
]
ActionList = Annotated[
    str | None,
    typer.Option(
        "--actions",
        metavar="FILE|LABELS",
        help="The actions in their order: a file with a name a line, or `labels` for the names in "
        "the labels of the train split; by default those that the format or the files list.",
    ),
]


def actions_in(text: str | None) -> "Sequence[str] | None":
    """The actions that `--actions` names: a list, or that they are those of the labels."""
    from hmtas.formats.actions import read_actions
    from hmtas.packing.classes import FROM_LABELS

    return text if text in (None, FROM_LABELS) else read_actions(Path(text))


def reading_of(
    *,
    label_format: str | None,
    fps: float | None,
    spot_at: str | None,
    rename: list[str] | None,
    by_team: bool,
    actions: str | None,
    label_times: Literal["position", "game_time"] = "position",
) -> "Reading":
    """What these options say.

    Raises:
        InputError: If one cannot be read.
    """
    from hmtas.formats.actions import Naming, parse_renames
    from hmtas.formats.recognise import LabelOptions
    from hmtas.scoring.inputs import Reading

    return Reading(
        LabelOptions(label_format, fps, spot_at, label_times),
        Naming(parse_renames(rename or ()), by_team),
        actions_in(actions),
    )
