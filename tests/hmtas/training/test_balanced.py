"""Balanced partners label an event of an action drawn uniformly, and blend as others do."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hmtas.config import ContextConfig
from hmtas.model.steps import Rates
from hmtas.packing.pack import pack
from hmtas.store.local import EmbeddingStore
from hmtas.training import dataset
from hmtas.training.batches import Batch, mix_up
from hmtas.training.dataset import SampleDataset
from hmtas.training.labels import Labels, StepLabels, WindowLabels
from tests.support.store_tree import label, save, save_labels, save_splits

GOALS_S = range(2, 200, 2)  # a hundred times as many as there are fouls
FOUL_S = 150.0
CONTEXTS = StepLabels(ContextConfig(context_s=32, margin_s=6, radius_s=0.5), Rates(1, 1), True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """A half with many goals and one foul, which lacks the audio, and one without events."""
    root = tmp_path_factory.mktemp("balanced")
    games = root / "games"
    for half in (1, 2):
        row = (1000.0 * half + np.arange(220))[:, None]
        save(games, "l/s/a", half, "row", row.astype(np.float32))
    save(games, "l/s/a", 2, "audio", np.ones((220, 1), np.float32))
    goals = [label(1, second) for second in GOALS_S]
    save_labels(games, "l/s/a", [*goals, label(1, FOUL_S, "Foul")])
    save_splits(games, {"train": ["l/s/a"]})
    pack(games, root / "store", actions=("Goal", "Foul"))
    return EmbeddingStore.open(root / "store")


def partners(
    store: EmbeddingStore, labels: Labels, halves: tuple[int, ...] = (1, 2)
) -> list[Batch]:
    found = [half for half in store.halves_of(store.games("train")) if half.half in halves]
    data = SampleDataset(store, found, streams=("row", "audio"), labels=labels)
    rng = np.random.default_rng(0)
    batches = [b for _ in range(20) for b in data.batches(8, rng, balanced=True)]
    for batch in batches:
        assert batch.partner is not None
        assert batch.partner.num_samples == batch.num_samples
        assert batch.partner.target_BC.shape == batch.target_BC.shape
    return [batch.partner for batch in batches if batch.partner is not None]


@pytest.mark.parametrize("block_bytes", [10**9, 1])
@pytest.mark.parametrize("labels", [WindowLabels(1), CONTEXTS], ids=["windows", "contexts"])
def test_a_partner_labels_an_event_and_actions_come_equally_often(
    labels: Labels, block_bytes: int, *, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", block_bytes)
    halves = (1, 2) if block_bytes > 1 else (1,)
    found = partners(store, labels, halves)
    num_labels = labels.layout.num_windows
    target_KnC = torch.cat([p.target_BC.view(p.num_samples, num_labels, 3) for p in found])
    assert target_KnC[:, :, 1:].amax(dim=(1, 2)).eq(1).all()
    has_foul = target_KnC[:, :, 2].any(dim=1).float().mean()
    # The action is drawn first: a foul in half of them, and where a goal's context happens to
    # hold it.
    assert 0.4 < has_foul < 0.65
    for partner in found:
        assert partner.present_BE is not None  # all are of the half that lacks the audio
        assert torch.equal(partner.present_BE, torch.tensor([[True, False]] * partner.num_samples))


def test_a_batch_of_two_blocks_has_the_partners_of_both(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 1)  # each half is a block; 8 does not divide it
    partners(store, WindowLabels(1))


def test_rows_and_labels_of_a_partner_belong_together(store: EmbeddingStore) -> None:
    for partner in partners(store, CONTEXTS):
        rows = partner.x["row"][:, 6:-6, 0] - 1000
        assert (rows.diff(dim=1) == 1).all()
        foul = partner.target_BC.view(len(rows), -1, 3)[:, :, 2].bool()
        assert torch.equal(foul, rows == FOUL_S)
        assert partner.shift_BA is not None
        shift = partner.shift_BA.view(len(rows), -1, 2)[:, :, 1]
        near = (rows - FOUL_S).abs() <= 6
        assert torch.equal(shift.isfinite(), near)
        torch.testing.assert_close(shift[near], (FOUL_S - rows.float())[near])


def test_without_events_a_sample_is_its_own_partner(store: EmbeddingStore) -> None:
    halves = store.halves_of(store.games("train"))[1:]
    data = SampleDataset(store, halves, streams=("row", "audio"), labels=CONTEXTS)
    for batch in data.batches(8, np.random.default_rng(0), balanced=True):
        assert batch.partner is not None
        assert torch.equal(batch.x["row"], batch.partner.x["row"])
        assert not batch.target_BC[:, 1:].any()


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_a_sample_blends_with_its_partner_and_not_with_another() -> None:
    nan = float("nan")
    here = Batch(
        {"row": torch.zeros(4, 1, 1)},
        torch.tensor([[1, 1], [1, 1], [0, 1], [0, 1]]).bool(),
        column(0, 0, 0, 0),
        column(1, nan, 2, nan),
    )
    partner = Batch(
        {"row": torch.arange(1.0, 5).view(4, 1, 1)},
        torch.tensor([[1, 1], [0, 1], [1, 1], [0, 1]]).bool(),
        column(1, 1, 1, 1),
        column(3, 5, nan, nan),
    )
    mixed = mix_up(here._replace(partner=partner), 1.0, np.random.default_rng(3))
    rest = 1 - np.random.default_rng(3).beta(1.0, 1.0)
    assert mixed.x["row"].flatten().tolist() == pytest.approx([rest * n for n in (1, 2, 3, 4)])
    assert mixed.target_BC.flatten().tolist() == pytest.approx([rest] * 4)
    assert mixed.present_BE is not None
    assert mixed.present_BE.int().tolist() == [[1, 1], [0, 1], [0, 1], [0, 1]]
    assert mixed.shift_BA is not None
    both, theirs, ours, none = mixed.shift_BA.flatten().tolist()
    assert (both, theirs, ours) == pytest.approx((1 + 2 * rest, 5, 2))
    assert np.isnan(none)


def test_samples_without_a_common_stream_are_not_blended() -> None:
    """Nothing would be left of either, and a fusion of no stream is not a number."""
    here = Batch(
        {"row": torch.full((2, 3, 1), 5.0)},
        torch.tensor([[1, 0], [1, 0]]).bool(),
        column(1, 2, 3, 4),
        column(float("nan"), 1, 1, 1),
    )
    partner = Batch(
        {"row": torch.full((2, 3, 1), 7.0)},
        torch.tensor([[0, 1], [1, 1]]).bool(),
        column(5, 6, 7, 8),
        column(2, 2, 3, 3),
    )
    mixed = mix_up(here._replace(partner=partner), 1.0, np.random.default_rng(0))
    rest = 1 - np.random.default_rng(0).beta(1.0, 1.0)
    assert mixed.present_BE is not None
    assert mixed.present_BE.int().tolist() == [[1, 0], [1, 0]]
    assert mixed.x["row"][:, 0, 0].tolist() == pytest.approx([5, 5 + 2 * rest])
    blended = [1, 2, 3 + 4 * rest, 4 + 4 * rest]
    assert mixed.target_BC.flatten().tolist() == pytest.approx(blended)
    assert mixed.shift_BA is not None
    assert mixed.shift_BA.isnan().flatten().tolist() == [True, False, False, False]


@pytest.mark.parametrize("which", [0, 1])
def test_a_stream_that_either_lacks_is_missing(which: int) -> None:
    parts = [Batch({"row": torch.ones(2, 1, 1)}, None, column(0, 1)) for _ in range(2)]
    parts[which] = parts[which]._replace(present_BE=torch.tensor([[True], [False]]))
    mixed = mix_up(parts[0]._replace(partner=parts[1]), 1.0, np.random.default_rng(0))
    assert mixed.present_BE is not None
    assert mixed.present_BE.flatten().tolist() == [True, False]
