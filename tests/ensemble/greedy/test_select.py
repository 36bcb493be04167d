"""Greedy selection does what the slow way does, finds what is good and is free of order."""

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
import pytest

from ensemble.greedy.library import LEAST, TOP, Library, build_library
from ensemble.greedy.select import GreedyConfig, Selection, select
from ensemble.stack.align import ModelOutput, stack
from ensemble.stack.mean import Space, combine
from hmtas.errors import InputError
from hmtas.metric.averages import TIGHT_S, average_map
from hmtas.records import Events, HalfId, Probabilities, Spots
from hmtas.spotting.nms import non_max_suppression

NUM_ACTIONS = 3
Models = dict[str, dict[HalfId, np.ndarray]]
ONCE = GreedyConfig(bags=1, patience=2)
WINDOWS_S = np.array([4.0, 9.0, 1.0])


def season(num_games: int, num_rows: int = 120, seed: int = 0) -> dict[HalfId, Events]:
    """Events of a few games; the last action never happens."""
    rng = np.random.default_rng(seed)
    events = {}
    for half in (HalfId(f"game {g}", n) for g in range(num_games) for n in (1, 2)):
        num = int(rng.integers(0, 9))
        events[half] = Events(
            half=half,
            time_s=np.sort(rng.uniform(0, num_rows - 1, num)),
            action=rng.integers(0, NUM_ACTIONS - 1, num),
            visible=rng.random(num) < 0.8,
        )
    return events


def model(
    events: Mapping[HalfId, Events],
    seed: int,
    *,
    seen: float,
    rate_hz: float = 1.0,
    rows: int = 120,
) -> dict[HalfId, np.ndarray]:
    """Noise, a share of the events beside their second, plateaus, and rows of no interest."""
    rng = np.random.default_rng(seed)
    halves = {}
    for half, found in events.items():
        values = rng.beta(0.3, 6, (round(rows * rate_hz), NUM_ACTIONS))
        values[20:30] = 0.0
        values[40:50, 0] = 0.25  # a plateau: equals
        for time_s, action in zip(found.time_s, found.action, strict=True):
            if rng.random() < seen:
                row = int(time_s * rate_hz) + rng.integers(-1, 2)
                values[np.clip(row, 0, len(values) - 1), action] = rng.uniform(0.3, 1)
        # What a code stands for exactly, so that nothing is lost in encoding.
        halves[half] = (np.rint(values * TOP) / TOP).astype(np.float32)
    return halves


def library_of(
    models: Models, events: Mapping[HalfId, Events], *, rate_hz: float = 1.0, **options: object
) -> Library:
    outputs = [
        ModelOutput(
            name,
            tuple(f"action {a}" for a in range(NUM_ACTIONS)),
            {h: Probabilities(half=h, values=rows, rate_hz=rate_hz) for h, rows in halves.items()},
        )
        for name, halves in models.items()
    ]
    return build_library(stack(outputs), events, **options)  # type: ignore[arg-type]


def slow_score(
    library: Library,
    models: Models,
    picked: Sequence[str],
    events: Mapping[HalfId, Events],
    weight_of: Mapping[str, int],
) -> float:
    """The official number of the mean of codes, spotted by sorting, half by half."""
    spots, truth = {}, {}
    least = float(library.code_of(np.array(library.threshold)))
    for half in library.halves:
        codes = sum(encode(library, models[name][half]) for name in picked)
        found = [
            (row / library.rate_hz, a, value_of_mean(library, codes[row, a] / len(picked)))
            for a in range(NUM_ACTIONS)
            for row in slow_peaks(
                codes[:, a],
                int(WINDOWS_S[a] * library.rate_hz / 2),
                least * len(picked),
            )
        ]
        for copy in range(weight_of.get(half.game, 0)):
            place = HalfId(f"{half.game} {copy}", half.half)
            spots[place] = Spots(
                half=place,
                time_s=np.array([time_s for time_s, _, _ in found], dtype=np.float64),
                action=np.array([a for _, a, _ in found], dtype=np.int64),
                confidence=np.array([p for _, _, p in found], dtype=np.float64),
            )
            of_half = events[half]
            truth[place] = Events(
                half=place,
                time_s=of_half.time_s,
                action=of_half.action,
                visible=of_half.visible,
            )
    return average_map(spots, truth, NUM_ACTIONS, TIGHT_S).average_map


