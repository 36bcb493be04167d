"""Timed transcripts of the commentary: `{1,2}_asr.json` to words with a second each.

The format is that of SoccerNet-Echoes, `{"segments": {"0": [start_s, end_s, text], ...},
"language": "en"}`, or Whisper's own, `{"segments": [{"start": s, "end": s, "text": ...}, ...]}`,
whose times of single words are not used. A segment lasts a few seconds, so its words are spread
evenly over it.
"""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer

from hmtas.errors import InputError, quoted
from hmtas.files import read_json

NUM_HASHED = 2**18  # columns that words are hashed to: few of the frequent words collide
FORMS = '[start_s, end_s, text] or {"start": s, "end": s, "text": ...}'
KEYS = ("start", "end", "text")  # of a segment that is an object
MALFORMED = "malformed"  # the reason that counts segments of neither form
MAX_END_S = 86400.0  # no recording is longer than a day
MAX_SEGMENT_S = 60.0  # a longer one says nothing about when its words were said


class Segment(NamedTuple):
    """What was said in one stretch of time."""

    start_s: float
    end_s: float  # >= start_s
    text: str


class Transcript(NamedTuple):
    """The commentary of one half."""

    segments: tuple[Segment, ...]  # by their start; they may overlap, both speakers count
    skipped: dict[str, int]  # how many segments were left out, by reason

    @property
    def end_s(self) -> float:
        """When the last segment ends; 0 without segments."""
        return max((segment.end_s for segment in self.segments), default=0.0)


def read_transcript(path: Path) -> Transcript:
    """Read one half's transcript; segments that cannot be used are skipped and counted.

    Raises:
        InputError: If the file is not JSON, holds no `segments`, or none of a known form.
    """
    document = read_json(path)
    found = document.get("segments") if isinstance(document, dict) else None
    if isinstance(found, dict):
        found = list(found.values())
    if not isinstance(found, list):
        raise InputError(
            f"{path}: no list or object named 'segments', of {FORMS}; "
            "is this a transcript of SoccerNet-Echoes, or of Whisper?"
        )
    segments = []
    skipped: Counter[str] = Counter()
    for entry in found:
        fields: Any = [entry.get(key) for key in KEYS] if isinstance(entry, dict) else entry
        reason = _problem(fields)
        if reason is None:
            segments.append(Segment(float(fields[0]), float(fields[1]), fields[2]))
        else:
            skipped[reason] += 1
    if found and skipped[MALFORMED] == len(found):
        raise InputError(
            f"{path}: segments are {FORMS}, but none of these {len(found)} is; the first is "
            f"{quoted(found[0])}. Was it made by another program?"
        )
    segments.sort(key=lambda segment: segment.start_s)
    return Transcript(tuple(segments), dict(skipped))


def _problem(entry: Any) -> str | None:
    """Why a segment cannot be used; None if it can."""
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[2], str):
        return MALFORMED
    times = entry[:2]
    if not all(isinstance(t, int | float) and not isinstance(t, bool) for t in times):
        return MALFORMED
    if not 0 <= times[0] <= times[1] <= MAX_END_S:
        return "impossible times"
    if times[1] - times[0] > MAX_SEGMENT_S:
        return "too long"
    return None if entry[2].strip() else "no text"


class SpokenWords(NamedTuple):
    """What was said in every second of a half."""

    # (T, NUM_HASHED) float32 counts of hashed words and pairs of neighbouring words
    words: csr_matrix
    num_words: np.ndarray  # (T,) float64, pairs not counted


def count_words(transcript: Transcript, num_rows: int) -> SpokenWords:
    """Count the words of every second.

    Word k of a segment's n words falls at start + (k + 1/2) / n of its duration; a pair at its
    second word. Words past the last row are left out.
    """
    tokenise, hasher = _text_tools()
    said: list[list[str]] = [[] for _ in range(num_rows)]
    num_words = np.zeros(num_rows)
    for start_s, end_s, text in transcript.segments:
        words = tokenise(text)
        previous = ""
        for k, word in enumerate(words):
            second = int(start_s + (end_s - start_s) * (k + 0.5) / len(words))
            if second >= num_rows:
                break
            num_words[second] += 1
            said[second].append(word)
            if previous:
                said[second].append(f"{previous} {word}")
            previous = word
    return SpokenWords(hasher.transform(said), num_words)


@cache
def _text_tools() -> tuple[Any, FeatureHasher]:
    """Scikit-learn's tokeniser (unicode, accents stripped, lower case) and its hashing."""
    tokenise = HashingVectorizer(strip_accents="unicode").build_analyzer()
    hasher = FeatureHasher(NUM_HASHED, input_type="string", dtype=np.float32, alternate_sign=False)
    return tokenise, hasher
