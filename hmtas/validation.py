"""The base class of frozen pydantic records, and pydantic's findings as our errors."""

from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from hmtas.errors import InputError, join_problems
from hmtas.files import read_json

M = TypeVar("M", bound=BaseModel)


class Frozen(BaseModel):
    """A record that cannot be changed, knows all its fields, and holds no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def findings_of(error: ValidationError) -> list[str]:
    """What pydantic found, a clause each: the path of the field, the rule, and the value."""
    clauses = []
    for finding in error.errors():
        path = ".".join(str(part) for part in finding["loc"])
        clause = f"{path}: {finding['msg']}" if path else finding["msg"]
        # Our own rules name their values; a whole object would hide the rule.
        if finding["type"] not in ("value_error", "missing") and not isinstance(
            finding["input"], dict
        ):
            clause += f", got {finding['input']!r}"
        clauses.append(clause.replace("Value error, ", ""))
    return clauses


def one_of(option: str, word: str, kind: Any) -> Any:
    """A word of the command line that must be one of a `Literal`, else an `InputError`."""
    if word not in get_args(kind):
        raise InputError(f"--{option} must be one of {', '.join(get_args(kind))}, got {word!r}")
    return word


def validated(model: type[M], value: Any, place: str, *, cause: str = "") -> M:
    """A record from what a user or a file says; `cause` is the likely cause of a mistake.

    Raises:
        InputError: With every finding on one line.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError(
            f"{place}: {join_problems(findings_of(error))}" + (f"; {cause}" if cause else "")
        ) from None


def read_record(path: Path, model: type[M], *, cause: str = "written by another version?") -> M:
    """A record from its JSON file.

    Raises:
        InputError: If the file is missing, no JSON, or not such a record.
    """
    return validated(model, read_json(path), str(path), cause=cause)
