"""What an epoch is judged by: the official numbers on the games that stop the training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hmtas.metric.averages import LOOSE_S, TIGHT_S, Metric, average_map
from hmtas.model.build import build_model
from hmtas.prediction.slide import Predictor
from hmtas.scoring.score import score_spots
from hmtas.spotting.spots import spot
from hmtas.store.local import EmbeddingStore
from hmtas.training.loop import fit
from hmtas.training.validate import Validation, validate
from tests.support.small import make_config, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return make_store(tmp_path_factory.mktemp("season"), train=3, valid=3, test=1)


def found(
    store: EmbeddingStore, games: tuple[str, ...], **settings: object
) -> tuple[Validation, dict[str, float]]:
    """What `validate` says of an untrained model, and the official numbers."""
    torch.manual_seed(0)
    config = make_config(**settings)
    model = build_model(store.streams, len(store.actions) + 1, config.model)
    weight_C = torch.ones(len(store.actions) + 1)
    result = validate(model, store, games, store.streams, config, weight_C=weight_C)
    predictor = Predictor(model, store.streams, config)
    halves = {half: predictor.predict(store.open_half(half)) for half in store.halves_of(games)}
    spots = spot(halves, store.actions, config.spotting)
    events, num = store.events_of(games), len(store.actions)
    tight = average_map(spots, events, num, TIGHT_S).average_map
    return result, {"tight": tight, "loose": average_map(spots, events, num, LOOSE_S).average_map}


def test_tight_and_loose_are_the_official_numbers(store: EmbeddingStore) -> None:
    result, official = found(store, store.games("valid"))
    assert result.tight == official["tight"]
    assert result.loose == official["loose"]
    assert result.loose > result.tight > 0


def test_the_score_of_a_game_is_that_of_the_game_alone(store: EmbeddingStore) -> None:
    games = store.games("valid")
    result, _ = found(store, games)
    alone = [found(store, (game,))[1]["tight"] for game in sorted(games)]
    # Alone, an action that the game lacks counts 0; among others it is left out of the mean.
    present = [
        len({a for events in store.events_of((game,)).values() for a in events.action.tolist()})
        for game in sorted(games)
    ]
    num_present = len(
        {a for events in store.events_of(games).values() for a in events.action.tolist()}
    )
    expected = [value * num_present / num for value, num in zip(alone, present, strict=True)]
    assert result.game_tight == pytest.approx(expected)


@pytest.mark.parametrize(
    ("stop_on", "metric"),
    [("loss", "tight"), ("tight", "tight"), ("loose", "loose"), ("mean", "tight")],
)
def test_the_interval_is_that_of_hmtas_score(
    store: EmbeddingStore,
    monkeypatch: pytest.MonkeyPatch,
    stop_on: str,
    metric: Metric,
) -> None:
    games, seen = store.games("valid"), []

    def keep(*arguments: Any) -> Any:
        seen.append(spot(*arguments))
        return seen[-1]

    monkeypatch.setattr("hmtas.scoring.run.spot", keep)
    result, _ = found(store, games, stop_on=stop_on)
    score = score_spots(seen[0], store.events_of(games), store.actions)
    assert result.intervals == {metric: score.by(metric).interval}
    assert result.intervals[metric][0] < getattr(result, metric) < result.intervals[metric][1]


def test_one_game_says_nothing_of_how_games_differ(store: EmbeddingStore) -> None:
    assert found(store, store.games("valid")[:1])[0].intervals == {}


@pytest.mark.parametrize("stop_on", ["tight", "loose", "mean"])
def test_the_epoch_that_is_kept_is_the_best_by_what_stops(
    store: EmbeddingStore, tmp_path: Path, stop_on: str
) -> None:
    config = make_config(stop_on=stop_on, max_epochs=4, patience=9, learning_rate=3e-2)
    record = fit(store, config, tmp_path, name="r")
    by = {"tight": (1, 0), "loose": (0, 1), "mean": (1, 1)}[stop_on]
    scores = [(entry.tight or 0.0, entry.loose or 0.0) for entry in record.history]
    values = [by[0] * tight + by[1] * loose for tight, loose in scores]
    assert record.best_epoch == 1 + values.index(max(values))
    shown = "loose" if stop_on == "loose" else "tight"
    assert all(list(entry.intervals) == [shown] for entry in record.history)
