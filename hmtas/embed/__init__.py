"""Embeddings made from other material than video."""
