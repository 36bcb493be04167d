"""Make a run again from its record, and say whether it is the same."""

from hmtas.reproduce.sameness import Sameness, judge

__all__ = ["Sameness", "judge"]
