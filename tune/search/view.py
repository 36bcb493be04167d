"""What a person sees of a study that runs: a few lines that keep up to date, on a terminal.

The cursor stays where it can be seen and the screen is the user's own: a driver that is killed
leaves a terminal that can be used.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hmtas.errors import InputError
from hmtas.terminal.console import is_lively, terminal
from hmtas.terminal.text import duration, percent
from tune.study.summary import BestTrial, RunningTrial, Summary, read_summary

REFRESH_HZ = 1.0
POLL_S = 2.0  # between two looks at a study that another process drives
MAX_SHOWN = 8  # running trials that are shown one by one
BAR_WIDTH = 30  # columns


@contextlib.contextmanager
def live_view(folder: Path) -> Iterator[None]:
    """Show how far a study is for the length of a block, on stderr if that is a terminal."""
    if not is_lively():
        yield
        return
    with _live(terminal(), folder, by=False, transient=False):
        yield


def watch(folder: Path) -> None:
    """Show how far a study is until it is done or nobody drives it, on stdout.

    Raises:
        InputError: If there is no study.
    """
    console = Console(highlight=False)
    shown = _live(console, folder, by=True, transient=True) if console.is_terminal else None
    with shown or contextlib.nullcontext():
        while read_summary(folder).status == "running":
            time.sleep(POLL_S)


@contextlib.contextmanager
def _live(console: Console, folder: Path, *, by: bool, transient: bool) -> Iterator[None]:
    last: RenderableType = Text("")

    def look() -> RenderableType:
        nonlocal last
        with contextlib.suppress(OSError, InputError):  # it cannot be read just then
            last = picture(read_summary(folder), by=by)
        return last

    view = Live(
        get_renderable=look,
        console=console,
        refresh_per_second=REFRESH_HZ,
        transient=transient,
        redirect_stdout=sys.stdout.isatty(),
    )
    with view:
        console.show_cursor(True)
        view.refresh()
        yield


def picture(summary: Summary, *, by: bool = True) -> RenderableType:
    """Bar, trials, best, time, and the trials that run, a line each; `by` also says who drives."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(summary.name, _headline(summary, by))
    grid.add_row("trials", ", ".join(_counts(summary)))
    if summary.best is not None:
        grid.add_row("best", Text(best_line(summary.best)))
    grid.add_row("time", ", ".join(_times(summary)))
    for i, one in enumerate(summary.running[:MAX_SHOWN]):
        grid.add_row("running" if i == 0 else "", _running(one, summary.max_epochs))
    if len(summary.running) > MAX_SHOWN:
        grid.add_row("", f"and {len(summary.running) - MAX_SHOWN} more")
    return grid


def _running(one: RunningTrial, max_epochs: int) -> RenderableType:
    bar = ProgressBar(max_epochs, one.epoch, width=BAR_WIDTH // 2)
    score = "" if one.score is None else f"best {100 * one.score:5.2f} %"
    return _side_by_side(one.trial, bar, f"epoch {one.epoch} of {max_epochs}", score)


def _headline(summary: Summary, by: bool) -> RenderableType:
    words: str = summary.status
    if summary.status == "running":
        if summary.ended == summary.total:
            words = "trials have ended, the rest follows"  # predictions, finalists
        words += f", {summary.driver}" if by else ""
    if summary.total is None:
        return Text(words)
    bar = ProgressBar(summary.total, summary.ended, width=BAR_WIDTH)
    return _side_by_side(bar, f"{summary.ended} of {summary.total}", words)


def _side_by_side(*cells: RenderableType) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    row.add_row(*cells)
    return row


def _counts(summary: Summary) -> list[str]:
    counts = [
        f"{len(summary.running)} running",
        f"{summary.done} done",
        f"{summary.stopped} stopped early",
        f"{summary.failed} failed",
    ]
    more = {"waiting": summary.waiting, "proposed again and not trained": summary.repeats}
    return counts + [f"{number} {what}" for what, number in more.items() if number]


def best_line(best: BestTrial) -> str:
    """The best trial, as in "tight 39.98 % [35.1, 44.8], loose 48.32 %, 76a78900 at epoch 4"."""
    other = ("loose", best.loose) if best.metric == "tight" else ("tight", best.tight)
    parts = [f"{best.metric} {score_text(best)}"]
    if other[1] is not None:
        parts.append(f"{other[0]} {percent(other[1])} %")
    parts.append(best.trial if best.epoch is None else f"{best.trial} at epoch {best.epoch}")
    return ", ".join(parts)


def score_text(best: BestTrial) -> str:
    """Score and interval in percent, such as "39.98 % [35.1, 44.8]"."""
    text = f"{percent(best.loose if best.metric == 'loose' else best.tight)} %"
    if best.interval is None:
        return text
    return f"{text} [{', '.join(percent(end, 1) for end in best.interval)}]"


def _times(summary: Summary) -> list[str]:
    times = [f"{duration(summary.spent_s)} so far"]
    if summary.status != "done" and summary.ended != summary.total:
        if summary.left_s is not None:
            times.append(f"{duration(summary.left_s)} left of {summary.hours:g} h")
        if summary.rest_s is None:
            times.append("the rest not yet known")
        elif summary.total is not None:
            times.append(f"about {duration(summary.rest_s)} to go")
    return times
