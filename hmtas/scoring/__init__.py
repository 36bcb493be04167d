"""From stored probabilities and spots to scores, and which games may be scored or fitted on."""

from hmtas.scoring.run import count_run, spot_stored
from hmtas.scoring.score import RunScore, SpotsScore, read_score, score_spots

__all__ = ["RunScore", "SpotsScore", "count_run", "read_score", "score_spots", "spot_stored"]
