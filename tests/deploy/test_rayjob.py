"""rayjob.yaml is a RayJob that KubeRay's schema accepts, and runs what cluster.yaml runs."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import yaml
from typer import Context
from typer.main import get_command

from hmtas.cli import build
from tests.support.paths import ROOT

SCHEMA = ROOT / "tests/golden" / "rayjob.schema.json"
HEAD, WORKER = "headGroupSpec", "workerGroupSpecs"


@pytest.fixture
def job() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "rayjob.yaml").read_text())
    return document


def check(job: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(job)


def cluster(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["rayClusterSpec"]
    return found


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The pod of the head, then those of the worker groups."""
    groups = [cluster(job)[HEAD], *cluster(job)[WORKER]]
    return [group["template"]["spec"] for group in groups]


def test_the_schema_accepts_it(job: dict[str, Any]) -> None:
    check(job)


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(job: dict[str, Any]) -> None:
        place: Any = job
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


SPEC = ("spec", "rayClusterSpec")
POD = (*SPEC, WORKER, 0, "template", "spec")
MISTAKES = {
    "a key with a typo": (put("spec", "entryPoint", value="hmtas"), "entryPoint"),
    "a key in the wrong place": (put("spec", "rayVersion", value="2.60.0"), "rayVersion"),
    "no command": (lambda job: job["spec"].pop("entrypoint"), "'entrypoint' is a required"),
    "a command as a list": (put("spec", "entrypoint", value=["hmtas"]), "is not of type 'string'"),
    "no head": (lambda job: cluster(job).pop(HEAD), "'headGroupSpec' is a required"),
    "a number for ray start": (
        put(*SPEC, HEAD, "rayStartParams", "num-cpus", value=0),
        "0 is not of type 'string'",
    ),
    "an upper bound as text": (put(*SPEC, WORKER, 0, "maxReplicas", value="8"), "'8' is not of"),
    "no upper bound": (
        lambda job: cluster(job)[WORKER][0].pop("maxReplicas"),
        "'maxReplicas' is a required",
    ),
    "another kind of token": (put(*SPEC, "authOptions", "mode", value="tls"), "'tls' is not one"),
    "memory in a wrong unit": (
        put(*POD, "containers", 0, "resources", "limits", "memory", value="14GB"),
        "'14GB' does not match",
    ),
    "an environment as a map": (
        put(*POD, "containers", 0, "env", value={"PYTHONPATH": "/opt"}),
        "is not of type 'array'",
    ),
    "a true that is no text": (
        put(*POD, "nodeSelector", value={"spot": True}),
        "True is not of type 'string'",
    ),
    "a volume without its claim": (
        put(*POD, "volumes", 0, "persistentVolumeClaim", value={"name": "hmtas"}),
        "claimName|name",
    ),
    "a pod without containers": (
        lambda job: pods(job)[1].pop("containers"),
        "'containers' is a required",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused(job: dict[str, Any], mistake: str) -> None:
    change, words = MISTAKES[mistake]
    change(job)
    with pytest.raises(jsonschema.ValidationError, match=words):
        check(job)


def test_image_and_ray_are_those_of_cluster_yaml(job: dict[str, Any]) -> None:
    image = yaml.safe_load((ROOT / "cluster.yaml").read_text())["docker"]["image"]
    for pod in pods(job):
        assert {c["image"] for c in (*pod["initContainers"], *pod["containers"])} == {image}
    assert image.startswith(f"rayproject/ray:{cluster(job)['rayVersion']}-")


def test_every_pod_installs_the_pins_and_mounts_the_shared_folder(job: dict[str, Any]) -> None:
    for pod in pods(job):
        (install,) = pod["initContainers"]
        assert "--constraint constraints.txt ." in install["args"][0]
        (container,) = pod["containers"]
        assert container["volumeMounts"] == install["volumeMounts"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["shared"] == "/mnt/hmtas"
        assert {volume["name"] for volume in pod["volumes"]} == set(mounts)
        path = {env["name"]: env.get("value") for env in container["env"]}["PYTHONPATH"]
        assert path.startswith(f"{mounts['packages']}/lib/python3.11/")
        assert "py311" in container["image"]


def test_the_entrypoint_is_a_command_of_ours(job: dict[str, Any]) -> None:
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "hmtas"]
    context = click_context(words[3:])
    assert context.params["address"] == "auto"
    assert str(context.params["out"]).startswith("/mnt/hmtas/")
    limits = cluster(job)[WORKER][0]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert context.params["cpus"] <= limits["cpu"]
    assert context.params["gpus"] <= limits["nvidia.com/gpu"]


def click_context(words: list[str]) -> Any:
    """Parse a command line as `hmtas` would, without running it."""
    command: Any = get_command(build())
    context = Context(command)
    while getattr(command, "commands", None):
        name, command, words = command.resolve_command(context, words)
        context = Context(command, info_name=name, parent=context)
    return command.make_context("hmtas", words)


def test_the_head_runs_no_trial_and_workers_are_bounded_spot_machines(job: dict[str, Any]) -> None:
    assert cluster(job)[HEAD]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster(job)[WORKER]:
        assert 0 < group["minReplicas"] <= group["maxReplicas"]
        pod = group["template"]["spec"]
        assert pod["nodeSelector"]
        assert {"nvidia.com/gpu", "spot"} <= {t["key"] for t in pod["tolerations"]}


def test_pods_ask_for_the_token_and_go_when_the_job_ends(job: dict[str, Any]) -> None:
    assert cluster(job)["authOptions"] == {"mode": "token"}
    assert job["spec"]["shutdownAfterJobFinishes"] is True
