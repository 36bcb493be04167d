"""Per-second embeddings of an invented half: every stream sees what happened in its own way.

An action leaves three marks: a build-up before the moment and an aftermath behind it, which
similar actions share, and the moment itself, which they share in part. A stream
mixes the marks into its features, with its own strength, delay and blur, misses some events,
takes some moments for actions that are none, and adds noise that has a memory. So no stream is
enough, together they say more, and a longer window sees more of an action.
"""

import zlib
from typing import NamedTuple

import numpy as np

from hmtas.formats.labels import ACTIONS
from hmtas.season.match import SimulatedHalf


class StreamProfile(NamedTuple):
    """How a stream sees the game."""

    strength: float  # relative size of its evidence
    delay_s: float  # its evidence comes this long after the moment,
    delay_spread_s: float  # give or take (standard deviation)
    blur_s: float  # standard deviation of a mark in time
    build_up: float = 0.7  # size of the build-up beside the moment
    aftermath: float = 0.7
    hears: bool = False  # notices only loud actions


# Strengths in the order of thesis Table 5.6: VTN best, irCSN last of the visual ones, audio far
# behind. Delay and blur are inventions; those of audio follow the reaction of a crowd.
PROFILES = {
    "tpn": StreamProfile(0.95, 0.0, 0.3, 1.0, build_up=0.9, aftermath=0.6),
    "gta": StreamProfile(1.0, 0.2, 0.3, 1.2),
    "vtn": StreamProfile(1.3, 0.0, 0.2, 1.0),
    "ircsn": StreamProfile(0.8, -0.2, 0.4, 1.1, build_up=1.0, aftermath=0.5),
    "i3d_slow": StreamProfile(0.9, 0.4, 0.4, 1.6, build_up=0.6, aftermath=1.0),
    "vggish": StreamProfile(0.7, 2.0, 0.5, 1.5, build_up=0.1, aftermath=1.0, hears=True),
}
DEFAULT_PROFILE = StreamProfile(0.9, 0.2, 0.3, 1.2)  # a stream of another name

LOUDNESS = {
    "Goal": 1.8,
    "Penalty": 1.6,
    "Red card": 1.3,
    "Yellow->red card": 1.2,
    "Yellow card": 1.0,
    "Shots on target": 1.0,
    "Foul": 0.9,
    "Shots off target": 0.8,
    "Offside": 0.7,
    "Kick-off": 0.6,
}
_QUIET = 0.2

KINDS = (
    ("Penalty", "Goal", "Shots on target", "Shots off target"),
    ("Foul", "Offside", "Yellow card", "Red card", "Yellow->red card", "Substitution"),
    ("Corner", "Direct free-kick", "Indirect free-kick", "Kick-off"),
    ("Ball out of play", "Throw-in", "Clearance"),
)
"""Actions that look alike share a part of their marks."""
KIND_OF_ACTION = np.array([[action in kind for kind in KINDS].index(True) for action in ACTIONS])

EVIDENCE = 3.0  # size of a mark of strength 1, in standard deviations of the noise of a second
SHARED_SIZE = 0.6  # of a moment's mark, beside its own part of 1
BUILD_UP_S = -2.0
AFTERMATH_S = 2.5
NOT_SHOWN_FACTOR = 0.4
MISS_RATE = 0.08  # share of the events that a stream misses
FALSE_PER_EVENT = 0.5
NOISE_MEMORY = 0.5  # autocorrelation of the noise from one second to the next
CORE_WIDTH = 64  # wider embeddings are a mixture of this many numbers, and a little noise
_LIMIT = 100.0  # far inside float16
_NUM_MARKS = len(ACTIONS) + 2 * len(KINDS)


class Marks(NamedTuple):
    """True and false marks of one half, each of shape (M,); the same ones for every stream."""

    time_s: np.ndarray
    action: np.ndarray
    size: np.ndarray
    false: np.ndarray  # bool


def draw_marks(rng: np.random.Generator, played: SimulatedHalf) -> Marks:
    """How clear each event of a half is, and where something else looks like an action."""
    num_events = len(played.time_s)
    clear = np.exp(0.3 * rng.standard_normal(num_events))
    clear *= np.where(played.visible, 1.0, NOT_SHOWN_FACTOR)
    num_false = rng.poisson(FALSE_PER_EVENT * num_events)
    # Half of them after the actions of the half, half after any: rare actions have lookalikes too.
    likely = rng.choice(played.action, num_false)
    any_one = rng.integers(len(ACTIONS), size=num_false)
    return Marks(
        time_s=np.concatenate([played.time_s, rng.uniform(0, played.duration_s, num_false)]),
        action=np.concatenate(
            [played.action, np.where(rng.random(num_false) < 0.5, likely, any_one)]
        ),
        size=np.concatenate([clear, rng.uniform(0.3, 0.9, num_false)]),
        false=np.arange(num_events + num_false) >= num_events,
    )


