"""Seeded damage to a document: values, keys and lists of JSON, cells of a table, and bytes."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.support.label_files import text_of

_DEEP = "@@deep@@"  # what `json.dumps` cannot write: brackets within brackets
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 99, 100, 1.5, -0.5, 1e308, -1e308, 5e-324, 10**30, -(10**30),
    2**53, 2**63, float("nan"), float("inf"), float("-inf"), "", " ", "\n", "a\nb", "\ud800",
    "\x00", "x" * 5000, "é" * 300, "1e999", "nan", "-5", "12_0", "٣", "Goal", "goal", "1 - 00:12",
    "99 - 999:59", "0 - 00:00", "../../up", "/top", "l/s/a", "l\\s\\b", "C:\\a", ".", "challenge",
    "true", [], {}, [[]], [{}], {"a": 1}, {"": {}}, [None, None], [1e308, 1e309], ["a", 1], _DEEP,
)  # fmt: skip
_KEYS = (
    "", "label", "events", "videos", "data", "database", "results", "position", "half", "frame",
    "a\nb", "\ud800", "x" * 5000, "head", "../up", "l/s/a", "l/s/b/half2",
)  # fmt: skip


def mutations(document: Any, kind: str, number: int, seed: int) -> Iterator[bytes]:
    """Damaged forms of a sound document, each the same for the same seed."""
    for n in range(number):
        generator = np.random.default_rng([seed, n, *kind.encode()])
        yield _mutated(document, kind, generator)


def deep(number: int) -> str:
    """Lists within lists."""
    return "[" * number + "]" * number


def _mutated(document: Any, kind: str, generator: np.random.Generator) -> bytes:
    if generator.random() < 0.25:
        return _with_bytes(text_of(document, kind).encode(), generator)
    changed = copy.deepcopy(document)
    for _ in range(generator.integers(1, 4)):
        changed = _changed(changed, generator)
    if kind == "csv":
        rows = [row if isinstance(row, list) else [row] for row in _list(changed)]
        return text_of(rows, kind).encode(errors="surrogatepass")
    text = json.dumps(changed)
    if generator.random() < 0.1:
        key = _one(generator, [part for part in text.split('"') if part.isidentifier()] or ["a"])
        text = text.replace(f'"{key}":', f'"{key}": 1, "{key}":', 1)
    depth = int(generator.choice([3, 100, 700, *range(800, 1001, 10), 5000]))
    return text.replace(f'"{_DEEP}"', deep(depth)).encode()


def _changed(document: Any, generator: np.random.Generator) -> Any:
    """Something at some place replaced, dropped, doubled, renamed or emptied."""
    places = list(_places(document))
    if not places:
        return copy.deepcopy(_one(generator, JUNK))
    parent, key = _one(generator, places)
    what = generator.choice(["replace", "replace", "drop", "double", "rename", "empty"])
    if what == "replace":
        parent[key] = copy.deepcopy(_one(generator, JUNK))
    elif what == "empty":
        parent[key] = type(parent[key])() if parent[key] is not None else []
    elif isinstance(parent, list):
        value = parent.pop(key)
        if what != "drop":
            parent += [value, copy.deepcopy(value)]
    else:
        value = parent.pop(key) if what != "double" else copy.deepcopy(parent[key])
        if what != "drop":
            parent[_one(generator, _KEYS)] = value
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in a document, as what holds it and its key."""
    keys = list(document) if isinstance(document, dict) else range(len(_list(document)))
    for key in keys:
        yield document, key
        yield from _places(document[key])


def _with_bytes(content: bytes, generator: np.random.Generator) -> bytes:
    place = int(generator.integers(len(content)))
    flipped = bytearray(content)
    for at in generator.integers(len(content), size=generator.integers(1, 6)):
        flipped[at] = generator.integers(256)
    ways = (
        bytes(flipped),
        content[:place],
        content[place:],
        content[:place] + generator.bytes(4) + content[place:],
        content[:place] + "é".encode("latin-1") + content[place:],
        content.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + content,
        bytes(len(content)),
    )
    return bytes(_one(generator, ways))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _one(generator: np.random.Generator, items: Any) -> Any:
    return items[int(generator.integers(len(items)))]
