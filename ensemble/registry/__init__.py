"""Promoted ensembles in MLflow's model registry: champion or challenger."""

from ensemble.registry.loaded import Packaged

__all__ = ["Packaged"]
