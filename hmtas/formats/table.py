"""CSV with a head, as spreadsheets write it: divided by commas, semicolons or tabs."""

import csv
import io

from hmtas.errors import InputError, quoted
from hmtas.files import looks_like


def table_rows(
    content: bytes, place: str, needed: tuple[str, ...], one_of: tuple[str, ...] = ()
) -> list[tuple[str, dict[str, str]]]:
    """The lines of a table by the names of its head, each with its place.

    Raises:
        InputError: If it is no text, lacks a column, or a line has more or fewer than the head.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        what = looks_like(content) or "no text of UTF-8"
        raise InputError(f"{place}: not a table (CSV) but {what}") from None
    first = text.split("\n", 1)[0]
    divider = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=divider, strict=True)
    rows = []
    try:
        head = [name.strip().lower() for name in next(reader, [])]
        while head and not head[-1]:  # of columns that a spreadsheet thinks it has
            head.pop()
        lacking = [name for name in needed if name not in head]
        if one_of and not set(one_of).intersection(head):
            lacking.append(" or ".join(one_of))
        if lacking or len(set(head)) < len(head):
            raise InputError(
                f"{place}: its first line must name the columns, "
                f"{', '.join((*needed, *one_of[:1]))}; got {quoted(first.strip())}"
            )
        for cells in reader:
            where = f"{place}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            while len(cells) > len(head) and not cells[-1].strip():
                cells.pop()
            if len(cells) != len(head):
                raise InputError(
                    f"{where}: has {len(cells)} columns, the head {len(head)}; is a name with "
                    f"{divider!r} in it not quoted?"
                )
            rows.append((where, dict(zip(head, map(str.strip, cells), strict=True))))
    except csv.Error as error:
        raise InputError(f"{place}, line {reader.line_num}: no CSV ({error})") from None
    return rows