def encode(library: Library, rows: np.ndarray) -> np.ndarray:
    share = rows.astype(np.float64)
    if library.space == "logit":
        least = 1 / (1 + np.exp(12.0))
        inside = np.clip(share, least, 1 - least)
        share = (np.log(inside / (1 - inside)) + 12) / 24
    return np.floor(share * TOP + 0.5).astype(np.int64)


def value_of_mean(library: Library, code: float) -> float:
    share = code / TOP
    return share if library.space == "probability" else float(1 / (1 + np.exp(12 - 24 * share)))


def slow_peaks(values: np.ndarray, reach: int, least: float) -> list[int]:
    """Sort, keep the best, drop its window, repeat."""
    left = np.flatnonzero(values >= least)
    order = left[np.argsort(-values[left], kind="stable")].tolist()
    kept: list[int] = []
    for row in order:
        if all(abs(row - other) > reach for other in kept):
            kept.append(row)
    return kept


def slow_select(
    library: Library,
    models: Models,
    events: Mapping[HalfId, Events],
    config: GreedyConfig,
) -> tuple[list[str], list[float]]:
    """One bag of all models and games, as the paper says it."""
    every = dict.fromkeys(library.games, 1)

    def score(picked: Sequence[str]) -> float:
        return round(slow_score(library, models, picked, events, every), 12)

    names = sorted(models)
    ranked = sorted(names, key=lambda name: (-score([name]), name))[: config.first]
    begun = [score(ranked[: n + 1]) for n in range(len(ranked))]
    picked = ranked[: begun.index(max(begun)) + 1]
    scores = begun[: len(picked)]
    while (
        len(picked) < config.picks and len(picked) - 1 - scores.index(max(scores)) < config.patience
    ):
        tried = [score([*picked, name]) for name in names]
        picked.append(names[tried.index(max(tried))])
        scores.append(max(tried))
    best = scores.index(max(scores)) + 1
    return picked[:best], scores[:best]


def few_models(events: Mapping[HalfId, Events], **options: float) -> Models:
    return {
        f"model {m}": model(events, m, seen=seen, **options)  # type: ignore[arg-type]
        for m, seen in enumerate((0.5, 0.9, 0.0, 0.7, 0.6))
    }


@pytest.mark.parametrize("space", get_args(Space))
@pytest.mark.parametrize(
    ("rate_hz", "threshold"), [(1.0, LEAST), (1.0, 0.0), (1.0, 0.3), (5.0, LEAST)]
)
def test_it_picks_and_scores_as_the_slow_way_does(
    space: Space, rate_hz: float, threshold: float
) -> None:
    events = season(3)
    models = few_models(events, rate_hz=rate_hz)
    library = library_of(models, events, space=space, rate_hz=rate_hz, threshold=threshold)
    (bag,) = select(library, WINDOWS_S, config=ONCE).bags
    picked, scores = slow_select(library, models, events, ONCE)
    assert list(bag.picked) == picked
    np.testing.assert_allclose(bag.scores, scores, atol=1e-11)


def test_bags_are_scored_on_the_games_they_drew() -> None:
    events = season(4)
    models = few_models(events)
    library = library_of(models, events)
    config = GreedyConfig(bags=2, model_share=0.6, seed=3)
    for number, bag in enumerate(select(library, WINDOWS_S, config=config).bags):
        rng = np.random.default_rng([3, number])
        drawn = sorted(np.array(library.names)[rng.permutation(5)[:3]])
        assert set(bag.picked) <= set(drawn)
        times = np.bincount(rng.integers(4, size=4), minlength=4)
        weight_of = dict(zip(library.games, times.tolist(), strict=True))
        expected = slow_score(library, models, bag.picked, events, weight_of)
        assert bag.scores[-1] == pytest.approx(expected, abs=1e-11)


def test_the_score_is_that_of_the_combined_probabilities() -> None:
    events = season(4)
    models = few_models(events)
    selection = select(library_of(models, events), WINDOWS_S, config=ONCE)
    names = list(selection.weights)
    weights = np.array(list(selection.weights.values()))
    spots = {}
    for half in events:
        rows = combine(np.stack([models[name][half] for name in names]), weights)
        probabilities = Probabilities(half=half, values=rows)
        spots[half] = non_max_suppression(probabilities, WINDOWS_S, threshold=LEAST)
    expected = average_map(spots, events, NUM_ACTIONS).average_map
    # Not to the last digit: the combined rows are rounded to float32, where equals can part.
    assert selection.bags[0].scores[-1] == pytest.approx(expected, abs=5e-3)


