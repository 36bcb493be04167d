"""What is wrong with a file of JSON is one line."""

import json
from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.files import parse_json, read_json


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_may_begin_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text('{"game": "Córdoba"}', encoding=encoding)
    assert read_json(tmp_path / "a.json") == {"game": "Córdoba"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"train": ["a"], "train": ["b"]}', "here: an object has the key 'train' twice; which"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "not JSON .*4300 digits"),
        (b"\xff\xfe{", "not JSON but UTF-16"),
        ("{}".encode("utf-16-le"), "not JSON"),
        (b'{"a": ', "not JSON .*cut short"),
        (b"", "not JSON"),
    ],
)
def test_what_is_wrong_with_json_is_one_line(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_json(content, "here")
    assert "\n" not in str(caught.value)


def test_equal_keys_of_other_objects_are_no_mistake() -> None:
    content = [{"a": 1}, {"a": 2, "b": {"a": 3}}]
    assert parse_json(json.dumps(content).encode(), "here") == content
