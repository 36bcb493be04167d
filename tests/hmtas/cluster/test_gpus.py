"""A GPU is taken where there is one, in a share that follows from memory; an idle one is said."""

import subprocess
import sys

import pytest

from hmtas.cluster import gpus
from hmtas.cluster.gpus import Gpu, described, gpu_share, room_for, share_of
from hmtas.config import Config
from hmtas.store.local import EmbeddingStore
from hmtas.training.memory import training_bytes
from tests.support.small import make_config

GB = 2**30
H100 = Gpu("H100", 80 * GB)


def no_need() -> int:
    raise AssertionError("memory does not decide here")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """Two GPUs in Ray; what torch sees of them is up to the test."""
    found: list[Gpu] = []
    monkeypatch.setattr(gpus, "resources", lambda: {"CPU": 8.0, "GPU": 2.0})
    monkeypatch.setattr(gpus, "gpus_of_nodes", lambda: found)
    return found


@pytest.mark.parametrize(
    ("need_gb", "share"), [(0.1, 0.05), (4, 0.05), (4.1, 0.1), (20, 0.25), (79, 1.0), (300, 1.0)]
)
def test_a_share_has_the_memory_that_is_needed(need_gb: float, share: float) -> None:
    assert share_of(int(need_gb * GB), [H100]) == share
    assert share_of(int(need_gb * GB), [H100, Gpu("A10", 24 * GB)]) >= share


def test_the_share_follows_from_memory_unless_it_is_given(
    seen: list[Gpu], capsys: pytest.CaptureFixture[str]
) -> None:
    seen += [H100, H100]
    assert gpu_share(lambda: 20 * GB) == 0.25
    assert gpu_share(no_need, asked_for=0.5) == 0.5
    assert gpu_share(no_need, workers=2) == 1.0, "gradients are not exchanged on one"
    assert capsys.readouterr().err == ""


def test_more_at_once_than_memory_allows_get_less_each_and_a_word(
    seen: list[Gpu], capsys: pytest.CaptureFixture[str]
) -> None:
    seen += [H100, H100]
    assert gpu_share(lambda: 20 * GB, at_once=8) == 0.25
    assert capsys.readouterr().err == ""
    assert gpu_share(lambda: 20 * GB, at_once=9) == 0.2, "five of them on one GPU"
    assert "9 trainings at once have 0.2 of a GPU each, and the largest may need 0.25" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("at_once", "num_gpus", "share"),
    [(1, 1, 1.0), (3, 1, 0.3), (4, 2, 0.5), (5, 2, 0.3), (64, 1, 0.015)],
)
def test_so_many_fit_at_once(at_once: int, num_gpus: int, share: float) -> None:
    assert room_for(at_once, num_gpus) == share
    assert num_gpus * int(1 / share) >= at_once


def test_a_gpu_that_stands_idle_is_said(
    seen: list[Gpu], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_share(no_need) == 0.0
    assert "warning: 2 GPUs stand idle: torch finds none" in capsys.readouterr().err
    seen.append(H100)
    assert gpu_share(no_need, asked_for=0.0) == 0.0
    assert "warning: 2 GPUs stand idle: --gpus 0" in capsys.readouterr().err
    assert gpu_share(no_need, workers=3) == 0.0
    assert "each of 3 workers needs one of its own" in capsys.readouterr().err


def test_without_a_gpu_nothing_is_asked_and_nothing_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpus, "resources", lambda: {"CPU": 8.0, "GPU": 0.0})
    assert gpu_share(no_need) == gpu_share(no_need, asked_for=0.0) == 0.0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("share", "words"), [(0, ""), (None, ""), (0.25, " and 0.25 of a GPU"), (2.0, " and 2 GPUs")]
)
def test_a_share_in_words(share: float | None, words: str) -> None:
    assert described(share) == words


def test_more_of_all_takes_more_memory(store: EmbeddingStore) -> None:
    small = training_bytes(store, make_config())
    for settings in ({"width": 512}, {"batch_size": 4096}, {"num_layers": 20}):
        assert training_bytes(store, make_config(**settings)) > small, settings
    context = Config().updated({**LONG, "context_s": 32.0})
    assert training_bytes(store, context.updated({"context_s": 64.0})) > training_bytes(
        store, context
    )


LONG = {
    "kind": "conv", "stop_games": "held_out", "width": 64, "reach_s": 3.0, "margin_s": 4.0,
    "gamma": 1.0, "batch_size": 64,
}  # fmt: skip


@pytest.mark.ray
def test_ray_tells_of_gpus_and_torch_of_their_memory() -> None:
    """Ray is told of a GPU, as a machine is whose torch is built for CPUs."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=True,
    )
    memory_bytes, share = map(float, done.stdout.split())
    if memory_bytes:
        assert memory_bytes > GB
        assert share > 0
    else:
        assert share == 0
        assert "warning: 1 GPU stands idle: torch finds none" in done.stderr


PROBE = """
import ray
ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False)
from hmtas.cluster.gpus import gpu_share, gpus_of_nodes
print(sum(gpu.memory_bytes for gpu in gpus_of_nodes()), gpu_share(lambda: 2**30))
"""
