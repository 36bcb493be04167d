"""Numbers look the same everywhere, and a table keeps them whole however narrow the terminal."""

import io
import math

import pytest
from rich.console import Console

from hmtas.terminal.table import Table
from hmtas.terminal.text import counted, duration, estimate, gain, interval, percent, points


def drawn(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_shares_are_percent_and_what_is_not_known_is_a_dash() -> None:
    assert (percent(0.41204), percent(0.5, 1), percent(None), percent(math.nan)) == (
        "41.20", "50.0", "-", "-",
    )  # fmt: skip
    assert (points(0.012), points(-0.001, 1), points(None)) == ("+1.20", "-0.1", "-")
    assert interval((0.1, 0.25)) == "10.00 to 25.00"
    assert interval((-0.1, 0.25), 1, signed=True) == "-10.0 to +25.0"
    assert interval(None) == "-"
    assert estimate(0.4, (0.35, 0.45)) == "40.00 [35.00, 45.00]"
    assert estimate(0.4, None) == "40.00"
    assert gain(0.012, (-0.001, 0.025)) == "+1.20 [-0.10, +2.50]"


def test_an_interval_that_excludes_nothing_is_not_shown() -> None:
    assert (interval((0.0, 1.0)), interval((-1.0, 1.0), signed=True)) == ("-", "-")
    assert (estimate(0.4, (0.0, 1.0)), gain(0.012, (-1.0, 1.0))) == ("40.00", "+1.20")
    assert interval((0.0, 0.99)) == "0.00 to 99.00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"),
     (7500, "2 h 05 min")],
)  # fmt: skip
def test_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nouns_agree_with_their_numbers() -> None:
    assert [counted(n, "game") for n in (0, 1, 1200)] == ["0 games", "1 game", "1,200 games"]
    assert [counted(n, "GPU") for n in (0.5, 1.0, 2.0)] == ["0.5 GPUs", "1 GPU", "2 GPUs"]
    assert [counted(n, "half") for n in (1, 2)] == ["1 half", "2 halves"]


def test_text_folds_and_numbers_do_not() -> None:
    name = "a-name-that-is-too-long-for-a-narrow-terminal"
    table = Table(heads=("name", "tight, %"), rows=((name, "12345.67"),), title="Scores")
    wide, narrow = drawn(table, 100), drawn(table, 30)
    assert name in wide
    assert name not in narrow
    assert "12345.67" in narrow


def test_a_table_knows_how_narrow_it_can_be() -> None:
    table = Table(heads=("name", "95 %"), rows=(("m7", "38.05 to 44.35"),), title="x" * 9)
    needed = Console(width=1000).measure(table).minimum
    assert " name " in drawn(table, needed)
    assert " 38.05 to 44.35" in drawn(table, needed)
    assert " name " not in drawn(table, needed - 1)


def test_a_title_is_not_folded_as_narrow_as_the_table() -> None:
    table = Table(heads=("a",), rows=(("1",),), title="A long title", caption="A long caption")
    assert drawn(table, 40).splitlines()[0].rstrip() == "A long title"
    assert drawn(table, 40).splitlines()[-1].rstrip() == "A long caption"


def test_markup_in_a_cell_is_text() -> None:
    table = Table(heads=("name",), rows=(("[bold]x[/bold]",),))
    assert "[bold]x[/bold]" in drawn(table, 60)
