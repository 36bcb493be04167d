"""Games into folds, so that no game is scored with what it helped to fit."""

from collections.abc import Iterable

import numpy as np

from hmtas.errors import InputError


def game_folds(
    games: Iterable[str], num_folds: int = 5, seed: int = 0
) -> tuple[tuple[str, ...], ...]:
    """Divide games into folds of nearly equal size; both halves of a game stay together.

    Args:
        games: In any order: the same games and seed give the same folds.
        num_folds: At least 2; with fewer games than that, every game is a fold of its own.
        seed: Seed of the shuffle.

    Raises:
        InputError: If there are fewer than two folds or two games.
    """
    ordered = sorted(set(games))
    if num_folds < 2:
        raise InputError(f"folds must be at least 2, got {num_folds}; one fold leaves no others")
    if len(ordered) < 2:
        raise InputError(
            f"cross-fitting over games needs at least 2 of them, got {len(ordered)}: "
            "what is fitted on the game it is scored on would flatter it; predict more games"
        )
    shuffled = np.random.default_rng(seed).permutation(len(ordered))
    parts = np.array_split(shuffled, min(num_folds, len(ordered)))
    return tuple(tuple(sorted(ordered[i] for i in part)) for part in parts)