def embed(
    rng: np.random.Generator, marks: Marks, *, stream: str, width: int, num_rows: int, seed: int
) -> np.ndarray:
    """One stream of one half.

    Args:
        rng: Source of what differs between halves.
        marks: What there is to see.
        stream: Name of the stream; decides its profile and, with the seed, its features.
        width: F.
        num_rows: T.
        seed: Seed of the season: the features mean the same in all of its games.

    Returns:
        (T, F) float32, finite, within +-100.
    """
    profile = PROFILES.get(stream, DEFAULT_PROFILE)
    sequence = np.random.SeedSequence(seed, spawn_key=(0, name_key(stream)))
    season = np.random.default_rng(sequence)
    core_width = min(width, CORE_WIDTH)
    feature_KF = season.standard_normal((_NUM_MARKS, core_width))
    shared_F = season.standard_normal((len(KINDS), core_width))
    feature_KF[: len(ACTIONS)] += SHARED_SIZE * shared_F[KIND_OF_ACTION]
    feature_KF *= EVIDENCE / np.linalg.norm(feature_KF, axis=1, keepdims=True)
    seen_TK = _mark_sizes(rng, marks, profile, num_rows)
    core_TF = _noise(rng, num_rows, core_width)
    # Not `@`: the result of a BLAS may depend on the number of its threads.
    core_TF += np.einsum("tk,kf->tf", seen_TK, feature_KF)
    if width > core_width:
        mix_FF = season.standard_normal((core_width, width), dtype=np.float32)
        mix_FF /= np.float32(np.sqrt(core_width))
        wide_TF = rng.standard_normal((num_rows, width), dtype=np.float32)
        wide_TF *= np.float32(0.3)
        wide_TF += np.einsum("tk,kf->tf", core_TF.astype(np.float32), mix_FF)
    else:
        wide_TF = core_TF.astype(np.float32)
    return np.clip(wide_TF, -_LIMIT, _LIMIT, out=wide_TF)


def name_key(stream: str) -> int:
    """A number for a stream's name, so that its randomness does not depend on other streams."""
    return zlib.crc32(stream.encode())


def _mark_sizes(
    rng: np.random.Generator, marks: Marks, profile: StreamProfile, num_rows: int
) -> np.ndarray:
    """Size of every mark in every second, (T, K): moments, then build-ups, then aftermaths."""
    num_marks = len(marks.time_s)
    size_M = marks.size * profile.strength * np.exp(0.25 * rng.standard_normal(num_marks))
    # A lookalike fools a stream or it does not; that is why several streams are better than one.
    overlooked_M = rng.random(num_marks) < np.where(marks.false, 0.5, MISS_RATE)
    size_M[overlooked_M] *= 0.1
    if profile.hears:
        size_M *= np.array([LOUDNESS.get(action, _QUIET) for action in ACTIONS])[marks.action]
    delay_M = profile.delay_s + profile.delay_spread_s * rng.standard_normal(num_marks)
    kind_M = KIND_OF_ACTION[marks.action]
    first_build_up = len(ACTIONS)
    first_aftermath = first_build_up + len(KINDS)
    reach = int(np.ceil(4 * profile.blur_s))
    seen_TK = np.zeros((num_rows, _NUM_MARKS))
    for column_M, offset_s, share in (
        (marks.action, 0.0, 1.0),
        (first_build_up + kind_M, BUILD_UP_S, profile.build_up),
        (first_aftermath + kind_M, AFTERMATH_S, profile.aftermath),
    ):
        centre_M = marks.time_s + delay_M + offset_s
        # A mark is nothing beyond four times its blur: only the rows nearby are touched.
        row_MR = np.rint(centre_M).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
        curve_MR = np.exp(-0.5 * ((row_MR - centre_M[:, None]) / profile.blur_s) ** 2)
        curve_MR *= share * size_M[:, None]
        inside_MR = (row_MR >= 0) & (row_MR < num_rows)
        column_MR = np.broadcast_to(column_M[:, None], row_MR.shape)
        np.add.at(seen_TK, (row_MR[inside_MR], column_MR[inside_MR]), curve_MR[inside_MR])
    return seen_TK


def _noise(rng: np.random.Generator, num_rows: int, width: int) -> np.ndarray:
    """Noise of unit variance that remembers the second before, (T, F)."""
    noise_TF = rng.standard_normal((num_rows, width))
    noise_TF[1:] *= np.sqrt(1 - NOISE_MEMORY**2)
    for row in range(1, num_rows):
        noise_TF[row] += NOISE_MEMORY * noise_TF[row - 1]
    return noise_TF
