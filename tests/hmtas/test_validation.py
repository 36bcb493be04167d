"""A document with mistakes is refused in one line: file, field, rule, value and likely cause."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from hmtas.config import Config
from hmtas.errors import InputError
from hmtas.validation import Frozen, read_record, validated


class Inner(Frozen):
    share: float


class Outer(Frozen):
    inner: Inner
    number: int = 1


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"inner": {"share": "much"}}, "inner.share: Input should be a valid number, .*got 'much'"),
        ({"inner": {"share": float("nan")}}, "inner.share: Input should be a finite number"),
        ({"inner": {"share": 1, "more": 2}}, "inner.more: Extra inputs are not permitted, got 2"),
        ({"inner": {}}, r"inner.share: Field required; made"),
        ([], "Input should be a valid dictionary"),
    ],
)
def test_a_bad_document_is_one_line_with_its_place_and_cause(
    tmp_path: Path, document: object, words: str
) -> None:
    path = tmp_path / "outer.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"outer.json: .*{words}") as caught:
        read_record(path, Outer, cause="made by hand?")
    assert str(caught.value).endswith("; made by hand?")
    assert "\n" not in str(caught.value)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        validated(Outer, {"inner": {"share": "much"}, "number": "one"}, "here")
    assert str(caught.value).count("got") == 2


def test_a_rule_of_ours_reads_as_it_was_written() -> None:
    with pytest.raises(InputError, match=r"^run: model: width \(10\) must be a multiple of"):
        validated(Config, {"model": {"width": 10}}, "run")


def test_a_record_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner(share=1.0).share = 2.0  # type: ignore[misc]
