"""From the words of every second to embeddings: fitted once on train games, stored, applied.

Two kinds of evidence, both linear in the counts of words, so that any range of time around a
second is a difference of two running sums:

- `said_*`: counts times IDF, projected by a truncated SVD (unsupervised);
- `word_actions`: for each word, action and lag the logarithm of how much more often than expected
  the action occurs at that lag from the word, summed over the words around the second. It is
  counted on labels, so the rows of a train game come from tables that did not count that game
  (five folds of games); otherwise a model trained on these rows would trust them too much.

Shape letters beyond those of `hmtas.records`: V words kept, K folds, R lags, S documents.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy.sparse import csr_matrix, vstack
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from hmtas.embed.clock import over_range, running_sum
from hmtas.embed.transcripts import NUM_HASHED, SpokenWords
from hmtas.errors import InputError
from hmtas.files import atomic_path, sha256_json
from hmtas.records import Events, HalfId

VERSION = 1
SAID_S = {
    "said_before": (-30, -10),
    "said_just": (-10, 0),
    "said_now": (0, 10),
    "said_after": (10, 30),
}
"""Streams of `said_*`, each with the seconds it looks at, relative to the row, ends included."""
LAGS_S = ((-10, 0), (0, 10), (10, 30))
"""When a word is said relative to the action, for `word_actions`, ends included."""
NUM_FOLDS = 5
MAX_WORDS = 30_000  # words and pairs kept: the most frequent
MIN_DOCUMENTS = 10  # ... of those that stand in as many 10 s stretches of commentary
DOCUMENT_S = 10
MAX_SHARE = 0.2  # ... and in no more than this share of them: "the" tells nothing
PRIOR_NEAR = 4.0  # occurrences near an action that are added to the seen and to the expected ones
_KEY = "hmtas.commentary"


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """A fitted commentary encoder."""

    columns: np.ndarray  # (V,) int64, hashed columns of the words kept, ascending
    projection: np.ndarray  # (V, F) float32, IDF times SVD, unit variance over 10 s of commentary
    # (K + 1, V, R * A) float16 log-ratios; table k did not count fold k, the last counted all games
    tables: np.ndarray
    folds: dict[str, int]  # train game to its fold
    actions: tuple[str, ...]  # of the tables
    fitted_on: str  # digest of the games, transcripts, labels and settings

    @cached_property
    def checksum(self) -> str:
        """Digest of everything the embeddings depend on."""
        digest = hashlib.sha256(sha256_json(self._header()).encode())
        for array in (self.columns, self.projection, self.tables):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _header(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "said_s": {name: list(span) for name, span in SAID_S.items()},
            "lags_s": [list(span) for span in LAGS_S],
            "num_hashed": NUM_HASHED,
            "actions": list(self.actions),
            "folds": self.folds,
            "fitted_on": self.fitted_on,
        }

    def embed(self, game: str, words: csr_matrix) -> dict[str, np.ndarray]:
        """Embed one half.

        Args:
            game: Chooses the table: that of its fold for a train game, else the last.
            words: (T, `NUM_HASHED`) counts, see `transcripts.count_words`.

        Returns:
            Stream to (T, F) float16: those of `SAID_S`, and `word_actions`, action by action
            within lag by lag.
        """
        kept = words[:, self.columns]
        running = running_sum(kept @ self.projection)
        streams = {name: over_range(running, span) for name, span in SAID_S.items()}
        table = self.tables[self.folds.get(game, NUM_FOLDS)].astype(np.float32)
        running = running_sum(kept @ table)
        by_lag = np.split(running, len(LAGS_S), axis=1)
        evidence = [over_range(part, lag) for part, lag in zip(by_lag, LAGS_S, strict=True)]
        streams["word_actions"] = np.concatenate(evidence, axis=1)
        limit = float(np.finfo(np.float16).max)
        return {
            name: np.clip(rows, -limit, limit).astype(np.float16) for name, rows in streams.items()
        }


def fit_encoder(
    said: Mapping[HalfId, SpokenWords],
    events: Mapping[HalfId, Events],
    actions: Sequence[str],
    *,
    width: int = 64,
    fitted_on: str = "",
    seed: int = 0,
) -> Encoder:
    """Fit on train games, and on nothing else.

    Args:
        said: Words of every transcribed half of the train games.
        events: Their annotations.
        actions: Names of the actions.
        width: Dimensions of each `said_*` stream.
        fitted_on: Digest of the input, kept with the encoder.
        seed: Seed of the folds and of the randomised SVD.

    Raises:
        InputError: If there are fewer frequent words, or less commentary, than `width`.
    """
    games = sorted({half.game for half in said})
    shuffled = np.random.default_rng(seed).permutation(len(games))
    folds = {games[i]: place % NUM_FOLDS for place, i in enumerate(shuffled.tolist())}
    documents = vstack([_sum_rows(item.words, DOCUMENT_S) for item in said.values()], "csr")
    columns, idf = _vocabulary(documents)
    if min(len(columns), documents.shape[0]) < width:
        raise InputError(
            f"width {width} needs as many frequent words and 10 s stretches of commentary, but the "
            f"{len(games)} train games with transcripts have {len(columns)} and "
            f"{documents.shape[0]}; give more games or a smaller width"
        )
    weighted = documents[:, columns].multiply(idf).tocsr()
    # Length 1 each while fitting, or only the talkative stretches would choose the directions.
    svd = TruncatedSVD(width, n_iter=4, random_state=seed).fit(normalize(weighted))
    scale = np.maximum((weighted @ svd.components_.T).std(axis=0), 1e-6)
    projection = idf[:, None] * svd.components_.T / scale
    return Encoder(
        columns=columns,
        projection=projection.astype(np.float32),
        tables=_tables(said, events, columns, len(actions), folds),
        folds={game: folds[game] for game in games},
        actions=tuple(actions),
        fitted_on=fitted_on,
    )


def _sum_rows(words: csr_matrix, every: int) -> csr_matrix:
    """Add up `every` rows at a time: (T, V) to (ceil(T / every), V)."""
    num_rows = words.shape[0]
    group = np.arange(num_rows) // every
    one = np.ones(num_rows, np.float32)
    adder = csr_matrix((one, (group, np.arange(num_rows))), (group[-1] + 1, num_rows))
    summed: csr_matrix = adder @ words
    return summed


def _vocabulary(documents: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Columns worth keeping, and their inverse document frequency (float32)."""
    frequency = np.bincount(documents.indices, minlength=documents.shape[1])
    ranked = np.argsort(-frequency, kind="stable")[:MAX_WORDS]
    most = MAX_SHARE * documents.shape[0]
    columns = np.sort(ranked[(frequency[ranked] >= MIN_DOCUMENTS) & (frequency[ranked] <= most)])
    idf = 1 + np.log((1 + documents.shape[0]) / (1 + frequency[columns]))
    return columns, idf.astype(np.float32)


