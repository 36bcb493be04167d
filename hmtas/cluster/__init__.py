"""Ray: a session to work in, and Ray Train around `hmtas.training`."""

from hmtas.cluster.session import ray_session

__all__ = ["ray_session"]
