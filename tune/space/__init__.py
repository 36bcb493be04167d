"""What a study searches: dimensions, the default space, and the file that changes it."""

from tune.space.default import build_space
from tune.space.dimensions import Choice, Range, Space, settings_of, suggest

__all__ = ["Choice", "Range", "Space", "build_space", "settings_of", "suggest"]
