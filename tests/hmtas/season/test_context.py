"""A season for long contexts rewards them, and exact times; the ordinary season rewards neither."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.errors import InputError
from hmtas.files import read_json
from hmtas.formats.actions import ACTIONS
from hmtas.formats.soccernet import read_events
from hmtas.formats.splits import read_splits
from hmtas.season.evidence import Marks, draw_marks, embed
from hmtas.season.match import simulate_match
from hmtas.season.profiles import PROFILES
from hmtas.season.traces import CONTEXT, LOOKALIKES, NEAR, Layout
from hmtas.season.write import SEASON_FILE, SeasonConfig, write_season

MINUTES = 20
ROW = 60  # of a lone mark, in a half of twice as many


def lone_mark(layout: Layout, action: str, *, stream: str, false: bool = False) -> np.ndarray:
    """Mean evidence of one mark at `ROW`, (2 * `ROW` + 1, 32): 40 marks, without the noise."""
    mean_TF = np.zeros((2 * ROW + 1, 32))
    for k in range(40):
        seen = [
            embed(
                np.random.default_rng(k),
                Marks(
                    time_s=np.array([float(ROW)]),
                    action=np.array([ACTIONS.index(action)]),
                    size=np.array([size]),
                    false=np.array([false]),
                ),
                stream=stream,
                width=32,
                num_rows=len(mean_TF),
                seed=0,
                layout=layout,
            )
            for size in (1.0, 0.0)
        ]
        mean_TF += (seen[0] - seen[1]) / 40
    return mean_TF


def sizes(evidence_TF: np.ndarray) -> np.ndarray:
    return np.linalg.norm(evidence_TF, axis=1)


@pytest.mark.parametrize("stream", PROFILES)
def test_only_the_option_puts_evidence_far_from_the_moment(stream: str) -> None:
    near_T = sizes(lone_mark(NEAR, "Goal", stream=stream))
    context_T = sizes(lone_mark(CONTEXT, "Goal", stream=stream))
    assert near_T[: ROW - 10].max() < 0.01
    assert near_T[ROW + 13 :].max() < 0.01
    middle_T = context_T[ROW - 3 : ROW + 6]
    before_T, after_T = context_T[ROW - 30 : ROW - 10], context_T[ROW + 8 : ROW + 30]
    # Weak beside the moment, but long; audio hears hardly any build-up.
    for far_T in (before_T, after_T):
        assert 0.02 * middle_T.max() < far_T.max() < 0.6 * middle_T.max()
    assert before_T.sum() + after_T.sum() > 0.5 * middle_T.sum()
    assert max(context_T[0], context_T[-1]) < 0.01  # and no longer than a minute


def test_what_only_looks_like_an_action_has_no_build_up_and_no_aftermath() -> None:
    size_T = sizes(lone_mark(CONTEXT, "Goal", stream="vtn", false=True))
    assert size_T[ROW] > 0.5
    assert size_T[: ROW - 5].max() < 0.01
    assert size_T[ROW + 6 :].max() < 0.01


def likeness(layout: Layout, a: str, b: str, after_s: int) -> float:
    """Cosine between the evidence of two actions, `after_s` from the moment."""
    x, y = (lone_mark(layout, action, stream="vtn")[ROW + after_s] for action in (a, b))
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_moments_of_a_kind_look_alike_and_what_lies_around_them_does_not() -> None:
    pairs = [kind[:2] for kind in LOOKALIKES]
    moment = [likeness(CONTEXT, a, b, 0) for a, b in pairs]
    assert min(moment) > 0.9
    assert max(moment) < 0.99  # not the same: a short window has its chance
    for after_s in (-15, 14):
        assert max(likeness(CONTEXT, a, b, after_s) for a, b in pairs) < 0.6
    ordinary = [likeness(NEAR, a, b, 0) for a, b in pairs]
    assert np.mean(ordinary) < np.mean(moment) - 0.3


def test_every_action_has_one_kind() -> None:
    assert sorted(action for kind in LOOKALIKES for action in kind) == sorted(ACTIONS)


def test_labels_are_exact_and_the_matches_are_the_same() -> None:
    off_s: dict[float, list[np.ndarray]] = {0.5: [], 0.15: []}
    for k in range(20):
        times = []
        for jitter_s, offs in off_s.items():
            for half in simulate_match(np.random.default_rng(k), 45, label_jitter_s=jitter_s):
                offs.append(half.label_s - half.time_s)
                times.append(half.time_s)
        np.testing.assert_array_equal(np.concatenate(times[:2]), np.concatenate(times[2:]))
    for jitter_s, offs in off_s.items():
        assert np.concatenate(offs).std() == pytest.approx(jitter_s, rel=0.05)
    assert CONTEXT.label_jitter_s == 0.15


class Seen(NamedTuple):
    """A half as two streams see it."""

    x_TF: np.ndarray
    label_s: np.ndarray
    action: np.ndarray


def watch(layout: Layout, first_match: int, num_matches: int) -> Iterator[Seen]:
    for k in range(first_match, first_match + num_matches):
        match = simulate_match(
            np.random.default_rng(k), MINUTES, label_jitter_s=layout.label_jitter_s
        )
        for number, half in enumerate(match):
            marks = draw_marks(np.random.default_rng([k, number]), half)
            streams = [
                embed(np.random.default_rng([k, number, i]), marks, stream=stream, width=12,
                      num_rows=half.duration_s, seed=0, layout=layout)
                for i, stream in enumerate(("vtn", "gta"))
            ]  # fmt: skip
            yield Seen(np.concatenate(streams, axis=1), half.label_s, half.action)


def ridge(x: np.ndarray, y: np.ndarray, asked: np.ndarray, share: float) -> np.ndarray:
    """Predictions of a ridge regression; the penalty is a share of a feature's variance."""
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, asked = (((values - mean) / scale).astype(np.float32) for values in (x, asked))
    square = x.T @ x + np.float32(share * len(x)) * np.eye(x.shape[1], dtype=np.float32)
    weight = np.linalg.solve(square, x.T @ (y - y.mean(axis=0)).astype(np.float32))
    return asked @ weight + y.mean(axis=0)