def test_only_the_games_asked_for_count() -> None:
    events = season(4)
    models = few_models(events)
    rng = np.random.default_rng(9)
    spoilt = {
        name: {
            half: rng.random(rows.shape, dtype=np.float32) if half.game == "game 3" else rows
            for half, rows in halves.items()
        }
        for name, halves in models.items()
    }
    games = ["game 0", "game 1", "game 2"]
    config = GreedyConfig(bags=3)
    first, second = (
        select(library_of(each, events), WINDOWS_S, games=games, config=config)
        for each in (models, spoilt)
    )
    assert first == second
    assert first != select(library_of(spoilt, events), WINDOWS_S, config=config)


def test_the_one_good_model_is_picked_among_noise() -> None:
    events = season(8)
    models = {f"noise {m}": model(events, m, seen=0.0) for m in range(30)}
    models["good"] = model(events, 99, seen=1.0)
    selection = select(library_of(models, events), WINDOWS_S, config=ONCE)
    assert selection.weights["good"] > 0.5
    assert selection.bags[0].picked[0] == "good"


def test_a_model_may_be_picked_more_than_once() -> None:
    """Two models that each see half of the events, and one is the louder."""
    events = season(8)
    models = {"strong": model(events, 1, seen=0.9), "weak": model(events, 2, seen=0.4)}
    (bag,) = select(library_of(models, events), WINDOWS_S, config=ONCE).bags
    counts = [bag.picked.count(name) for name in ("strong", "weak")]
    assert counts[0] > counts[1] > 0


def test_the_order_of_the_models_and_of_ties_is_free() -> None:
    events = season(4)
    models = few_models(events)
    backwards = dict(reversed(models.items()))
    found = [select(library_of(each, events), WINDOWS_S) for each in (models, backwards)]
    assert found[0] == found[1]


@pytest.mark.parametrize("config", [ONCE, GreedyConfig(bags=4)], ids=["one bag", "bags"])
def test_a_copy_does_not_count_twice(config: GreedyConfig) -> None:
    events = season(4)
    models = few_models(events)
    alone = select(library_of(models, events), WINDOWS_S, config=config)
    library = library_of({**models, "model 1b": models["model 1"]}, events)
    assert library.copies == {"model 1b": "model 1"}
    assert select(library, WINDOWS_S, config=config) == alone


def test_the_seed_decides_the_bags_and_nothing_else() -> None:
    events = season(5)
    library = library_of(few_models(events), events)

    def chosen(seed: int, bags: int) -> Selection:
        return select(library, WINDOWS_S, config=GreedyConfig(seed=seed, bags=bags))

    assert chosen(1, 4) == chosen(1, 4)
    assert chosen(1, 4) != chosen(2, 4)
    assert chosen(1, 1) == chosen(2, 1)
    assert sum(chosen(1, 4).weights.values()) == pytest.approx(1)


def test_screening_finds_what_counting_everything_finds() -> None:
    events = season(40)
    models = {f"m{m:02d}": model(events, m, seen=m / 60) for m in range(40)}
    library = library_of(models, events)
    config = GreedyConfig(bags=1, picks=6, first=1, patience=6)
    screened, full = (
        select(library, WINDOWS_S, config=config.model_copy(update={"screen": screen})).bags[0]
        for screen in (True, False)
    )
    assert screened.picked[:2] == full.picked[:2]
    assert screened.scores[-1] >= full.scores[-1] - 0.005


def test_only_moments_that_may_count_are_held() -> None:
    events = season(2)
    models = few_models(events)
    every = library_of(models, events, threshold=0.0)
    some = library_of(models, events)
    assert every.num_bytes == 2 * 5 * NUM_ACTIONS * 4 * 120
    reached = sum(
        int(np.any([rows[half][:, a] >= LEAST for rows in models.values()], axis=0).sum())
        for half in events
        for a in range(NUM_ACTIONS)
    )
    assert some.num_bytes == 2 * 5 * reached
    assert some.num_bytes < 0.95 * every.num_bytes


def test_what_cannot_be_selected_from() -> None:
    events = season(2)
    models = few_models(events)
    library = library_of(models, events)
    with pytest.raises(InputError, match="'game 9' is not among the 2 games"):
        select(library, WINDOWS_S, games=["game 9"])
    silent = {"silent": {half: np.zeros((120, 3), dtype=np.float32) for half in events}}
    with pytest.raises(InputError, match="none of 1 models scores anything"):
        select(library_of(silent, events), WINDOWS_S, config=ONCE)
    with pytest.raises(ValueError, match="3 numbers > 0"):
        select(library, np.ones(2))
