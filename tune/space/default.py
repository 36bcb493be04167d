"""The space that is searched unless a user says otherwise, and how a user changes it."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from hmtas.config import THESIS_NMS_WINDOWS_S, Config
from hmtas.errors import InputError, join_problems
from hmtas.validation import validated
from tune.space.contexts import Season, by_kind, portfolio
from tune.space.dimensions import BY_ACTION, POWER, SCALE, WINDOWS, Choice, Range, Space
from tune.space.file import GAMMA, HEADS, WIDTH, check_point, read_entry, read_when, resolve

Weights = Literal["rate", "group", "per_action", "fixed"]
Dimensions = dict[str, Range | Choice]

SEQ_LEN = "train.seq_len"
LEARNING_RATE = "train.learning_rate"
DROPOUT = "model.stream_dropout"
THRESHOLD = "spotting.threshold"
TIED: dict[str, tuple[str, ...]] = {
    DROPOUT: ("model.fusion_dropout", "model.head_dropout")  # one 0.4 in the thesis
}
# Actions that share one class weight; one that is in none shares it with others in none.
GROUPS = (
    ("Goal", "Shots on target", "Shots off target"),
    ("Ball out of play", "Throw-in", "Clearance", "Foul", "Indirect free-kick"),
    ("Kick-off", "Corner", "Direct free-kick", "Offside", "Substitution"),
    ("Penalty", "Red card", "Yellow->red card", "Yellow card"),
)
# What a space file holds beside settings. One with "dimensions" is a whole space, as `hmtas tune
# space --json` prints it; any other one changes the default space.
POINTS = "points"
PARTS = ("dimensions", "fixed", "tied", POINTS)
MAX_WIDTHS = 64


def build_space(
    base: Config,
    actions: Sequence[str],
    *,
    weights: Weights = "rate",
    search_windows: bool = False,
    season: Season | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Space:
    """The default space around a configuration, with a user's changes.

    Args:
        base: What the study starts from; the widths are half, once and twice its width.
        actions: The store's actions.
        weights: Class weights as two numbers (`rate`), one per group of actions (`group`), one
            per action (`per_action`), or left as they are in `base` (`fixed`).
        search_windows: Also search the NMS window of each action, 7 to 20 s, and the threshold.
        season: What long contexts can be on a store, to search over their kinds of models too;
            None leaves the kind as it is in `base`.
        overrides: Setting name to `{"low": ..., "high": ..., "log": ..., "step": ...}`, to a list
            of choices or `{"choices": [...]}`, or to one value that fixes it; a dimension may
            have `"when": {setting: values}`. `points` is a list of settings to try first. With
            `dimensions` it is a whole space instead, and nothing of the default one is left.

    Raises:
        InputError: If names or values of `overrides` are wrong; all of them at once.
    """
    wanted = dict(overrides or {})
    points = wanted.pop(POINTS, [])
    draft = _SpaceBuilder(base, actions)
    if "dimensions" in wanted:
        draft.take_whole(wanted)
    else:
        draft.dimensions, draft.fixed, draft.tied = _defaults(
            base, actions, weights, search_windows
        )
        if season is not None:
            draft.dimensions = by_kind(base, season, draft.dimensions)
        draft.take(wanted, untie=True)
    space = draft.finish()
    if not isinstance(points, list):
        raise InputError(f"bad space: points must be a list of settings, got {points!r}")
    read = tuple(check_point(base, space, i, point, actions) for i, point in enumerate(points, 1))
    return space.model_copy(update={"points": read or portfolio(base, space)})


class _SpaceBuilder:
    """A space in the making, and everything that is wrong with it."""

    def __init__(self, base: Config, actions: Sequence[str]) -> None:
        self.base, self.actions = base, actions
        self.dimensions: Dimensions = {}
        self.fixed: dict[str, Any] = {}
        self.tied: dict[str, tuple[str, ...]] = {}
        self.problems: list[str] = []

    def take_whole(self, document: Mapping[str, Any]) -> None:
        """Everything of a file that is a whole space."""
        unknown = sorted(set(document) - set(PARTS))
        if unknown:
            self.problems.append(f"a whole space has {', '.join(PARTS)}, not {', '.join(unknown)}")
        for head, tail in self._object(document, "tied").items():
            with self._collect():
                names = tail if isinstance(tail, list) else [tail]
                self.tied[resolve(head, self.actions)] = tuple(
                    resolve(str(name), self.actions) for name in names
                )
        entries = self._object(document, "fixed") | self._object(document, "dimensions")
        self.take(entries, untie=False)

    def take(self, entries: Mapping[str, Any], *, untie: bool) -> None:
        """Dimensions and fixed values by name; `untie` those that were tied to another."""
        plain = [name.partition("@")[0] for name in entries]
        apart = all(any(path.endswith(name) for name in plain) for path in (WIDTH, HEADS))
        conditions = {}
        for name, value in entries.items():
            with self._collect():
                key = resolve(name, self.actions)
                default = self.dimensions.get(key)
                entry, when = read_entry(
                    self.base, key, value, default, actions=self.actions, apart=apart
                )
                if untie:
                    self._untie(key)
                    self._take_place(key)
                if isinstance(entry, Range | Choice):
                    self.dimensions[key] = entry
                    conditions[key] = when
                else:
                    self.dimensions.pop(key, None)
                    tied = self.tied.pop(key, ()) if untie else ()
                    self.fixed |= dict.fromkeys((key, *tied), entry)
        if untie:
            self.dimensions = _settled(self.dimensions, self.fixed)
        for key, when in conditions.items():
            with self._collect():
                found = read_when(key, when, self.dimensions, self.actions)
                self.dimensions[key] = self.dimensions[key].model_copy(update={"when": found})

    def finish(self) -> Space:
        """The space, or one error with all that is wrong."""
        if not self.problems:
            with self._collect():
                self.dimensions = _fit_heads(self.base, self.fixed, self.dimensions)
        if self.problems:
            raise InputError(f"bad space: {join_problems(self.problems)}")
        fields = {
            "dimensions": _ordered(self.dimensions),
            "fixed": self.fixed,
            "tied": self.tied,
        }
        return validated(Space, fields, "bad space")

    def _take_place(self, key: str) -> None:
        """A setting without a label takes the place of those that differ by condition."""
        labelled = [other for other in self.dimensions if other.startswith(f"{key}@")]
        for other in labelled:
            del self.dimensions[other]

    def _untie(self, key: str) -> None:
        self.tied = {h: tuple(t for t in tail if t != key) for h, tail in self.tied.items()}

    def _object(self, document: Mapping[str, Any], name: str) -> dict[str, Any]:
        value = document.get(name, {})
        if isinstance(value, dict):
            return value
        self.problems.append(f"{name} must be an object, got {value!r}")
        return {}

    @contextlib.contextmanager
    def _collect(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self.problems.append(str(error).removeprefix("bad settings: "))


def space_document(space: Space) -> dict[str, Any]:
    """A space as JSON that `build_space` reads back: everything of it, to be edited."""
    document = space.model_dump(mode="json", exclude_defaults=True)
    return {"dimensions": document.get("dimensions", {}), "fixed": {}, "tied": {}, POINTS: []} | {
        name: value for name, value in document.items() if name != "dimensions"
    }


def _defaults(
    base: Config, actions: Sequence[str], weights: Weights, search_windows: bool
) -> tuple[Dimensions, dict[str, Any], dict[str, tuple[str, ...]]]:
    """Dimensions, fixed and tied settings of the default space."""
    dimensions: Dimensions = {
        SEQ_LEN: Range(low=2, high=7, integer=True),
        GAMMA: Range(low=0.5, high=1.0),
        LEARNING_RATE: Range(low=1e-4, high=1e-2, log=True),
        WIDTH: Choice(choices=_widths(base)),
        DROPOUT: Range(low=0.0, high=0.6),
    }
    if not _allows(base, GAMMA, 0.5):  # without stream heads the whole loss is the fused one
        del dimensions[GAMMA]
    fixed: dict[str, Any] = {}
    tied = dict(TIED)
    weight = Range(low=1.0, high=80.0, log=True)
    if weights == "rate":
        dimensions[SCALE] = Range(low=1.0, high=30.0, log=True)
        dimensions[POWER] = Range(low=0.0, high=1.0)
    elif weights == "group":
        fixed[POWER] = None
        for head, *tail in _groups(actions):
            dimensions[f"{BY_ACTION}.{head}"] = weight
            tied[f"{BY_ACTION}.{head}"] = tuple(f"{BY_ACTION}.{action}" for action in tail)
    elif weights == "per_action":
        fixed[POWER] = None
        dimensions |= {f"{BY_ACTION}.{a}": weight for a in actions}
    if search_windows:
        dimensions |= {f"{WINDOWS}.{a}": _window_range(base, a) for a in actions}
        dimensions[THRESHOLD] = Range(low=0.0, high=0.5)
    return dimensions, fixed, tied


def _window_range(base: Config, action: str) -> Range:
    """The widths of the thesis, or around the window of an action that it does not know."""
    if action in THESIS_NMS_WINDOWS_S:
        return Range(low=7.0, high=20.0, step=1.0)
    window_s = base.spotting.window_of(action)
    return Range(low=window_s / 2, high=2 * window_s, log=True)


def _groups(actions: Sequence[str]) -> list[list[str]]:
    grouped = {action for group in GROUPS for action in group}
    groups = [[a for a in group if a in actions] for group in GROUPS]
    groups.append([action for action in actions if action not in grouped])
    return [group for group in groups if group]


def _allows(base: Config, path: str, value: Any) -> bool:
    try:
        base.updated({path: value})
    except InputError:
        return False
    return True


def _widths(base: Config) -> tuple[int, ...]:
    width, heads = base.model.width, base.model.num_heads
    fits = [
        w for w in (width // 2, width, 2 * width) if base.model.kind == "fcnn" or w % heads == 0
    ]
    return tuple(w for w in fits if w > 0)


def _fit_heads(base: Config, fixed: Mapping[str, Any], dimensions: Dimensions) -> Dimensions:
    """Heads that divide the width: where both are searched, each width gets its own choice."""
    if base.model.kind == "fcnn":
        return dimensions
    if not {WIDTH, HEADS} <= dimensions.keys():
        for path in {WIDTH, HEADS} & dimensions.keys():
            for value in _values(path, dimensions[path]):
                base.updated({GAMMA: 1.0, **fixed, path: value})
        return dimensions
    widths, heads = _values(WIDTH, dimensions[WIDTH]), _values(HEADS, dimensions[HEADS])
    fits = {width: tuple(h for h in heads if width % h == 0) for width in widths}
    alone = [str(width) for width, found in fits.items() if not found]
    if alone:
        raise InputError(
            f"{WIDTH}: no num_heads of {', '.join(map(str, heads))} divides {', '.join(alone)}"
        )
    if all(len(found) == len(heads) for found in fits.values()):
        return dimensions
    when = dimensions[HEADS].when
    fitted = {key: value for key, value in dimensions.items() if key != HEADS}
    for allowed in dict.fromkeys(fits.values()):
        same = tuple(width for width, found in fits.items() if found == allowed)
        label = ",".join(map(str, same))
        fitted[f"{HEADS}@{label}"] = Choice(choices=allowed, when={**when, WIDTH: same})
    return fitted


def _values(path: str, dimension: Range | Choice) -> list[int]:
    if isinstance(dimension, Choice):
        return [int(value) for value in dimension.choices]
    values = list(range(int(dimension.low), int(dimension.high) + 1, int(dimension.step or 1)))
    if len(values) > MAX_WIDTHS:
        raise InputError(
            f"{path}: {len(values)} values are too many to fit width and num_heads together; "
            "give a list of choices, or a step"
        )
    return values


def _settled(dimensions: Dimensions, fixed: Mapping[str, Any]) -> Dimensions:
    """Dimensions whose conditions can hold, without the conditions that always do."""
    found: Dimensions = {}
    for key, dimension in dimensions.items():
        when: dict[str, tuple[Any, ...]] = {}
        for other, values in dimension.when.items():
            if other in fixed:
                left = tuple(value for value in values if value == fixed[other])
            else:
                left = tuple(value for value in values if dimensions[other].contains(value))
                when |= {other: left}
            if not left:
                break
        else:
            found[key] = dimension.model_copy(update={"when": when})
    return found


def _ordered(dimensions: Dimensions) -> Dimensions:
    """Every dimension after those it depends on; Space refuses what a cycle leaves over."""
    ordered: Dimensions = {}
    left = dict(dimensions)
    while left:
        free = [key for key, value in left.items() if not set(value.when) & left.keys()]
        if not free:
            return {**ordered, **left}
        ordered |= {key: left.pop(key) for key in free}
    return ordered
