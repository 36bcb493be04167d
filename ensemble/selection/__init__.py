"""The best combination of some models, or the best single one."""

from ensemble.selection.choose import choose, search

__all__ = ["choose", "search"]
