"""A table as data. `hmtas.terminal.console.show` renders it on a terminal, a report on a page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.console


@dataclass(frozen=True, kw_only=True)
class Table:
    """Headings and rows of text.

    Attributes:
        heads: Headings; a line break in one keeps its column narrow.
        rows: A cell for each heading.
        words: Columns of text, aligned left; all others hold numbers.
        title: What the table shows.
        caption: What its marks mean.
        strong: Rows that stand out.
        faint: Rows that matter less.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})
    title: str = ""
    caption: str = ""
    strong: frozenset[int] = frozenset()
    faint: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Check that every row has a cell for each heading."""
        assert all(len(row) == len(self.heads) for row in self.rows), self.heads

    def __rich__(self) -> "rich.console.RenderableType":
        """The table for a terminal: text folds where space is short, numbers stay whole."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            box=SIMPLE_HEAD,
            header_style="dim",
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for number, head in enumerate(self.heads):
            is_text = number in self.words
            lines = [line for row in (self.heads, *self.rows) for line in row[number].splitlines()]
            table.add_column(
                Text(head),
                justify="left" if is_text else "right",
                overflow="fold",
                no_wrap=not is_text,
                min_width=None if is_text else max(map(len, lines), default=0),
            )
        for place, row in enumerate(self.rows):
            style = "bold" if place in self.strong else "dim" if place in self.faint else None
            table.add_row(*map(Text, row), style=style)
        # Beside the table, not in it, where they would fold as narrow as the table is.
        title = [Text(self.title, style="bold")] if self.title else []
        caption = [Text(self.caption)] if self.caption else []
        return Group(*title, table, *caption)
