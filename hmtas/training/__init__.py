"""Train one model in plain torch: games, batches, steps, validation, the loop around them."""

from hmtas.training.games import GamePlan, plan_games
from hmtas.training.loop import fit

__all__ = ["GamePlan", "fit", "plan_games"]
