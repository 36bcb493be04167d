"""The learned fusion is the acting part of Figure 5.22 and attends over seconds, nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ensemble.learned.combiner import FittedNetwork
from ensemble.learned.fit import fit_fusion
from ensemble.learned.network import (
    FusionConfig,
    LearnedFusion,
    build_fusion,
    fuse,
)
from ensemble.stack.mean import combine
from hmtas.errors import InputError
from hmtas.records import Events, HalfId

ACTIONS = ("Goal", "Corner")
SMALL = FusionConfig(feedforward=16, num_layers=1, epochs=2, rows_share=1.0)
NUM_ROWS = 300
DELAY = 1  # rows by which the delayed model comes late


def num_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def network() -> FittedNetwork:
    model = build_fusion(3, 2, SMALL).eval()
    return FittedNetwork(model=model, config=SMALL, actions=ACTIONS, kept=(0, 1, 2))


def planted(num_games: int, seed: int = 0) -> tuple[dict[HalfId, np.ndarray], dict[HalfId, Events]]:
    """Three models: one exact but faint, one sure of nothing real, one sure but a row late.

    The late one also shouts between the actions, where the faint one is silent.
    """
    rng = np.random.default_rng(seed)
    halves, events = {}, {}
    for number in range(num_games):
        half = HalfId(f"game {number}", 1)
        rows = np.sort(rng.choice(np.arange(5, NUM_ROWS - 5, 6), size=20, replace=False))
        action = rng.integers(0, 2, len(rows))
        stacked = np.zeros((3, NUM_ROWS, 2), dtype=np.float32)
        stacked[0, rows, action] = 0.3
        stacked[1] = rng.random((NUM_ROWS, 2)) < 0.2
        stacked[2, rows + DELAY, action] = 0.5
        stacked[2] = np.maximum(stacked[2], 0.9 * (rng.random((NUM_ROWS, 2)) < 0.05))
        halves[half] = stacked
        visible = np.ones(len(rows), dtype=np.bool_)
        events[half] = Events(
            half=half, time_s=rows.astype(np.float64), action=action, visible=visible
        )
    return halves, events


def separation(probability: np.ndarray, events: Events) -> float:
    """Share of (event row, other row) pairs that are in the right order: area under the ROC."""
    is_event = np.zeros(probability.shape, dtype=np.bool_)
    is_event[events.time_s.astype(int), events.action] = True
    near = np.zeros_like(is_event)
    for shift in (-1, 1):  # a neighbour is positive too: neither right nor wrong
        near |= np.roll(is_event, shift, axis=0)
    hits, misses = probability[is_event], probability[~is_event & ~near]
    above = (hits[:, None] > misses).mean() + 0.5 * (hits[:, None] == misses).mean()
    return float(above)


def test_four_models_of_17_actions_have_the_parameters_that_act() -> None:
    model = LearnedFusion(4, 17, FusionConfig.thesis())
    assert model.head.in_features == 68
    assert num_parameters(model) == 900_225
    # The thesis counts two more heads of 68 * 17 + 17 parameters, which no output depends on.
    assert num_parameters(model.head) == 1_173
    assert 900_225 + 2 * 1_173 == 902_571


def test_the_thesis_has_a_name() -> None:
    thesis = FusionConfig.thesis()
    assert (thesis.num_layers, thesis.feedforward, thesis.dropout) == (3, 2048, 0.1)
    assert (thesis.epochs, thesis.batch_size, thesis.learning_rate) == (50, 512, 1e-3)
    assert (thesis.rows_share, thesis.max_rows, thesis.held_out_share) == (1.0, None, 0.0)
    assert num_parameters(build_fusion(4, 17, thesis)) == 900_225


def test_a_row_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    model = LearnedFusion(3, 2, FusionConfig(feedforward=16)).eval()
    x = torch.rand(5, 3, 6)
    alone = torch.cat([model(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(model(x), alone)


@pytest.mark.parametrize("position", [0, 1, 2], ids=["t-1", "t", "t+1"])
def test_every_one_of_the_three_seconds_counts(position: int) -> None:
    torch.manual_seed(0)
    model = LearnedFusion(3, 2, FusionConfig(feedforward=16)).eval()
    x = torch.rand(1, 3, 6)
    changed = x.clone()
    changed[0, position] = 1 - changed[0, position]
    assert not torch.allclose(model(x), model(changed), atol=1e-4)


def test_fuse_gives_every_row_the_network_of_its_own_three_rows() -> None:
    torch.manual_seed(0)
    model = LearnedFusion(2, 2, FusionConfig(feedforward=16)).eval()
    stacked = np.random.default_rng(0).random((2, 4, 2), dtype=np.float32)
    fused = fuse(model, stacked)
    side_by_side = torch.from_numpy(np.concatenate([stacked[0], stacked[1]], axis=1))
    rows = torch.tensor([[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]])  # the edges repeat
    np.testing.assert_allclose(
        fused, model(side_by_side[rows]).sigmoid().detach().numpy(), rtol=1e-5
    )
    assert fused.shape == (4, 2)
    assert fused.dtype == np.float32
    assert ((fused >= 0) & (fused <= 1)).all()


def test_it_learns_which_model_is_late_and_which_says_nothing() -> None:
    halves, events = planted(8)
    config = FusionConfig(feedforward=32, batch_size=64, epochs=16, rows_share=0.3)
    fitted = fit_fusion(halves, events, ACTIONS, config)
    fresh, fresh_events = planted(2, seed=1)
    mean = np.full(3, 1 / 3)
    for half, stacked in fresh.items():
        of_mean = separation(combine(stacked, mean), fresh_events[half])
        of_learned = separation(fuse(fitted.model, stacked), fresh_events[half])
        assert of_learned > 0.97
        assert of_learned > of_mean + 0.05


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    halves, events = planted(4)
    fits = []
    for seed in (3, 3, 4):
        torch.rand(len(fits) + 1)
        fits.append(
            fit_fusion(halves, events, ACTIONS, SMALL.model_copy(update={"seed": seed})).model
        )
    first, second, third = (fit.state_dict() for fit in fits)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_fitting_leaves_the_global_generator_and_the_threads_alone() -> None:
    halves, events = planted(2)
    num_threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit_fusion(halves, events, ACTIONS, SMALL)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == num_threads


def test_games_held_out_stop_the_fit_and_their_best_epoch_is_kept() -> None:
    halves, events = planted(6)
    # At this rate the network gets worse with every epoch.
    config = SMALL.model_copy(update={"epochs": 30, "learning_rate": 3.0, "patience": 2})
    steps: list[int] = []
    fitted = fit_fusion(halves, events, ACTIONS, config, on_epoch=lambda: steps.append(1))
    best_epoch = fitted.facts.best_epoch
    assert best_epoch is not None
    assert len(fitted.facts.held_out_games) == 1
    assert fitted.epochs == best_epoch + 2
    assert fitted.epochs < 30
    assert len(steps) == 30
    again = fit_fusion(halves, events, ACTIONS, config.model_copy(update={"epochs": best_epoch}))
    best = again.model.state_dict()
    assert all(torch.equal(value, best[name]) for name, value in fitted.model.state_dict().items())


def test_a_weight_raises_the_probability_of_its_action() -> None:
    halves, events = planted(2)
    flat = FusionConfig(
        feedforward=16,
        num_layers=1,
        learning_rate=1e-3,
        epochs=10,
        batch_size=32,
        rows_share=1.0,
        held_out_share=0.0,
    )
    heavy = flat.model_copy(update={"weights_by_action": {"Corner": 30.0}})
    stacked = next(iter(halves.values()))
    plain = fuse(fit_fusion(halves, events, ACTIONS, flat).model, stacked)
    weighted = fuse(fit_fusion(halves, events, ACTIONS, heavy).model, stacked)
    assert weighted[:, 1].mean() > plain[:, 1].mean() + 0.2
    assert abs(weighted[:, 0].mean() - plain[:, 0].mean()) < 0.2


def test_save_and_load(tmp_path: Path) -> None:
    fitted = network()
    fitted.save(tmp_path)
    stacked = np.random.default_rng(0).random((3, 9, 2), dtype=np.float32)
    again = FittedNetwork.load(tmp_path, 3, ACTIONS)
    np.testing.assert_array_equal(again.combine(stacked), fuse(fitted.model, stacked))
    np.testing.assert_array_equal(again.combine(stacked), fitted.combine(stacked))


def test_a_network_takes_the_rows_of_its_own_models(tmp_path: Path) -> None:
    stacked = np.random.default_rng(0).random((5, 9, 2), dtype=np.float32)
    among = network().among(5, (4, 0, 2))
    np.testing.assert_array_equal(among.combine(stacked), fuse(among.model, stacked[[4, 0, 2]]))
    np.testing.assert_array_equal(
        among.of_used().combine(stacked[[4, 0, 2]]), among.combine(stacked)
    )
    among.save(tmp_path)
    assert FittedNetwork.load(tmp_path, 3, ACTIONS).used == (0, 1, 2)


def test_a_file_for_other_models_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fusion.safetensors"
    with pytest.raises(InputError, match="no learned fusion here"):
        FittedNetwork.load(tmp_path, 3, ACTIONS)
    network().save(tmp_path)
    with pytest.raises(InputError, match="fuses 3 models of 2 actions, asked for 4 of 2"):
        FittedNetwork.load(tmp_path, 4, ACTIONS)
    with pytest.raises(InputError, match="or other actions"):
        FittedNetwork.load(tmp_path, 3, ("Goal", "Foul"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a learned fusion"):
        FittedNetwork.load(tmp_path, 3, ACTIONS)


def test_weights_of_unknown_actions_and_no_halves_are_refused() -> None:
    halves, events = planted(1)
    config = SMALL.model_copy(update={"weights_by_action": {"Gaol": 2.0}})
    with pytest.raises(InputError, match="unknown actions Gaol; the actions are Goal, Corner"):
        fit_fusion(halves, events, ACTIONS, config)
    with pytest.raises(InputError, match="needs labelled halves"):
        fit_fusion({}, {}, ACTIONS, SMALL)