def _tables(
    said: Mapping[HalfId, SpokenWords],
    events: Mapping[HalfId, Events],
    columns: np.ndarray,
    num_actions: int,
    folds: Mapping[str, int],
) -> np.ndarray:
    """Count every word near every action, by fold; (K + 1, V, R * A) float16."""
    num_columns = len(LAGS_S) * num_actions
    near = np.zeros((NUM_FOLDS, len(columns), num_columns))
    count = np.zeros((NUM_FOLDS, len(columns)))
    for half, item in said.items():
        fold = folds[half.game]
        kept = item.words[:, columns]
        is_near = _near_actions(events[half], kept.shape[0], num_actions)
        near[fold] += kept.T @ is_near
        count[fold] += np.asarray(kept.sum(axis=0)).ravel()
    all_near, all_count = near.sum(axis=0), count.sum(axis=0)
    tables = [_log_ratio(all_near - near[k], all_count - count[k]) for k in range(NUM_FOLDS)]
    return np.stack([*tables, _log_ratio(all_near, all_count)])


def _near_actions(events: Events, num_rows: int, num_actions: int) -> np.ndarray:
    """(T, R * A) float32: 1 where a word of this second has the action at the lag."""
    near = np.zeros((num_rows, len(LAGS_S), num_actions), np.float32)
    for time_s, action in zip(events.time_s.astype(np.int64), events.action, strict=True):
        for lag, (first, last) in enumerate(LAGS_S):
            near[max(time_s + first, 0) : max(time_s + last + 1, 0), lag, action] = 1
    return near.reshape(num_rows, -1)


def _log_ratio(near: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Log of seen over expected occurrences of each word near each action; (V, R * A) float16.

    Words seen or expected near an action but rarely are pulled to 0 by `PRIOR_NEAR`, so a rare
    action gives weak evidence, not strong evidence against itself. An action that is never near
    anything gives 0.
    """
    expected = count[:, None] * (near.sum(axis=0) / max(count.sum(), 1.0))
    ratio: np.ndarray = np.log((near + PRIOR_NEAR) / (expected + PRIOR_NEAR))
    return ratio.astype(np.float16)


def save_encoder(path: Path, encoder: Encoder) -> None:
    """Write the encoder as safetensors: arrays and a JSON header, nothing that runs."""
    header = {**encoder._header(), "checksum": encoder.checksum}
    arrays = {name: getattr(encoder, name) for name in ("columns", "projection", "tables")}
    content = save(arrays, metadata={_KEY: json.dumps(header, ensure_ascii=False)})
    with atomic_path(path) as scratch:
        scratch.write_bytes(content)


def load_encoder(path: Path) -> Encoder:
    """Read a fitted encoder and check its checksum.

    Raises:
        InputError: If the file is missing, damaged, or of another kind or version.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file of a commentary encoder")
    try:
        with safe_open(str(path), framework="np") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: not a readable encoder ({error}); copied only in part?"
        ) from None
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise InputError(
            f"{path}: not a commentary encoder of version {VERSION}; fitted by another release?"
        )
    encoder = Encoder(
        **arrays,
        folds=header["folds"],
        actions=tuple(header["actions"]),
        fitted_on=header["fitted_on"],
    )
    if {**encoder._header(), "checksum": encoder.checksum} != header:
        raise InputError(
            f"{path}: the content does not match its checksum or this release's time ranges; "
            "damaged, or fitted by another release?"
        )
    return encoder
