"""Per-second embeddings of an invented half: every stream sees what happened in its own way.

An action leaves three traces: a build-up before the moment, an aftermath behind it, and the moment
itself; `hmtas.season.traces` says where they lie and which actions share them. A stream mixes the
traces into its features, with its own strength, delay and blur, misses some events, takes some
moments for actions that are none, and adds noise that has a memory. So no stream is enough,
together they say more, and a longer window sees more of an action.
"""

import zlib
from typing import NamedTuple

import numpy as np

from hmtas.formats.actions import ACTIONS
from hmtas.season.match import SimulatedHalf
from hmtas.season.profiles import DEFAULT_PROFILE, LOUDNESS, PROFILES, QUIET, StreamProfile
from hmtas.season.traces import NEAR, Layout

EVIDENCE = 3.0  # size of a mark of strength 1, in standard deviations of the noise of a second
NOT_SHOWN_FACTOR = 0.4
MISS_RATE = 0.08  # share of the events that a stream misses
FALSE_PER_EVENT = 0.5
NOISE_MEMORY = 0.5  # autocorrelation of the noise from one second to the next
CORE_WIDTH = 64  # wider embeddings are a mixture of this many numbers, and a little noise
_LIMIT = 100.0  # far inside float16


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
    rng: np.random.Generator,
    marks: Marks,
    *,
    stream: str,
    width: int,
    num_rows: int,
    seed: int,
    layout: Layout = NEAR,
) -> np.ndarray:
    """One stream of one half.

    Args:
        rng: Source of what differs between halves.
        marks: What there is to see.
        stream: Name of the stream; decides its profile and, with the seed, its features.
        width: F.
        num_rows: T.
        seed: Seed of the season: the features mean the same in all of its games.
        layout: Where the evidence lies.

    Returns:
        (T, F) float32, finite, within +-100.
    """
    profile = PROFILES.get(stream, DEFAULT_PROFILE)
    sequence = np.random.SeedSequence(seed, spawn_key=(0, name_key(stream)))
    season = np.random.default_rng(sequence)
    core_width = min(width, CORE_WIDTH)
    feature_KF = season.standard_normal((layout.num_features, core_width))
    shared_CF = season.standard_normal((layout.kind_A.max() + 1, core_width))
    feature_KF[: len(ACTIONS)] += layout.shared_size * shared_CF[layout.kind_A]
    feature_KF *= EVIDENCE / np.linalg.norm(feature_KF, axis=1, keepdims=True)
    seen_TK = _mark_sizes(rng, marks, profile, layout, num_rows)
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
    rng: np.random.Generator, marks: Marks, profile: StreamProfile, layout: Layout, num_rows: int
) -> np.ndarray:
    """Size of every feature in every second, (T, K)."""
    num_marks = len(marks.time_s)
    size_M = marks.size * profile.strength * np.exp(0.25 * rng.standard_normal(num_marks))
    # A lookalike fools a stream or it does not; that is why several streams are better than one.
    overlooked_share_M = np.where(marks.false, layout.false_overlooked, MISS_RATE)
    overlooked_M = rng.random(num_marks) < overlooked_share_M
    size_M[overlooked_M] *= 0.1
    if profile.hears:
        size_M *= np.array([LOUDNESS.get(action, QUIET) for action in ACTIONS])[marks.action]
    delay_spread_s = layout.delay_spread * profile.delay_spread_s
    delay_M = profile.delay_s + delay_spread_s * rng.standard_normal(num_marks)
    seen_TK = np.zeros((num_rows, layout.num_features))
    for trace in layout.traces(profile):
        centre_M = marks.time_s + delay_M + trace.offset_s
        if trace.spread_s:
            centre_M += trace.spread_s * rng.standard_normal(num_marks)
        # A curve is nothing beyond four times its width: only the rows nearby are touched.
        reach = int(np.ceil(4 * trace.width_s))
        row_MR = np.rint(centre_M).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
        curve_MR = np.exp(-0.5 * ((row_MR - centre_M[:, None]) / trace.width_s) ** 2)
        curve_MR *= trace.size * size_M[:, None]
        inside_MR = (row_MR >= 0) & (row_MR < num_rows)
        if not trace.of_false_marks:
            inside_MR &= ~marks.false[:, None]
        feature_MR = np.broadcast_to(trace.feature_A[marks.action][:, None], row_MR.shape)
        np.add.at(seen_TK, (row_MR[inside_MR], feature_MR[inside_MR]), curve_MR[inside_MR])
    return seen_TK


def _noise(rng: np.random.Generator, num_rows: int, width: int) -> np.ndarray:
    """Noise of unit variance that remembers the second before, (T, F)."""
    noise_TF = rng.standard_normal((num_rows, width))
    noise_TF[1:] *= np.sqrt(1 - NOISE_MEMORY**2)
    for row in range(1, num_rows):
        noise_TF[row] += NOISE_MEMORY * noise_TF[row - 1]
    return noise_TF