def rows_around(seen: list[Seen], reach: int) -> tuple[np.ndarray, np.ndarray]:
    """For every row, the rows at most `reach` away, and which actions are within a second."""
    inputs, targets = [], []
    for x_TF, label_s, action in seen:
        padded = np.pad(x_TF, ((reach, reach), (0, 0)))
        inputs.append(np.concatenate(
            [padded[shift : shift + len(x_TF)] for shift in range(2 * reach + 1)], axis=1
        ))  # fmt: skip
        target = np.zeros((len(x_TF), len(ACTIONS)))
        for row, a in zip(np.rint(label_s).astype(int), action, strict=True):
            target[max(0, row - 1) : row + 2, a] = 1
        targets.append(target)
    return np.concatenate(inputs), np.concatenate(targets)


def mean_average_precision(layout: Layout, reach: int) -> float:
    """Over the rows of unseen matches and the actions that are not rare."""
    x, y = rows_around(list(watch(layout, 0, 12)), reach)
    asked, truth = rows_around(list(watch(layout, 500, 8)), reach)
    score = ridge(x, y, asked, 0.05)
    precisions = []
    for a in np.flatnonzero(truth.sum(axis=0) >= 40):
        hit = truth[np.argsort(-score[:, a]), a]
        precisions.append((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit > 0].mean())
    assert len(precisions) > 6
    return float(np.mean(precisions))


def test_a_long_context_pays_with_the_option_and_not_without() -> None:
    gain = {}
    for name, layout in (("near", NEAR), ("context", CONTEXT)):
        short, long = (mean_average_precision(layout, reach) for reach in (2, 20))
        assert short > 0.15  # a random ranking has 0.01
        gain[name] = long - short
    assert gain["context"] > 0.15
    assert gain["near"] < 0.04


def halves_of_seconds_told(layout: Layout) -> float:
    """Share of unseen actions of one kind whose half of a second four rows tell."""
    parts = []
    for matches in ((0, 24), (500, 12)):
        x, fraction = [], []
        for x_TF, label_s, action in watch(layout, *matches):
            row = np.floor(label_s).astype(int)
            asked = (action == ACTIONS.index("Ball out of play")) & (row >= 1)
            asked &= row + 2 < len(x_TF)
            row = row[asked]
            x.append(np.concatenate([x_TF[row + shift] for shift in (-1, 0, 1, 2)], axis=1))
            fraction.append(label_s[asked] - row)
        parts += [np.concatenate(x), np.concatenate(fraction)]
    x_train, y_train, x_test, y_test = parts
    told = ridge(x_train, y_train[:, None], x_test, 0.3)[:, 0]
    return float(((told > 0.5) == (y_test > 0.5)).mean())


def test_rows_of_a_second_tell_half_a_second_with_the_option() -> None:
    assert halves_of_seconds_told(CONTEXT) > 0.72
    assert halves_of_seconds_told(CONTEXT) > halves_of_seconds_told(NEAR) + 0.08


TINY = ["--train", "1", "--valid", "0", "--test", "0", "--minutes", "1", "--streams", "vtn=4"]


def write(folder: Path, *options: str) -> dict[str, bytes]:
    result = CliRunner().invoke(build(), ["season", str(folder), *TINY, *options])
    if result.exception:
        raise result.exception
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip


def test_the_verb_writes_it_twice_alike_and_other_than_without(tmp_path: Path) -> None:
    once, again = (write(tmp_path / name, "--context") for name in "ab")
    assert once == again
    ordinary = write(tmp_path / "c")
    assert once.keys() == ordinary.keys()
    assert all(once[name] != ordinary[name] for name in once if name.endswith(".npy"))
    assert read_json(tmp_path / "a" / SEASON_FILE)["context"] is True
    # As in every season that was written before there was the option.
    assert "context" not in read_json(tmp_path / "c" / SEASON_FILE)


def test_a_season_resumes_only_with_the_option_it_began_with(tmp_path: Path) -> None:
    write(tmp_path / "a", "--context")
    write(tmp_path / "b")
    with pytest.raises(InputError, match=r"it differs in context\)"):
        write(tmp_path / "a")
    with pytest.raises(InputError, match=r"it differs in context\)"):
        write(tmp_path / "b", "--context")


def test_positions_hold_fractions_of_a_second(tmp_path: Path) -> None:
    config = SeasonConfig(train=1, valid=0, test=0, minutes=10, streams={"vtn": 4}, context=True)
    write_season(tmp_path, config)
    (game,) = read_splits(tmp_path / "splits.json")["train"]
    label_s = np.concatenate([half.time_s for half in read_events(tmp_path, game).values()])
    assert len(label_s) > 20
    assert 0.3 < (label_s % 1 > 0.5).mean() < 0.7
