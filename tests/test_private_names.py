"""A name that a library keeps private is used in one module, and we hear of it when it goes."""

import ast
import importlib
from functools import cache

import pytest
import torch

from tests.test_layers import LAYERS, modules
from tune.search.trial import HEAD_NODE

HOMES = ("hmtas.cluster.ray_private", "hmtas.model.torch_private")
# Underscores that the standard library documents.
DOCUMENTED = {"_asdict", "_replace", "_fields", "_make", "_exit"}
BASE_EXC = "ray.train.v2._internal.exceptions.UserExceptionWithTraceback"
# What is used, and what to do when a release of the library has it no more.
USED = {
    "ray.train.v2._internal.callbacks.placement_group_callback.PlacementGroupCleanerCallback": (
        "look in DataParallelTrainer for what removes the placement group of a dead controller; "
        "if nothing does, TrainerWithoutCleaner can be TorchTrainer"
    ),
    "ray.train.v2.torch.torch_trainer.TorchTrainer._create_default_callbacks": (
        "find where the trainer puts its callbacks together; a cleaner that stays keeps a process "
        "per stopped trial (tests/tune/search/test_workers.py)"
    ),
    "ray.train.v2._internal.execution.callback.WorkerGroupCallback.after_worker_group_start": (
        "find what Ray Train calls when the workers of a training have started"
    ),
    "ray.train.v2._internal.execution.worker_group.WorkerGroup.get_worker_group_state": (
        "find where a worker group keeps its placement group"
    ),
    "torch.ops.mkldnn._reorder_linear_weight": (
        "nothing breaks: prediction falls back to torch.nn.functional.linear, an eighth slower; "
        "look for its successor in torch/_inductor/mkldnn_ir.py"
    ),
    "torch.ops.mkldnn._linear_pointwise": "as for _reorder_linear_weight",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text()) for name, path in modules().items()}


@cache
def our_names() -> frozenset[str]:
    """Every private name that our own code defines."""
    found = set()
    for node in (node for tree in trees().values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return frozenset(found)


def foreign_private_names(tree: ast.Module) -> list[str]:
    """The private names of other libraries that a module imports, reads or asks for by text."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if any_private(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module.partition(".")[0] not in LAYERS:
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                found += [name for name in names if any_private(name)]
        elif isinstance(node, ast.Attribute):
            if is_private(node.attr) and node.attr not in our_names():
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                found.append(ast.unparse(node))
    return found


def any_private(path: str) -> bool:
    return any(is_private(part) for part in path.split("."))


def test_a_private_name_of_a_library_has_one_home() -> None:
    for module, tree in trees().items():
        if module not in HOMES:
            assert foreign_private_names(tree) == [], f"{module}: put it into one of {HOMES}"


@pytest.mark.parametrize(
    "line",
    [
        "from ray.train._internal import storage",
        "from ray.tune.experiment import _thing",
        "import ray._private",
        "x = study._study_id",
        "x = torch.ops.mkldnn._linear_pointwise(1)",
        "x = getattr(error, '_base_exc', error)",
    ],
)
def test_a_private_name_is_found(line: str) -> None:
    assert len(foreign_private_names(ast.parse(line))) == 1


def resolve(path: str) -> object:
    """What a dotted path names; AttributeError or ImportError where there is nothing."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ImportError(path)


@pytest.mark.parametrize("path", USED)
def test_a_private_name_is_still_there(path: str) -> None:
    try:
        resolve(path)
    except (AttributeError, ImportError):
        pytest.fail(f"{path} is gone: {USED[path]}")


def test_the_error_of_a_worker_is_still_wrapped_as_we_unwrap_it() -> None:
    from hmtas.cluster.ray_private import original_error

    wrapper = resolve(BASE_EXC)
    assert callable(wrapper)
    error = ValueError("x")
    assert original_error(wrapper(error, "trace")) is error, (
        f"{BASE_EXC} keeps what a worker raised under another name: change original_error"
    )


def test_the_head_of_a_cluster_still_has_its_resource() -> None:
    name = resolve("ray._common.constants.HEAD_NODE_RESOURCE_NAME")
    assert list(HEAD_NODE) == [name], "Ray calls the head's resource otherwise: change HEAD_NODE"


def test_the_operators_are_used_where_they_work() -> None:
    from hmtas.model.torch_private import can_pack

    if torch.backends.mkldnn.is_available():
        assert can_pack(torch.float32), (
            "oneDNN is there, but its operators for packed matrices no longer take these "
            "arguments: change hmtas.model.torch_private"
        )
