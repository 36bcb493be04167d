"""Contexts, reaches and rates that cannot be are one line and exit code 2; nothing is written."""

from pathlib import Path

import pytest
import torch

from hmtas.cli import main
from hmtas.commands.learn import configuration
from hmtas.config import Config
from hmtas.model.build import build_model
from hmtas.packing.pack import pack
from tests.support.store_tree import GAMES, save_labels, tree

FITTING = ("context_s=20", "margin_s=4", "reach_s=4", "width=8", "num_heads=2")


def store_at(root: Path, rate_hz: float = 1.0, *, events: bool = True) -> Path:
    """Halves of 30 rows."""
    games = tree(root / "games")
    for game in () if events else GAMES["train"]:
        save_labels(games, game, [])
    pack(games, root / "store", rate_hz=rate_hz)
    return root / "store"


def refuse(
    store: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:  # fmt: skip
    """The one line that `hmtas train` says."""
    out = store.parent / "run"
    words = ["train", str(store), "--out", str(out), "--workers", "1"]
    words += [word for setting in settings for word in ("--set", setting)]
    monkeypatch.setattr("sys.argv", ["hmtas", *words])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert not out.exists()
    return line


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (("kind=dense", "context_s=31"), ("context_s (31)", "half 1: 30 s", "shorter context")),
        (("kind=dense", "reach_s=21"), ("reach_s (21)", "beyond context_s (20)")),
        (("kind=conv", "gamma=1", "margin_s=10"), ("margin_s (10)", "nothing of context_s (20)")),
        (("kind=conv", "gamma=0.7"), ("gamma (0.7) must be 1", "without stream heads")),
        (("kind=dense", "chunk_windows=8"), ("chunk_windows (8)", "dense trains on contexts")),
        (("kind=dense", "attention=batch"), ("attention='batch'", "kind dense")),
        (("kind=dense", "output_rate_hz=3"), ("output_rate_hz",)),
        (("kind=dense", "radius_s=0.1"), ("radius_s", "greater than or equal to 0.5")),
        (("kind=dense", "num_heads=3"), ("width (8)", "num_heads (3)")),
    ],
)
def test_settings_that_cannot_be(
    settings: tuple[str, ...],
    parts: tuple[str, ...],
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refuse(store_at(tmp_path), (*FITTING, *settings), monkeypatch, capsys)
    assert [part for part in parts if part not in line] == []


def test_an_output_rate_that_the_rate_of_the_rows_does_not_divide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (*FITTING, "context_s=9", "margin_s=1", "kind=dense", "output_rate_hz=2")
    line = refuse(store_at(tmp_path, 3.0), settings, monkeypatch, capsys)
    assert "output_rate_hz (2) and the store's 3 rows per second" in line
    assert "one must be a multiple of the other" in line


def test_displacements_without_any_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (*FITTING, "kind=dense", "displacement=true")
    line = refuse(store_at(tmp_path, events=False), settings, monkeypatch, capsys)
    assert "the labels of all 2 train games are empty" in line


@pytest.mark.parametrize(
    ("kind", "unused"),
    [
        ("conv", ["seq_len", "num_heads", "fusion_dropout"]),
        ("dense", ["seq_len"]),
        ("hierarchy", ["context_s", "displacement"]),
        ("encoder", ["context_s", "displacement", "fusion_dropout"]),
        ("fcnn", ["num_heads", "context_s", "displacement", "fusion_dropout"]),
    ],
)
def test_settings_that_a_kind_does_not_read_are_named(
    kind: str, unused: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["seq_len=9", "num_heads=8", "context_s=64", "displacement=true", "fusion_dropout=0.3"]
    configuration(None, None, [f"kind={kind}", "gamma=1", "width=16", *words], "p1", None)
    assert f"note: kind {kind} does not use {', '.join(unused)}" in capsys.readouterr().err
    configuration("m7", None, ["width=16"], "p1", None)
    assert "does not use" not in capsys.readouterr().err


KINDS = ("fcnn", "encoder", "hierarchy", "dense", "conv")
SMALL = {"width": 8, "num_heads": 2, "gamma": 1.0, "reach_s": 4, "time_mask": 0.1}
OTHER = {
    "num_heads": 4, "widening": 2, "num_layers": 3, "encoder_dropout": 0.9, "stream_dropout": 0.9,
    "fusion_dropout": 0.9, "stream_heads": False, "sequence_layers": 1, "reach_s": 6,
    "displacement": True, "output_rate_hz": 2, "time_mask": 0.0, "drop_streams": 0.9,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OTHER)
def test_a_kind_is_the_same_model_whatever_it_does_not_read(kind: str, name: str) -> None:
    """And another one, in training, with what it does read."""
    config = Config().updated({**SMALL, "kind": kind})
    changed = config.updated({name: OTHER[name]})
    is_read = not config.unused([name])
    assert said(config) != said(changed) if is_read else said(config) == said(changed)


def said(config: Config) -> list[float]:
    """What a fresh model in training says of 20 rows, and what its weights are."""
    streams = {"vtn": 4, "vggish": 2}
    torch.manual_seed(0)
    model = build_model(streams, 3, config.model).train()
    x = {name: torch.randn(4, 20, width) for name, width in streams.items()}
    if config.model.labels_steps:
        found = model(x)
    else:
        found = model({name: rows[:, :3] for name, rows in x.items()})
    parts = [found.fused_BC, found.streams_BEC, *model.parameters()]
    return [value for part in parts for value in (part.numel(), part.double().sum().item())]
