"""Every module stays in its layer: numbers run without torch, the model without Ray, and so on.

Each layer's modules are imported in one fresh process, and `sys.modules` is read after each.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hmtas", "tune", "ensemble")

# A new module gets a line here, in the highest layer that has all it needs.
LAYERS = {
    "numbers": """
        hmtas hmtas.chunks hmtas.config hmtas.environment hmtas.errors hmtas.evaluate
        hmtas.evidence hmtas.files hmtas.folds hmtas.game_counts
        hmtas.histograms hmtas.labels
        hmtas.match hmtas.matching hmtas.metrics hmtas.nms hmtas.nms_table
        hmtas.nms_windows hmtas.plan hmtas.presets hmtas.records
        hmtas.runs hmtas.sameness hmtas.season hmtas.signals hmtas.sources
        hmtas.splits
        hmtas.statistics hmtas.store_index
        hmtas.submission hmtas.variants hmtas.verdicts hmtas.windows hmtas.winner
        ensemble ensemble.combine ensemble.combiner ensemble.contest ensemble.counting
        ensemble.crossfit ensemble.diversity ensemble.greedy
        ensemble.library ensemble.nested ensemble.peaks
        ensemble.selection ensemble.selection_document ensemble.shortlist
        ensemble.stack ensemble.weighting tune tune.budget tune.default_space
        tune.final_record
        tune.lock tune.options tune.record tune.space tune.space_entries tune.summary tune.warm
    """,
    "storage": """
        hmtas.ablation_document hmtas.ablation_scores
        hmtas.baseline hmtas.begin hmtas.bucket hmtas.journal hmtas.node_copy hmtas.pack
        hmtas.probabilities hmtas.remote hmtas.store hmtas.store_files hmtas.upload
        hmtas.verify hmtas.embed hmtas.embed.clock hmtas.embed.commentary hmtas.embed.encoder
        hmtas.embed.transcripts hmtas.commands.score_inputs ensemble.leaks ensemble.members
        ensemble.scored tune.run_windows
    """,
    "learning": """
        hmtas.batches hmtas.rows
        hmtas.checkpoint hmtas.dataset hmtas.fit hmtas.loss hmtas.model hmtas.predict
        hmtas.reproduce hmtas.resident hmtas.stepping hmtas.sync_norm
        hmtas.shared_windows
        hmtas.validate ensemble.build ensemble.candidates ensemble.fusion ensemble.fusion_rows
        ensemble.learned ensemble.methods ensemble.network ensemble.package ensemble.packaged
        ensemble.plan ensemble.refit ensemble.selected tune.objective
    """,
    "edge": """
        hmtas.__main__ hmtas.ablation hmtas.ablation_tables hmtas.ablation_watch hmtas.pictures
        hmtas.commands.ablate hmtas.cli hmtas.cluster hmtas.commands hmtas.comparison hmtas.console
        hmtas.distributed hmtas.mlflow_client hmtas.mlflow_log hmtas.mlflow_sync hmtas.outbox
        hmtas.recipe
        hmtas.tracking hmtas.train_reports
        hmtas.commands.baseline hmtas.commands.compare hmtas.commands.compare_pairs
        hmtas.commands.compare_table hmtas.commands.reproduce
        hmtas.commands.reproduce_table
        hmtas.commands.demo hmtas.commands.embed hmtas.commands.learn hmtas.commands.score
        hmtas.commands.score_table hmtas.commands.season hmtas.commands.store ensemble.cli
        ensemble.commands_select ensemble.selection_pictures ensemble.selection_table
        ensemble.tracking
        ensemble.commands_promote ensemble.model_version ensemble.registry ensemble.served
        tune.asking tune.callback tune.cli tune.cluster
        tune.commands_space tune.commands_study tune.commands_sweep tune.commands_windows
        tune.drive tune.final
        tune.importance tune.repeat tune.report tune.report_figures tune.report_models
        tune.report_facts tune.report_head tune.report_names tune.report_scores
        tune.report_sections tune.report_space tune.report_style tune.report_tables
        tune.report_model_sections tune.report_record_sections tune.report_search_sections
        tune.report_windows
        tune.final_table tune.groups tune.nested tune.optuna_windows
        tune.progress
        tune.mirror tune.pruning tune.samplers tune.search tune.space_table tune.study tune.tables
        tune.view
    """,
}
_EDGE_ONLY = ("ray", "optuna", "mlflow", "typer", "plotly")
FORBIDDEN = {
    "numbers": ("pyarrow", "sklearn", "torch", *_EDGE_ONLY),
    "storage": ("torch", *_EDGE_ONLY),
    "learning": _EDGE_ONLY,
    "edge": (),
}
OTHER_PACKAGES = {"hmtas": ("tune", "ensemble"), "tune": ("ensemble",), "ensemble": ("tune",)}
MLFLOW_HOME = {
    *("hmtas.mlflow_client", "hmtas.mlflow_log", "hmtas.tracking", "hmtas.comparison"),
    *("ensemble.model_version", "ensemble.registry", "ensemble.served"),
}


def modules_of(layer: str, package: str) -> list[str]:
    return [m for m in LAYERS[layer].split() if m.partition(".")[0] == package]


def files() -> dict[str, Path]:
    """Every module of the three packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def first_offender(modules: list[str], forbidden: tuple[str, ...]) -> str:
    """Import the modules in a fresh process; the first that brings in a forbidden one, or ''."""
    program = (
        "import sys, importlib\n"
        f"for name in {modules!r}:\n"
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


def test_every_module_is_in_exactly_one_layer() -> None:
    listed = [module for layer in LAYERS.values() for module in layer.split()]
    assert len(listed) == len(set(listed))
    unlisted = sorted(set(files()) - set(listed))
    assert not unlisted, f"give {unlisted} a place in LAYERS, in tests/test_layers.py"
    gone = sorted(set(listed) - set(files()))
    assert not gone, f"LAYERS in tests/test_layers.py still lists {gone}"


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_nothing_from_below(layer: str, package: str) -> None:
    modules = [m for m in modules_of(layer, package) if m != "hmtas.__main__"]
    assert first_offender(modules, FORBIDDEN[layer] + OTHER_PACKAGES[package]) == ""


def test_an_offender_is_found_and_named() -> None:
    found = first_offender(["hmtas.errors", "hmtas.store"], ("pyarrow",))
    assert found == "importing hmtas.store imports ['pyarrow']"


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


def imports(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Every import statement of a file, inside functions too: (module, names)."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", tuple(alias.name for alias in node.names)))
    return found


def test_packages_do_not_import_each_other_even_inside_functions() -> None:
    for name, path in files().items():
        strangers = OTHER_PACKAGES[name.partition(".")[0]]
        for module, _ in imports(path):
            assert module.partition(".")[0] not in strangers, f"{name} imports {module}"


def test_mlflow_has_one_home() -> None:
    users = {
        name
        for name, path in files().items()
        if any(module.partition(".")[0] == "mlflow" for module, _ in imports(path))
    }
    assert users <= MLFLOW_HOME


def test_ray_tune_is_never_imported_as_tune() -> None:
    for name, path in files().items():
        assert not any(m == "ray" and "tune" in names for m, names in imports(path)), name
