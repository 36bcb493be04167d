"""The GPUs of a Ray, and the share of one that a training takes."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hmtas.cluster.session import resources
from hmtas.terminal.console import say
from hmtas.terminal.text import counted

STEP = 0.05  # of a share: Ray counts in small steps, people do not
PROBE = 0.001  # of a GPU, for a task that looks at it


class Gpu(NamedTuple):
    """A GPU as torch sees it."""

    name: str
    memory_bytes: int


def gpus_of_nodes() -> list[Gpu]:
    """One GPU of each node that has any and a torch that finds it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    names = [n["NodeID"] for n in nodes if n["Alive"] and n["Resources"].get("GPU", 0) >= PROBE]
    look = ray.remote(num_cpus=0, num_gpus=PROBE)(_look)
    places = (NodeAffinitySchedulingStrategy(name, soft=False) for name in names)
    seen = ray.get([look.options(scheduling_strategy=place).remote() for place in places])
    return [gpu for gpu in seen if gpu is not None]


def gpu_share(
    need: Callable[[], int],
    *,
    workers: int = 1,
    at_once: int | None = None,
    asked_for: float | None = None,
) -> float:
    """The share of a GPU for one training, and a word on GPUs that stand idle.

    Args:
        need: Bytes of memory that it may take (hmtas.training.memory), asked for if that decides.
        workers: Processes that train together: each needs a whole GPU of its own.
        at_once: Trainings that the user wants at once, each of one worker.
        asked_for: What the user asked for; None where it follows from the memory.

    Returns:
        0 where there is no GPU.
    """
    num = resources()["GPU"]
    if not num or (asked_for is not None and asked_for > 0):
        return asked_for or 0.0
    idle = f"{counted(num, 'GPU')} {'stands' if num == 1 else 'stand'} idle"
    if asked_for is not None:
        say(f"warning: {idle}: --gpus 0")
        return 0.0
    seen = gpus_of_nodes()
    if not seen:
        say(f"warning: {idle}: torch finds none; is it a build of torch for CPUs?")
        return 0.0
    if workers > 1:
        if num >= workers:
            return 1.0
        say(f"warning: {idle}: each of {workers} workers needs one of its own; --workers 1 uses it")
        return 0.0
    needed = share_of(need(), seen)
    room = needed if at_once is None else room_for(at_once, int(num))
    if room < needed:
        say(
            f"warning: {at_once} trainings at once have {room:g} of a GPU each, and the largest "
            f"may need {needed:g}; where memory ends, lower --concurrent"
        )
    return min(room, needed)


def share_of(need_bytes: int, gpus: Sequence[Gpu]) -> float:
    """The share of the smallest GPU that has so much memory; all of it where none has."""
    smallest = min(gpu.memory_bytes for gpu in gpus)
    steps = math.ceil(need_bytes / smallest / STEP)
    return min(1.0, round(max(1, steps) * STEP, 2))


def room_for(at_once: int, num_gpus: int) -> float:
    """The largest share that so many trainings can have at once, in steps where these suffice."""
    on_one = math.ceil(at_once / num_gpus)
    steps = round(1 / STEP) // on_one
    return round(steps * STEP, 2) if steps else max(PROBE, 1000 // on_one / 1000)


def described(share: float | None) -> str:
    """What a training computes on, after "with 1 CPU": such as " and 0.25 of a GPU"."""
    if not share:
        return ""
    return f" and {counted(share, 'GPU') if share >= 1 else f'{share:g} of a GPU'}"


def _look() -> Gpu | None:
    import torch

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    return Gpu(found.name, found.total_memory)
