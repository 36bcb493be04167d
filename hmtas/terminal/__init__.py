"""What every verb shares: messages, tables, progress, interrupts, and the look of pictures."""

from hmtas.terminal.console import emit, is_lively, progress, say, show
from hmtas.terminal.recipe import Step, run_recipe
from hmtas.terminal.signals import Interrupted, interruptible

__all__ = [
    "Interrupted",
    "Step",
    "emit",
    "interruptible",
    "is_lively",
    "progress",
    "run_recipe",
    "say",
    "show",
]
