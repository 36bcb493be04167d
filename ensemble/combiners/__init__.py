"""All combiners by name, cross-fitted over games."""

from ensemble.combiners.crossfit import cross_fit
from ensemble.combiners.methods import METHODS, combiner_of

__all__ = ["METHODS", "combiner_of", "cross_fit"]
