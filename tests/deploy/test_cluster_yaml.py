"""cluster.yaml is one that `ray up` accepts, installs what this checkout pins, and is explained."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT


@pytest.fixture
def config() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return document


@pytest.fixture(autouse=True)
def _no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def check(config: dict[str, Any]) -> None:
    """Both of Ray's checks; the schema alone would accept a head type that does not exist."""
    import jsonschema
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(config, json.loads(schema.read_text()))
    validate_config(prepare_config(copy.deepcopy(config)))


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    check(config)


def test_a_head_type_that_does_not_exist_is_refused(config: dict[str, Any]) -> None:
    config["head_node_type"] = "haed"
    with pytest.raises(ValueError, match="head_node_type"):
        check(config)


def test_an_unknown_key_is_refused(config: dict[str, Any]) -> None:
    config["maximum_workers"] = 3
    with pytest.raises(Exception, match="maximum_workers"):
        check(config)


def test_the_image_has_the_pinned_ray(config: dict[str, Any]) -> None:
    pins = (ROOT / "constraints.txt").read_text()
    pinned = re.search(r"^ray==(\S+)$", pins, re.MULTILINE)
    assert pinned is not None
    assert config["docker"]["image"] == f"rayproject/ray:{pinned[1]}-py311-gpu"


def test_every_node_installs_this_project_with_its_pins(config: dict[str, Any]) -> None:
    mounts = {local: remote for remote, local in config["file_mounts"].items()}
    install = next(command for command in config["setup_commands"] if "pip install" in command)
    assert f"cd {mounts['.']} " in install
    assert "--constraint constraints.txt '.[postgresql]'" in install


def test_mlflow_has_a_database_that_no_network_file_system_holds(config: dict[str, Any]) -> None:
    """Its address has a password: it comes by a file, and no list of processes shows it."""
    path = "/home/ray/.mlflow_database"
    assert path in config["file_mounts"]
    (serve,) = (c for c in config["head_start_ray_commands"] if "mlflow server" in c)
    assert serve.startswith(f"MLFLOW_BACKEND_STORE_URI=$(cat {path.replace('/home/ray', '~')}) ")
    assert "sqlite" not in serve
    assert "--backend-store-uri" not in serve


def test_the_shared_folder_reaches_the_containers(config: dict[str, Any]) -> None:
    assert any("mount -t nfs4" in command for command in config["initialization_commands"])
    assert "-v /mnt/hmtas:/mnt/hmtas" in config["docker"]["run_options"]


def test_workers_have_gpus_and_an_upper_bound(config: dict[str, Any]) -> None:
    worker = config["available_node_types"]["gpu_worker"]
    assert worker["node_config"]["InstanceType"].startswith(("g", "p"))
    assert 0 < worker["max_workers"] <= config["max_workers"]


def test_all_machines_ask_for_the_token(config: dict[str, Any]) -> None:
    for start in ("head_start_ray_commands", "worker_start_ray_commands"):
        commands = [command for command in config[start] if "ray start" in command]
        assert len(commands) == 1
        assert "RAY_AUTH_MODE=token" in commands[0]
    assert any(path.endswith("/.ray/auth_token") for path in config["file_mounts"])


def documented(title: str) -> tuple[set[str], set[str]]:
    """Keys that a section of docs/cluster.md names: those of its rows, and all of them."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    section = re.sub("```.*?```", "", section, flags=re.DOTALL)
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]

    def parts(lines: list[str]) -> set[str]:
        quoted = re.findall("`([^`]+)`", "\n".join(lines))
        return {part for words in quoted for part in re.split(r"[.:]\s*", words)}

    return parts(rows), parts(section.splitlines())


def keys(document: Any) -> set[str]:
    """Every key of a configuration, at any depth, but not the paths of its file mounts."""
    if isinstance(document, list):
        return {key for item in document for key in keys(item)}
    if not isinstance(document, dict):
        return set()
    below = {key for value in document.values() for key in keys(value)}
    return below | {key for key in document if "/" not in key}


def test_every_key_is_explained_and_none_that_is_not_there(config: dict[str, Any]) -> None:
    rows, named = documented("cluster.yaml, key by key")
    assert keys(config) - named == set()
    assert set(config) <= rows, "every top-level key has a row of its own"
    assert rows - keys(config) == set()


def test_every_key_of_the_rayjob_is_explained() -> None:
    job = yaml.safe_load((ROOT / "rayjob.yaml").read_text())
    rows, named = documented("KubeRay")
    spec = {**job["spec"], **job["spec"]["rayClusterSpec"]}
    groups = {"rayClusterSpec", "headGroupSpec", "workerGroupSpecs"}
    assert set(spec) - groups <= rows
    pod = spec["workerGroupSpecs"][0]["template"]["spec"]
    assert set(pod) - {"containers"} <= rows
    assert rows - keys(job) == {"MLFLOW_TRACKING_URI"}
    assert named >= {"minReplicas", "maxReplicas", "PYTHONPATH"}
