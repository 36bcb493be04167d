"""Rows of another rate than they are packed at are found out: by labels, and by other streams."""

import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtas.embed.commentary import read_half_seconds
from hmtas.errors import InputError
from hmtas.formats.soccernet import find_games, read_events
from hmtas.packing.check import plan_pack
from hmtas.packing.lengths import check_lengths, doubted_rate, late_labels
from hmtas.packing.pack import pack
from hmtas.packing.rates import Rates
from hmtas.packing.sources import Block, SourceFile, SourceHalf, at_rates
from hmtas.records import Events, HalfId
from hmtas.scoring.inputs import load
from hmtas.scoring.score import score_spots
from hmtas.season.write import SeasonConfig, write_season
from hmtas.store.local import EmbeddingStore
from hmtas.training.linear import run_baseline
from tests.support.archives import extract
from tests.support.store_tree import label, rows, save, save_labels, save_splits, tree

IS_IT_2_HZ = (
    r"the last label of nearly every half lies in the first 50 % of its rows \([\d,]+ labels in "
    r"\d+ halves\).*packed at 1 Hz, are the rows of 2 Hz \(--rate-hz 2\)\?"
)


def season(
    root: Path, *, seed: int = 0, games: tuple[int, int] = (6, 4), minutes: int = 22
) -> Path:
    write_season(
        root,
        SeasonConfig(
            train=games[0], valid=games[1], test=1, minutes=minutes, seed=seed, streams={"tpn": 24}
        ),
    )
    return root


def repeat_rows(games: Path, times: int) -> None:
    for path in games.rglob("*.npy"):
        np.save(path, np.repeat(np.load(path), times, axis=0))


def half_of(num_rows: int, last_s: float, num_labels: int) -> tuple[SourceHalf, Events]:
    half = HalfId(f"l/s/{num_rows}", 1)
    file = SourceFile(Path("1_tpn.npy"), num_rows, (Block("tpn", 0, 8),), 0, 0)
    events = Events(
        half=half,
        time_s=np.linspace(0, last_s, num_labels),
        action=np.zeros(num_labels, np.int64),
        visible=np.ones(num_labels, np.bool_),
    )
    return SourceHalf(half, (file,)), events


def doubt(*halves: tuple[SourceHalf, Events], rate_hz: float = 1.0) -> str:
    events = {item.half: item for _, item in halves}
    return doubted_rate([source for source, _ in halves], events, rate_hz)


def tight_of_linear(store: Path) -> float:
    opened, run = EmbeddingStore.open(store), store.with_name(f"run-{store.name}")
    run_baseline(opened, run, ["valid"])
    found, events = load(run, games=None, split="valid", splits=None)
    return score_spots(found.spots, events, opened.actions, bootstrap=0).tight.average_map


def test_each_row_twice_at_1_hz_is_told_and_at_2_hz_scores_as_before(tmp_path: Path) -> None:
    games = season(tmp_path / "games")
    assert pack(games, tmp_path / "sound").warnings == ()
    repeat_rows(games, 2)
    (warning,) = pack(games, tmp_path / "wrong").warnings
    assert re.fullmatch(IS_IT_2_HZ, warning)
    assert pack(games, tmp_path / "right", rate_hz=2).warnings == ()
    sound, wrong, right = (tight_of_linear(tmp_path / name) for name in ("sound", "wrong", "right"))
    assert sound > 0.1
    assert right == pytest.approx(sound, rel=0.1)
    assert wrong < 0.02


