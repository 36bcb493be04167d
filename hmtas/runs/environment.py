"""What the last bits of a result depend on, beside the configuration and the store."""

import platform
from importlib.metadata import version
from typing import NamedTuple

from hmtas.validation import Frozen

PACKAGES = ("torch", "numpy", "numba", "ray")


class Environment(Frozen):
    """Where a run was made."""

    python: str
    platform: str  # system and machine, as in "Linux x86_64"
    packages: dict[str, str]  # name to version
    device: str = "cpu"  # what computed: cpu or cuda
    processor: str | None = None  # the GPU, or the instructions of a CPU that torch uses
    threads: int | None = None  # of the process that trained


class Change(NamedTuple):
    """One thing that differs between two environments."""

    what: str
    before: str
    now: str


def this_environment(
    device: str = "cpu", processor: str | None = None, threads: int | None = None
) -> Environment:
    """The environment of this process."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: version(name) for name in PACKAGES},
        device=device,
        processor=processor,
        threads=threads,
    )


def changes(before: Environment | None, now: Environment | None) -> list[Change]:
    """What differs between two environments; nothing where one of them is unknown."""
    if before is None or now is None:
        return []
    one, other = _flat(before), _flat(now)
    return [
        Change(name, one.get(name, "none"), other.get(name, "none"))
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    ]


def _flat(environment: Environment) -> dict[str, str]:
    document = environment.model_dump(exclude={"packages"}, exclude_none=True)
    return {**{name: str(value) for name, value in document.items()}, **environment.packages}
