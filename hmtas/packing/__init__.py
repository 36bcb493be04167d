"""From a data set, as others made it, to a store: checked first, then packed."""

from hmtas.packing.check import PackPlan, plan_pack
from hmtas.packing.pack import PackReport, run_pack

__all__ = ["PackPlan", "PackReport", "plan_pack", "run_pack"]
