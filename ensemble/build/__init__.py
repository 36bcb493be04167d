"""Ensembles as run folders, from run folders."""

from ensemble.build.build import apply_ensemble, fit_ensembles
from ensemble.build.members import Member, read_members
from ensemble.build.plan import plan_fit

__all__ = ["Member", "apply_ensemble", "fit_ensembles", "plan_fit", "read_members"]
