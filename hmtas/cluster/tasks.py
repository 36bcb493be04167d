"""Run a function many times as Ray tasks, a few at once, and collect what goes wrong."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

POLL_S = 0.5

Name = TypeVar("Name")


def run_tasks(
    function: Callable[..., Any],
    calls: Mapping[Name, Sequence[Any]],
    *,
    at_once: int,
    options: Mapping[str, Any],
    on_poll: Callable[[Sequence[Name]], None] = lambda running: None,
    on_end: Callable[[Name, Exception | None], None] = lambda name, error: None,
) -> dict[Name, Exception]:
    """Call a function in Ray tasks, in the order of the calls.

    Args:
        function: What a task does.
        calls: The arguments of every call, by a name for it.
        at_once: Tasks that are submitted at once, at most.
        options: What a task needs, as in `ray.remote`: `num_cpus`, `num_gpus`, `resources`.
        on_poll: Called again and again with the names of the running calls; what it raises ends
            the wait.
        on_end: Called when a call has ended, with its error if it failed.

    Returns:
        The errors of the calls that failed: what the function raised, or Ray's own error where
        the process died each time.
    """
    import ray

    task = ray.remote(**options)(function)
    waiting = list(calls.items())
    running: dict[Any, Name] = {}
    errors: dict[Name, Exception] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            name, arguments = waiting.pop(0)
            running[task.remote(*arguments)] = name
        on_poll(list(running.values()))
        ended, _ = ray.wait(list(running), timeout=POLL_S)
        for reference in ended:
            name = running.pop(reference)
            try:
                ray.get(reference)
            except ray.exceptions.RayError as error:
                errors[name] = getattr(error, "cause", None) or error
            on_end(name, errors.get(name))
    return errors
