"""How an ablation looks on a terminal: Tables 5.2, 5.5 and 5.6 of the thesis for one store."""

import io
from collections.abc import Iterable, Iterator

from rich.console import Console

from hmtas.ablation.results import AblationResult, MeanScore, StudyResult
from hmtas.ablation.variants import REFERENCE
from hmtas.presets import THESIS_PER_ACTION, THESIS_STREAM_LOSSES
from hmtas.terminal.table import Table
from hmtas.terminal.text import NOTHING, counted, interval, percent, points

TEXT_WIDTH = 140
NOT_EVERY_SEED = "†"


def study_tables(result: AblationResult, study: StudyResult) -> Iterator[Table | str]:
    """One study: scores, differences and what they mean, then actions and streams."""
    yield (
        f"{study.title}  {counted(result.num_games, 'game')} of {result.split}, "
        f"{counted(len(result.seeds), 'seed')}, in percent"
    )
    yield scores_table(result, study)
    if study.num_comparisons:
        yield steps_table(result, study)
        yield from sentences(result, study)
        yield ""
    yield actions_table(result, study)
    if any(row.stream_losses for row in study.rows):
        yield streams_table(result, study)


def as_text(parts: Iterable[Table | str]) -> str:
    """What a terminal would show, without colours."""
    console = Console(file=io.StringIO(), width=TEXT_WIDTH, highlight=False, force_terminal=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part, markup=False)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def scores_table(result: AblationResult, study: StudyResult) -> Table:
    """Table 5.2: tight and loose with their intervals, the thesis's number beside them."""
    several, has_thesis = len(result.seeds) > 1, _has_thesis(result, study)
    seeds = ("seeds",) if several else ()
    thesis = ("thesis\ntight",) if has_thesis else ()
    heads = ("", "", "tight", "95 %", *seeds, "loose", "95 %", *thesis, "param.", "epoch")
    rows = []
    for row in study.rows:
        beside = [percent(row.thesis_tight)] if has_thesis else []
        if row.same_as is None:
            cells = [row.title, *_score_cells(row.tight, several=several)]
            cells += [*_score_cells(row.loose, several=False), *beside]
            epochs = sorted({epoch for epoch in row.best_epochs if epoch is not None})
            span = dict.fromkeys((epochs[0], epochs[-1]))  # one number where they are the same
            cells += [_short(row.num_parameters), "-".join(map(str, span))]
        else:
            num_scores = 5 if several else 4
            cells = [f"the same as {row.same_as}: {row.why_same}", *[NOTHING] * num_scores]
            cells += [*beside, NOTHING, NOTHING]
        rows.append((row.name, *cells))
    faint = frozenset(place for place, row in enumerate(study.rows) if row.same_as is not None)
    return Table(heads=heads, rows=tuple(rows), words=frozenset({0, 1}), faint=faint)


def steps_table(result: AblationResult, study: StudyResult) -> Table:
    """The paired differences, tight and loose, with intervals and verdicts."""
    several, has_thesis = len(result.seeds) > 1, _has_thesis(result, study)
    of_metric = ("95 %", *(("seeds",) if several else ()), "verdict")
    heads = ("", "against", "tight", *of_metric, "loose", *of_metric)
    rows = []
    for row in study.rows:
        if row.against is None:
            continue
        cells = [row.name, row.against.name]
        for found in (row.against.tight, row.against.loose):
            cells += [points(found.difference), interval((found.low, found.high), signed=True)]
            if several:
                cells.append(interval((min(found.by_seed), max(found.by_seed)), signed=True))
            cells.append(found.verdict + (NOT_EVERY_SEED if found.seeds_differ else ""))
        rows.append((*cells, *([points(row.against.thesis)] if has_thesis else [])))
    return Table(
        heads=(*heads, *(("thesis\ntight",) if has_thesis else ())),
        rows=tuple(rows),
        words=frozenset({0, 1, *(n for n, head in enumerate(heads) if head == "verdict")}),
    )


def sentences(result: AblationResult, study: StudyResult) -> Iterator[str]:
    """What the numbers are, and what they are not."""
    number = study.num_comparisons
    if number > 1:
        yield (
            f"The {number} intervals of the differences hold together at 95 % (max-T over "
            "resampled games), tight and loose each for itself."
        )
    if len(result.seeds) > 1:
        yield (
            "Scores are means over the seeds, which are resampled together: intervals are over "
            "games alone. The columns 'seeds' show the lowest and the highest of the seeds."
        )
        steps = [row.against for row in study.rows if row.against is not None]
        if any(found.seeds_differ for step in steps for found in (step.tight, step.loose)):
            yield f"{NOT_EVERY_SEED} not with every seed: another seed may turn it round."
    else:
        yield (
            "Intervals are over games alone: they say that these trained models differ. What "
            "another seed would change is not in them; --seeds 3 shows it."
        )
    if result.windows == "fitted":
        how = "cross-fitted over games" if result.cross_fitted else "fitted on another split"
        yield f"NMS windows were {how}; nothing else was fitted on these games."
    else:
        yield "Nothing was fitted on these games: windows and threshold are fixed."


def actions_table(result: AblationResult, study: StudyResult) -> Table:
    """Table 5.5: tight average precision by action, with the number of events."""
    has_thesis = _has_thesis(result, study)
    names = [_break(row.name) for row in study.trained]
    rows = []
    for action, num_events in result.num_events.items():
        cells = [percent(row.per_action[action]) for row in study.trained]
        if has_thesis:
            thesis = THESIS_PER_ACTION.get(action)
            cells.append(percent(None if thesis is None else thesis / 100))
        rows.append((action, f"{num_events:,}", *cells))
    return Table(
        title="Tight, by action",
        heads=("action", "events", *names, *([f"thesis\n{REFERENCE}"] if has_thesis else [])),
        rows=tuple(rows),
        faint=frozenset(n for n, events in enumerate(result.num_events.values()) if not events),
    )


def streams_table(result: AblationResult, study: StudyResult) -> Table:
    """Table 5.6: validation loss of each stream's own head (Equation 4.1)."""
    shown = [row for row in study.trained if row.stream_losses]
    streams = list(dict.fromkeys(name for row in shown for name in row.stream_losses))
    thesis = THESIS_STREAM_LOSSES if _has_thesis(result, study) else {}
    has_thesis = not thesis.keys().isdisjoint(streams)
    rows = []
    for name in streams:
        losses = [row.stream_losses.get(name) for row in shown]
        losses += [thesis.get(name)] if has_thesis else []
        rows.append((name, *(NOTHING if loss is None else f"{loss:.4f}" for loss in losses)))
    names = [_break(row.name) for row in shown]
    return Table(
        title="Validation loss of each stream's own head, at the best epoch",
        caption="Compare within a column: L and weights change what a loss means.",
        heads=("stream", *names, *([f"thesis\n{REFERENCE}"] if has_thesis else [])),
        rows=tuple(rows),
    )


def _has_thesis(result: AblationResult, study: StudyResult) -> bool:
    """Does the thesis say anything of such models: is it the ladder, on actions that it knows?"""
    return study.reference is None and not THESIS_PER_ACTION.keys().isdisjoint(result.num_events)


def _score_cells(score: MeanScore, *, several: bool) -> list[str]:
    cells = [percent(score.mean), interval(score.interval)]
    return [*cells, interval((min(score.by_seed), max(score.by_seed)))] if several else cells


def _break(name: str) -> str:
    """A long name in two lines."""
    return name.replace("-", "\n", 1)


def _short(number: int | None) -> str:
    """A number of parameters."""
    if number is None:
        return NOTHING
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"
