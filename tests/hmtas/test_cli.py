"""Defends: all verbs speak alike, and every command that a message or a document names exists."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from hmtas import __version__
from hmtas.cli import build
from tests.support.paths import ROOT

METAVAR = re.compile(r"[A-Z]+([=|][A-Z]+)?(,\.\.\.)?")
COMMAND = re.compile(r"(`?)\bhmtas ((?:tune |ensemble |embed )?[a-z]+)\b([^`#\n;&]*)")
# Flags of ray, mlflow, optuna-dashboard and convmv.
OTHER_TOOLS = {
    *("--head", "--host", "--storage", "--backend-store-uri", "--experiment-id", "--port"),
    *("--nfc", "--notest"),
}


def verbs() -> dict[str, Any]:
    """Every verb by its words."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield " ".join(words), command
            return
        for name, part in command.commands.items():
            yield from walk(part, (*words, name))

    return dict(walk(typer.main.get_command(build()), ()))


VERBS = verbs()
FLAGS = {
    name: {flag for part in command.params for flag in (*part.opts, *part.secondary_opts)}
    for name, command in VERBS.items()
}


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_json_and_metavars(name: str) -> None:
    shown = CliRunner().invoke(build(), [*name.split(), "-h"])
    assert shown.exit_code == 0
    assert f" {name} " in shown.stdout
    assert "--json" in FLAGS[name]
    kinds = get_type_hints(VERBS[name].callback)
    for part in VERBS[name].params:
        assert part.help, part.name
        assert part.help[0].isupper() or not part.help[0].isalpha(), part.help
        assert part.help.endswith("."), part.help
        if kinds[part.name] is not bool and get_origin(kinds[part.name]) is not Literal:
            assert part.metavar, part.name
            assert METAVAR.fullmatch(part.metavar), part.metavar


def test_one_idea_has_one_name() -> None:
    every = set().union(*FLAGS.values())
    for flag in ("--concurrency", "--gpu", "--workers-per-trial", "--gpus-per-run"):
        assert flag not in every
    devices = [part for one in VERBS.values() for part in one.params if part.name == "device"]
    assert len(devices) == 3
    for name in ("train", "predict", "reproduce"):
        assert get_args(get_type_hints(VERBS[name].callback)["device"]) == ("auto", "cpu", "cuda")
    for name in ("fit", "select"):
        (combiner,) = [p for p in VERBS[f"ensemble {name}"].params if "--combiner" in p.opts]
        assert combiner.multiple


def texts(path: Path) -> Iterator[str]:
    """Every string of a module, what is filled in as X; or a whole document."""
    if path.suffix != ".py":
        yield re.sub(r" *\\\n *", " ", path.read_text())
        return
    inside = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            inside |= set(node.values)
            parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and node not in inside:
            yield re.sub(r"\n +", " ", str(node.value))


def documents() -> list[Path]:
    """What may name a command: modules, and what tells how to use them."""
    code = [path for top in ("hmtas", "tune", "ensemble") for path in (ROOT / top).rglob("*.py")]
    prose = [ROOT / name for name in ("README.md", "Makefile", "cluster.yaml", "rayjob.yaml")]
    return [*code, *prose, *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.py")]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(path: Path) -> None:
    for text in texts(path):
        for quoted, name, rest in COMMAND.findall(text):
            verb = name if name in VERBS else name.split()[0]
            if verb in VERBS:
                unknown = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)) - FLAGS[verb]
                assert not unknown, f"hmtas {verb} has no {unknown}: {text}"
            else:
                assert not quoted or verb in {"tune", "ensemble", "embed"}, f"hmtas {name}: {text}"


def test_every_place_in_a_command_is_quoted() -> None:
    """A command that a message names can be pasted, wherever its folders lie."""
    bare = []
    for path in documents():
        for node in ast.walk(ast.parse(path.read_text())) if path.suffix == ".py" else ():
            if isinstance(node, ast.JoinedStr):
                bare += [f"{path}: {field}" for field in fields_of_commands(node)]
    assert not bare


def fields_of_commands(text: ast.JoinedStr) -> Iterator[str]:
    """What an f-string fills into a command of ours, unless it is quoted for a shell."""
    before = ""
    for part in text.values:
        if isinstance(part, ast.Constant):
            before += str(part.value)
        elif isinstance(part, ast.FormattedValue):
            field = ast.unparse(part.value)
            named = re.search(r"\bhmtas (tune |ensemble |embed )?[a-z]+ [^`;,\n]*$", before)
            if named and not field.startswith(("shlex.", "quoted", "of_split")):
                yield field
            before += "X"


def test_every_flag_in_a_message_exists() -> None:
    every = set().union(
        *FLAGS.values(), OTHER_TOOLS, {"--help", "--version", "--quiet", "--verbose", "--debug"}
    )
    for path in documents():
        if path.suffix == ".py" and path.parent.name != "benchmarks":
            for text in texts(path):
                unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - every
                assert not unknown, f"{path}: {text}"


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hmtas", *words], capture_output=True, text=True, check=False
    )


def test_the_version() -> None:
    shown = CliRunner().invoke(build(), ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"hmtas {__version__}\n")


def test_quiet_leaves_results_and_errors_and_verbose_says_where(tmp_path: Path) -> None:
    season = ("--train", "1", "--valid", "0", "--test", "0", "--minutes", "1", "--streams", "a=1")
    quiet = run("-q", "season", str(tmp_path / "season"), *season, "--json")
    assert quiet.stderr == ""
    assert '"num_games": 1' in quiet.stdout
    assert "1 game in" in run("season", str(tmp_path / "season"), *season).stderr
    failed = run("-q", "score", str(tmp_path))
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert "Traceback" not in failed.stderr
    assert "Traceback" in run("-v", "score", str(tmp_path)).stderr


def test_a_shell_can_complete_verbs() -> None:
    words = {"_HMTAS_COMPLETE": "complete_bash", "COMP_WORDS": "hmtas tune m", "COMP_CWORD": "2"}
    shown = CliRunner(env=words).invoke(build(), [], prog_name="hmtas")
    assert shown.stdout.split() == ["model", "mirror"]
