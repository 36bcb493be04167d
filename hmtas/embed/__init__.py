"""Embeddings made from other material than video."""

from hmtas.embed.commentary import embed_games

__all__ = ["embed_games"]
