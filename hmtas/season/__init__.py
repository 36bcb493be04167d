"""A synthetic season in SoccerNet's layout: invented matches, and what the streams see of them."""
