"""What is imported is declared: nothing works only because another package happens to need it."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

import pytest

from tests.support.paths import ROOT

OURS = {"hmtas", "tune", "ensemble", "tests", "benchmarks"}


@cache
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def name_of(requirement: str) -> str:
    """The name of a requirement such as "ray[tune]>=2.60,<2.61", spelt as an index spells it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def declared(*extras: str) -> set[str]:
    """Names of the requirements to run it, and of some extras."""
    optional = project()["optional-dependencies"]
    lines = [*project()["dependencies"], *(line for extra in extras for line in optional[extra])]
    return {name_of(line) for line in lines}


def imported(*folders: str) -> dict[str, str]:
    """The packages that folders import, inside functions too, each with a file that does."""
    beside = {path.stem for folder in folders for path in (ROOT / folder).glob("*.py")}
    found = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in (name.partition(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name not in OURS | beside:
                    found[name] = path.relative_to(ROOT).as_posix()
    return found


def undeclared(found: dict[str, str], names: set[str]) -> dict[str, str]:
    """Packages that no declared distribution brings: several may bring parts of one."""
    owners = packages_distributions()
    return {
        package: file
        for package, file in found.items()
        if not {name_of(owner) for owner in owners.get(package, [package])} & names
    }


def test_the_product_declares_what_it_imports() -> None:
    missing = undeclared(imported("hmtas", "tune", "ensemble"), declared())
    assert missing == {}, "add them to `dependencies` in pyproject.toml"


def test_tests_and_benchmarks_declare_what_they_import() -> None:
    missing = undeclared(imported("tests", "benchmarks"), declared("dev"))
    assert missing == {}, "add them to the extra `dev` in pyproject.toml"


def test_the_tested_version_of_every_requirement_is_known() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {name_of(line) for line in lines if line and not line.startswith("#")}
    assert declared("dev", "dashboard") - tested == set()


@pytest.mark.parametrize(
    ("package", "name"),
    [("pyarrow", "pyarrow"), ("sklearn", "scikit-learn"), ("yaml", "pyyaml")],
)
def test_an_import_is_found_and_known_by_its_distribution(package: str, name: str) -> None:
    found = {package: imported("hmtas", "tests")[package]}
    assert undeclared(found, {name}) == {}
    assert undeclared(found, set()) == found
