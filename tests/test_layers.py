"""Every package stays in its place: it imports from those above it, and no heavier library.

The lists below are the map of the code. Top to bottom: a package imports packages that stand
above it, never one below, and no private name of another one. Nothing imports in a circle.
"""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

LAYERS = {
    "hmtas": """
        errors numbers, refusals numbers, files numbers, place numbers, validation numbers,
        records numbers, settings numbers, config numbers, presets numbers, terminal numbers,
        formats numbers, season numbers, embed storage, store storage, packing storage,
        runs numbers, metric numbers,
        statistics numbers, spotting numbers, scoring storage, model learning,
        prediction learning, training learning, cluster edge, tracking storage,
        ablation learning, reproduce learning, commands edge, cli edge, __main__ edge
    """,
    "tune": """
        space numbers, study numbers, windows edge, report edge, search edge, sweep numbers,
        commands edge
    """,
    "ensemble": """
        stack numbers, greedy numbers, combiner numbers, learned learning, combiners learning,
        build learning, selection learning, registry edge, commands edge
    """,
}
ORDER = {
    f"{top}.{entry.split()[0]}": entry.split()[1]
    for top, text in LAYERS.items()
    for entry in text.split(",")
}
EDGE_ONLY = ("ray", "optuna", "mlflow", "typer", "plotly")
FORBIDDEN = {
    "numbers": ("pyarrow", "sklearn", "torch", *EDGE_ONLY),
    "storage": ("torch", *EDGE_ONLY),
    "learning": EDGE_ONLY,
}
OTHERS = {"hmtas": (), "tune": ("hmtas",), "ensemble": ("hmtas",)}
MLFLOW_HOME = ("hmtas.tracking", "ensemble.registry")
MOST_FILES = 20  # in a folder that a reader still overlooks


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {}
    for top in LAYERS:
        for path in (ROOT / top).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def package_of(module: str) -> str:
    """The entry of the lists above that a module belongs to; '' for a top level."""
    return ".".join(module.split(".")[:2]) if "." in module else ""


@cache
def imports(path: Path) -> tuple[tuple[str, str], ...]:
    """Every import of a file, inside functions too: (module, name), name '' for a whole module."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
    return tuple(found)


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    known = modules()
    each = ((f"{module}.{name}", module) for module, name in imports(path))
    return {full if full in known else module for full, module in each if module in known}


def first_offender(names: list[str], forbidden: tuple[str, ...]) -> str:
    """Import modules in a fresh process; the first that brings in a forbidden one, or ''."""
    program = (
        "import sys, importlib\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    bad = [other for other in {forbidden!r} if other in sys.modules]\n"
        "    if bad:\n"
        "        print(f'importing {name} imports {bad}')\n"
        "        break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_package_is_on_the_map_and_small_enough_to_see() -> None:
    packages = {package_of(module) for module in modules()} - {""}
    assert packages == set(ORDER)
    for folder in {path.parent for path in modules().values()}:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder


def test_a_package_imports_only_packages_above_it() -> None:
    order = list(ORDER)
    for name, path in modules().items():
        top, mine = name.partition(".")[0], package_of(name)
        for other in imported(path):
            if other.partition(".")[0] != top:
                assert other.partition(".")[0] in OTHERS[top], f"{name} imports {other}"
            elif mine and package_of(other) not in ("", mine):
                assert order.index(package_of(other)) < order.index(mine), f"{name} <- {other}"


def test_nothing_imports_in_a_circle() -> None:
    graph = {name: imported(path) - {name} for name, path in modules().items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_package_takes_a_private_name_of_another() -> None:
    for name, path in modules().items():
        for module, taken in imports(path):
            if module in modules() and package_of(module) != package_of(name):
                assert not taken.startswith("_") or taken == "__version__", f"{name}: {taken}"


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_needs_no_heavier_library(layer: str) -> None:
    names = [name for name in modules() if ORDER.get(package_of(name)) == layer]
    assert first_offender(names, FORBIDDEN[layer]) == ""


def test_an_offender_is_found_and_named() -> None:
    found = first_offender(["hmtas.errors", "hmtas.store.local"], ("pyarrow",))
    assert found == "importing hmtas.store.local imports ['pyarrow']"


def test_help_needs_no_heavy_library() -> None:
    program = (
        "import sys\n"
        "from hmtas.cli import build\n"
        "build()(['--help'], prog_name='hmtas', standalone_mode=False)\n"
        "heavy = ('torch', 'ray', 'mlflow', 'pyarrow', 'sklearn', 'plotly', 'optuna')\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "compare" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_mlflow_has_one_home() -> None:
    users = {
        package_of(name)
        for name, path in modules().items()
        if any(module.partition(".")[0] == "mlflow" for module, _ in imports(path))
    }
    assert users <= set(MLFLOW_HOME)


def test_ray_tune_is_never_imported_as_tune() -> None:
    for name, path in modules().items():
        assert ("ray", "tune") not in imports(path), name