@pytest.mark.parametrize("minutes", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_small_sound_seasons_give_no_warning(tmp_path: Path, minutes: int, seed: int) -> None:
    games = season(tmp_path, seed=seed, games=(8, 6), minutes=minutes)
    assert plan_pack(games).warnings == ()
    for path in games.rglob("Labels-v2.json"):
        path.unlink()
    save_splits(games, {"challenge": find_games(games, "1_*.npy")})
    assert plan_pack(games).warnings == ()


@pytest.mark.real
@pytest.mark.skipif("HMTAS_REAL" not in os.environ, reason="HMTAS_REAL is unset")
def test_real_labels_reach_the_end_of_their_halves(tmp_path: Path) -> None:
    real = Path(os.environ["HMTAS_REAL"])
    with tarfile.open(real / "games.tar.xz") as archive:
        labels = [item for item in archive.getmembers() if item.name.endswith("Labels-v2.json")]
        extract(archive, tmp_path, labels)
    for times, expected in ((1, ""), (2, "packed at 1 Hz, are the rows of 2 Hz")):
        halves = [
            half_of(times * int(seconds), 0, 0)[0]._replace(half=half)
            for half, seconds in read_half_seconds(real / "half_seconds.json").items()
        ]
        events = {
            item.half: item
            for game in {source.half.game for source in halves}
            for item in read_events(tmp_path, game).values()
        }
        assert len(events) == 1000
        found = doubted_rate(halves, events, 1.0)
        assert expected in found
        assert bool(found) == bool(expected)


def test_one_odd_half_changes_nothing_and_few_labels_say_nothing() -> None:
    early = [half_of(200 + number, 90, 10) for number in range(19)]
    odd = half_of(100, 99, 10)
    assert "200 labels in 20 halves" in doubt(*early, odd)
    assert doubt(*early, odd, half_of(101, 99, 10)) == ""
    assert doubt(half_of(200, 90, 15), half_of(201, 90, 14)) == ""
    assert doubt(half_of(200, 90, 15), half_of(201, 90, 15)) != ""
    assert doubt() == ""
    assert doubt(half_of(200, 0, 40)) == ""  # a rate cannot be told from labels at 0 s


def test_a_few_halves_of_another_rate_are_told_among_the_others() -> None:
    sound = [half_of(2700 + number, 2650, 50) for number in range(18)]
    warned = doubt(*sound, half_of(5400, 2650, 50), half_of(5401, 2600, 19))
    assert warned.startswith("the last label of 1 half of 20 lies in the first 60 % of its rows")
    assert doubt(*sound) == ""


def test_the_rate_that_the_labels_show_is_named() -> None:
    assert "--rate-hz 25)" in doubt(half_of(25 * 2700, 2690, 100))
    assert "packed at 0.5 Hz, are the rows of 1 Hz (--rate-hz 1)" in doubt(
        half_of(2700, 2690, 100), rate_hz=0.5
    )


def test_rows_of_half_a_hertz_are_named_where_labels_lie_past_the_end(tmp_path: Path) -> None:
    games = tree(tmp_path / "games", {"train": ["l/s/a"]})
    save_labels(games, "l/s/a", [label(1, 2), label(1, 40), label(1, 50), label(1, 59)])
    message = (
        r"l/s/a, half 1: label 'Goal' at 59 s lies past the end of the half, 30 s, by more than "
        r"5 s \(and 2 more\); are embeddings cut short, or of the other half, or of 0.5 rows a "
        r"second \(--rate-hz\)\?$"
    )
    with pytest.raises(InputError, match=message):
        pack(games, tmp_path / "store")
    assert pack(games, tmp_path / "store", rate_hz=0.5).late_labels == ()


@pytest.mark.parametrize(
    ("tpn", "vggish", "rate_hz", "cause"),
    [
        (5400, 2812, 1, "is 'vggish' one row per 0.96 s and 'tpn' one per 0.5 s?"),
        (2700, 2812, 1, "is 'tpn' one row per 1 s and 'vggish' one per 0.96 s?"),
        (5400, 2700, 1, "is 'vggish' one row per 1 s and 'tpn' one per 0.5 s?"),
        (5398, 2700, 2, "is 'vggish' one row per 1 s and 'tpn' one per 0.5 s?"),
        (2700, 1350, 1, "is 'vggish' one row per 1 s and 'tpn' one per 0.5 s?"),
        (67500, 2700, 1, "is 'vggish' one row per 1 s and 'tpn' one per 0.04 s?"),
        (2700, 2690, 1, "is one of them cut short, or of another video?"),
        (2700, 1500, 1, "is one of them cut short, or of another video?"),
    ],
)
def test_streams_of_two_rates_in_one_half_are_named(
    tpn: int, vggish: int, rate_hz: float, cause: str
) -> None:
    files = (
        SourceFile(Path("1_tpn.npy"), tpn, (Block("tpn", 0, 8),), 0, 0),
        SourceFile(Path("1_vggish.npy"), vggish, (Block("vggish", 0, 4),), 0, 0),
    )
    (problem,) = check_lengths(SourceHalf(HalfId("l/s/a", 1), files), rate_hz, 2)
    assert f"{min(tpn, vggish)} rows but" in problem
    assert cause in problem


@pytest.mark.parametrize(
    ("stream", "num_rows", "options", "cause"),
    [
        ("vggish", 300, {}, "is 'tpn' one row per 1 s and 'vggish' one per 0.5 s? Then say so: "
         "--rate-hz vggish=2"),
        ("vggish", 156, {}, "is 'tpn' one row per 1 s and 'vggish' one per 0.96 s? Then say so: "
         "--rate-hz vggish=1.0417"),
        ("ResNET_TF2", 150, {}, "stream 'ResNET_TF2' has 150 rows of 2 Hz but 'tpn' has 150, more "
         "than 5 s apart; is 'ResNET_TF2' one row per 1 s and 'tpn' one per 1 s? Then say so: "
         "--rate-hz ResNET_TF2=1"),
        ("vggish", 150, {"stream_rates_hz": {"vggish": 25 / 24}}, "--rate-hz vggish=1"),
        ("vggish", 160, {}, "cut short, or of another video"),
    ],
)  # fmt: skip
def test_lengths_of_streams_are_seconds_at_their_own_rates(
    tmp_path: Path, stream: str, num_rows: int, options: dict[str, Any], cause: str
) -> None:
    games = tree(tmp_path / "games", {"train": ["l/s/a"]})
    for half in (1, 2):
        (games / f"l/s/a/{half}_vggish.npy").unlink()
        save(games, "l/s/a", half, "tpn", rows("l/s/a", half, "tpn", 150))
        save(games, "l/s/a", half, stream, rows("l/s/a", half, stream, num_rows))
    with pytest.raises(InputError, match="more than 5 s apart") as caught:
        pack(games, tmp_path / "store", **options)
    assert cause in str(caught.value)
    # The option that is suggested mends it.
    for name, rate_hz in re.findall(r"--rate-hz (\w+)=([\d.]+)", str(caught.value))[:1]:
        assert pack(games, tmp_path / "store", stream_rates_hz={name: float(rate_hz)})


def test_lengths_apart_by_the_slack_itself_are_taken() -> None:
    files = tuple(
        SourceFile(Path(f"1_{name}.npy"), num_rows, (Block(name, 0, 8),), 0, 0)
        for name, num_rows in (("tpn", 100), ("vggish", 85))  # the computer's 100 / 3 - 85 / 3 > 5
    )
    assert check_lengths(SourceHalf(HalfId("l/s/a", 1), files), 3, 5) == []
    assert check_lengths(SourceHalf(HalfId("l/s/a", 1), files), 3, 4.9)


def test_streams_of_one_file_of_five_are_named_by_their_file() -> None:
    files = (
        SourceFile(Path("1_b.npy"), 5400, (Block("tpn", 0, 8), Block("gta", 8, 8)), 0, 0),
        SourceFile(Path("1_vggish.npy"), 2700, (Block("vggish", 0, 4),), 0, 0),
    )
    (problem,) = check_lengths(SourceHalf(HalfId("l/s/a", 1), files), 1, 5)
    assert problem.endswith("say so: --rate-hz baidu_soccer_embeddings=2")


@pytest.mark.parametrize(
    ("num_rows", "warned"),
    [
        ([(96, 100), (72, 75), (24, 25)], "--rate-hz vggish=1.0417"),
        ([(100, 100), (75, 75)], ""),
        ([(96, 100), (72, 72), (72, 73)], ""),  # one half among three says nothing
        ([(48, 53), (48, 47)], ""),  # together 24/25, each not
        ([(48, 50)], ""),  # two rows are no difference
        ([(5, 10), (3, 6), (4, 8)], "--rate-hz vggish=2"),
        ([(100, 96), (75, 72)], "--rate-hz tpn=1.0417"),
    ],
)
def test_rates_are_told_from_short_halves_within_the_slack(
    tmp_path: Path, num_rows: list[tuple[int, int]], warned: str
) -> None:
    names = [f"l/s/{number}" for number in range(len(num_rows))]
    games = tree(tmp_path / "games", {"challenge": names})
    for game, lengths in zip(names, num_rows, strict=True):
        for half in (1, 2):
            for stream, length in zip(("tpn", "vggish"), lengths, strict=True):
                save(games, game, half, stream, rows(game, half, stream, length))
    warnings = pack(games, tmp_path / "store").warnings
    if not warned:
        assert warnings == ()
        return
    (warning,) = warnings
    assert f"differ alike in {2 * len(names)} of {2 * len(names)} halves, as with" in warning
    assert warning.endswith(f"Then say so: {warned}")
    name, rate_hz = warned.split()[1].split("=")
    mended = pack(games, tmp_path / "store", stream_rates_hz={name: float(rate_hz)})
    assert mended.warnings == ()


def test_rates_that_a_wide_slack_hides_are_told(tmp_path: Path) -> None:
    games = tree(tmp_path / "games", {"challenge": ["l/s/a"]})
    for half in (1, 2):
        save(games, "l/s/a", half, "tpn", rows("l/s/a", half, "tpn", 60))
    (warning,) = pack(games, tmp_path / "store", slack_s=1000).warnings
    assert warning == (
        "streams 'vggish' and 'tpn' differ alike in 2 of 2 halves, as with 30 and 60 rows of l/s/a,"
        " half 1: is 'vggish' one row per 1 s and 'tpn' one per 0.5 s? Then say so: --rate-hz tpn=2"
    )


def test_the_rate_of_a_stream_that_labels_put_in_doubt_is_named() -> None:
    source, events = half_of(4 * 2700, 2690, 100)
    rates = Rates(by_stream_hz={"tpn": 2})
    assert doubt((at_rates(source, rates, []), events)).endswith(
        "packed at 1 Hz, are the rows of 4 Hz (--rate-hz tpn=4)?"
    )
    plain = SourceFile(Path("1_vggish.npy"), 2 * 2700, (Block("vggish", 0, 4),), 0, 0)
    both = at_rates(source._replace(files=(*source.files, plain)), rates, [])
    assert doubt((both, events)).endswith(
        "are the rows of 2 and 4 Hz (--rate-hz 2 --rate-hz tpn=4)?"
    )
    coarse = at_rates(half_of(30, 0, 0)[0], rates, [])  # 15 s
    problems: list[str] = []
    late_labels(half_of(30, 44, 2)[1], coarse, ["Goal"], problems, rate_hz=1, slack_s=5)
    assert problems[0].endswith(
        "or of the other half, or is 'tpn' of 0.666667 Hz (--rate-hz tpn=0.666667)?"
    )


@pytest.mark.parametrize("option", ["rate_hz", "slack_s"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_rates_and_slacks_that_are_no_numbers(tmp_path: Path, option: str, value: float) -> None:
    games = tree(tmp_path / "games", {"train": ["l/s/a"]})
    with pytest.raises(InputError, match="rate must be positive and slack not negative, both fin"):
        pack(games, tmp_path / "store", **{option: value})
    assert not (tmp_path / "store").exists()
