"""A synthetic season in SoccerNet's layout: invented matches, and what the streams see of them."""

from hmtas.season.write import SeasonConfig, write_season

__all__ = ["SeasonConfig", "write_season"]
