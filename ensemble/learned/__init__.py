"""The learned fusion (thesis Figure 5.22): a small transformer over the models' outputs."""

from ensemble.learned.combiner import Learned
from ensemble.learned.fit import fit_fusion
from ensemble.learned.network import FusionConfig, LearnedFusion, fuse

__all__ = ["FusionConfig", "Learned", "LearnedFusion", "fit_fusion", "fuse"]
