"""Commentary embeddings look where they say, are fitted on train games alone, and do not leak."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from hmtas.cli import build
from hmtas.embed.clock import clock_features
from hmtas.embed.commentary import ENCODER_FILE, WORD_STREAMS, embed_games
from hmtas.embed.encoder import NUM_FOLDS, Encoder, load_encoder, save_encoder
from hmtas.embed.transcripts import count_words, read_transcript
from hmtas.errors import InputError
from hmtas.formats.actions import ACTIONS
from tests.support.archives import extract

LENGTH_S = 600
TRAIN = [f"league/season/train {i}" for i in range(NUM_FOLDS)]
VALID = "league/season/valid"
WORDS = ["abel", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]


def write_transcript(path: Path, segments: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"segments": {str(i): s for i, s in enumerate(segments)}, "language": "en"}
    path.write_text(json.dumps(document), encoding="utf-8")


def write_game(root: Path, game: str, seed: int, extra: tuple[Any, ...] = ()) -> None:
    """Filler talk, a word "corner" at each of the game's corners, and what is asked for."""
    rng = np.random.default_rng(seed)
    corner_s = np.sort(rng.choice(np.arange(20, LENGTH_S - 20), 6, replace=False)).tolist()
    talk = [[t, t + 2, " ".join(rng.choice(WORDS, 2))] for t in range(0, LENGTH_S, 5)]
    for half in (1, 2):
        said = [[t + 2, t + 3, "corner"] for t in corner_s]
        write_transcript(root / game / f"{half}_asr.json", talk + said + list(extra))
    labels = [
        {"gameTime": f"{half} - {t // 60:02}:{t % 60:02}", "label": "Corner", "position": 1000 * t}
        for half in (1, 2)
        for t in corner_s
    ]
    (root / game / "Labels-v2.json").write_text(json.dumps({"annotations": labels}))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("hmtas.embed.encoder.MAX_SHARE", 1.0)  # eight words are all frequent
    root = tmp_path / "games"
    for seed, game in enumerate([*TRAIN, VALID]):
        write_game(root, game, seed)
    (root / "splits.json").write_text(json.dumps({"train": TRAIN, "valid": [VALID]}))
    lengths = {game: {"1": LENGTH_S, "2": LENGTH_S} for game in [*TRAIN, VALID]}
    (root / "half_seconds.json").write_text(json.dumps(lengths))
    return root


def rows(root: Path, game: str, stream: str, half: int = 1) -> np.ndarray:
    loaded: np.ndarray = np.load(root / game / f"{half}_{stream}.npy")
    return loaded


def one_word_encoder(tmp_path: Path, word: str) -> tuple[Encoder, Path]:
    """An encoder that knows one word, with projection 1 and a table of ones."""
    path = tmp_path / "1_asr.json"
    write_transcript(path, [[100, 101, word]])
    column = count_words(read_transcript(path), 200).words.indices.astype(np.int64)
    encoder = Encoder(
        columns=column,
        projection=np.ones((1, 1), np.float32),
        tables=np.ones((NUM_FOLDS + 1, 1, 3), np.float16),
        folds={},
        actions=("Corner",),
        fitted_on="",
    )
    return encoder, path


@pytest.mark.parametrize(
    ("stream", "first", "last"),
    [
        pytest.param("said_before", 110, 130, id="10 to 30 s ago"),
        pytest.param("said_just", 100, 110, id="at most 10 s ago"),
        pytest.param("said_now", 90, 100, id="within 10 s"),
        pytest.param("said_after", 70, 90, id="10 to 30 s later"),
    ],
)
def test_a_word_appears_in_its_range_of_seconds_and_nowhere_else(
    tmp_path: Path, stream: str, first: int, last: int
) -> None:
    encoder, path = one_word_encoder(tmp_path, "corner")
    words = count_words(read_transcript(path), 200).words
    found = np.flatnonzero(encoder.embed("new", words)[stream][:, 0])
    assert found.tolist() == list(range(first, last + 1))


def test_lags_of_the_word_action_table_by_hand(tmp_path: Path) -> None:
    encoder, path = one_word_encoder(tmp_path, "corner")
    evidence = encoder.embed("new", count_words(read_transcript(path), 200).words)["word_actions"]
    spans = [np.flatnonzero(evidence[:, lag])[[0, -1]].tolist() for lag in range(3)]
    assert spans == [[100, 110], [90, 100], [70, 90]]  # said -10..0, 0..10, 10..30 s from the row


def test_words_spread_over_their_segment_and_past_the_end_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "1_asr.json"
    write_transcript(path, [[10, 14, "one two three four"], [18, 22, "five six"]])
    said = count_words(read_transcript(path), 20)
    expected = np.zeros(20)
    expected[[10, 11, 12, 13, 19]] = 1  # "six" would be at 21 s
    assert said.num_words.tolist() == expected.tolist()


def test_accents_and_alphabets_are_one_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "1_asr.json"
    write_transcript(path, [[0, 1, "Córner"], [1, 2, "corner"], [2, 3, "удар"]])
    words = count_words(read_transcript(path), 3).words
    assert words[0].indices.tolist() == words[1].indices.tolist()
    assert words[2].nnz == 1


def test_useless_segments_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "1_asr.json"
    segments = [
        [5, 4, "backwards"], [-1, 2, "early"], [float("nan"), 2, "when"], [1, 2, "  "], [1, 2],
        ["1", 2, "text"], [0, 500, "slow"], [10**400, 10**400, "never"],
        [3, 6, "kept"], [2, 5, "overlaps, kept"],
    ]  # fmt: skip
    write_transcript(path, segments)
    transcript = read_transcript(path)
    assert [segment.text for segment in transcript.segments] == ["overlaps, kept", "kept"]
    assert transcript.skipped == {
        "impossible times": 4, "no text": 1, "malformed": 2, "too long": 1
    }  # fmt: skip


def test_whispers_own_output_is_read_like_echoes(tmp_path: Path) -> None:
    said = [[0.0, 4.5, "corner for the visitors"], [4.5, 6.0, "and a shot"]]
    write_transcript(tmp_path / "echoes.json", said)
    word = {"word": " corner", "start": 2.0, "end": 2.4, "probability": 0.9}
    whisper = [
        {"id": n, "seek": 0, "start": start, "end": end, "text": text, "tokens": [50364],
         "avg_logprob": -0.2, "no_speech_prob": 0.01, "words": [word]}
        for n, (start, end, text) in enumerate(said)
    ]  # fmt: skip
    document = {"text": "corner for ...", "segments": whisper, "language": "en"}
    (tmp_path / "whisper.json").write_text(json.dumps(document))
    read = [read_transcript(tmp_path / f"{name}.json") for name in ("echoes", "whisper")]
    assert read[0] == read[1]
    assert [segment.text for segment in read[1].segments] == [text for *_, text in said]


def test_json_names_the_reasons_of_skipped_segments(tree: Path) -> None:
    write_game(tree, VALID, 7, ([1, 2, ""], [5, 4, "backwards"]))
    asked = ["embed", "commentary", str(tree), "--width", "4", "--json"]
    result = CliRunner().invoke(build(), asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    skipped = json.loads(result.stdout.splitlines()[-1])["skipped_segments"]
    assert skipped == {"no text": 2, "impossible times": 2}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param('{"segments": [{"from": 0, "to": 4, "text": "hello"}]}',
                     r"\[start_s, end_s, text\] or .*none of these 1 is.*'from'", id="other keys"),
        pytest.param('{"segments": {"0": [1, 2]}}', "the first is .1, 2.", id="pairs"),
        pytest.param('{"segments": {', "not JSON .*cut short", id="cut short"),
        pytest.param('{"text": "hello"}', "no list or object named 'segments'",
                     id="another format"),
    ],
)  # fmt: skip
def test_bad_transcripts_are_named(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "1_asr.json").write_text(text)
    with pytest.raises(InputError, match=error):
        read_transcript(tmp_path / "1_asr.json")


def test_clock_leaves_an_unknown_end_and_a_missing_transcript_empty() -> None:
    known = clock_features(2, 100, np.ones(100), end_known=True)
    guessed = clock_features(2, 100, None, end_known=False)
    assert known.shape == guessed.shape == (100, 15)
    assert (known[:, 3] > 0).all()
    assert (guessed[:, [3, 4]] == 0).all()
    assert (guessed[:, 7:] == 0).all()
    assert known[50, 8] == pytest.approx(1.0)  # one word a second in [-10, 0]


def test_streams_of_a_half_have_a_row_for_every_second(tree: Path) -> None:
    report = embed_games(tree, width=4)
    assert (report.num_games, report.fitted_games) == (6, 5)
    for stream, width in [*((name, 4) for name in WORD_STREAMS[:4]), ("word_actions", 51)]:
        values = rows(tree, VALID, stream)
        assert values.shape == (LENGTH_S + 1, width)
        assert values.dtype == np.float16
        assert np.isfinite(values).all()


def test_the_table_learns_that_corner_follows_a_corner(tree: Path) -> None:
    embed_games(tree, width=4)
    events = json.loads((tree / VALID / "Labels-v2.json").read_text())["annotations"]
    corner_s = [e["position"] // 1000 for e in events if e["gameTime"].startswith("1")]
    evidence = rows(tree, VALID, "word_actions")[:, 17 + ACTIONS.index("Corner")]  # lag [0, 10]
    assert evidence[corner_s].min() > np.median(evidence) + 0.5


def test_valid_games_do_not_shape_the_encoder(tree: Path, tmp_path: Path) -> None:
    embed_games(tree, width=4, out=tmp_path / "one")
    write_game(tree, VALID, seed=99, extra=([300, 310, "only here " * 20],))
    embed_games(tree, width=4, out=tmp_path / "two")
    one, two = (load_encoder(tmp_path / name / ENCODER_FILE) for name in ("one", "two"))
    assert one.checksum == two.checksum


def test_a_train_game_gives_itself_no_evidence(tree: Path) -> None:
    # "zulu" is said at every corner of one train game and in no other game.
    labels = json.loads((tree / TRAIN[0] / "Labels-v2.json").read_text())["annotations"]
    corner_s = [e["position"] // 1000 for e in labels if e["gameTime"].startswith("1")]
    write_game(tree, TRAIN[0], seed=0, extra=tuple([t + 1, t + 2, "zulu"] for t in corner_s))
    embed_games(tree, width=4)
    encoder = load_encoder(tree / ENCODER_FILE)
    path = tree / "zulu" / "1_asr.json"
    write_transcript(path, [[100, 101, "zulu"]])
    words = count_words(read_transcript(path), 200).words
    corner = 17 + ACTIONS.index("Corner")
    assert encoder.embed("new match", words)["word_actions"][95, corner] > 0.3
    assert (encoder.embed(TRAIN[0], words)["word_actions"] == 0).all()


def test_encoder_file_round_trips_to_the_same_rows_without_pickle(
    tree: Path, tmp_path: Path
) -> None:
    embed_games(tree, width=4, out=tmp_path / "fitted")
    encoder_file = tmp_path / "fitted" / ENCODER_FILE
    assert set(load_file(encoder_file)) == {"columns", "projection", "tables"}
    report = embed_games(tree, encoder=encoder_file, out=tmp_path / "applied")
    assert not report.refitted
    for game in (TRAIN[0], VALID):
        for stream in (*WORD_STREAMS, "clock"):
            np.testing.assert_array_equal(
                rows(tmp_path / "fitted", game, stream), rows(tmp_path / "applied", game, stream)
            )


def test_a_new_match_needs_the_encoder_alone(tree: Path, tmp_path: Path) -> None:
    embed_games(tree, width=4)
    new = tmp_path / "new"
    write_transcript(new / "match" / "1_asr.json", [[3, 5, "corner"]])
    report = embed_games(new, encoder=tree / ENCODER_FILE)
    # Without a known length the half ends with the last word; half 2 is of unknown length.
    assert rows(new, "match", "said_now").shape == (6, 4)
    assert report.no_length == ["match, half 2"]


def test_a_missing_transcript_leaves_the_clock(tree: Path) -> None:
    (tree / VALID / "2_asr.json").unlink()
    report = embed_games(tree, width=4)
    assert report.no_transcript == [f"{VALID}, half 2"]
    assert not (tree / VALID / "2_said_now.npy").exists()
    assert rows(tree, VALID, "clock", half=2).shape == (LENGTH_S + 1, 15)


def test_a_second_run_embeds_only_what_changed(tree: Path) -> None:
    embed_games(tree, width=4)
    again = embed_games(tree, width=4)
    assert (again.refitted, again.num_games, again.num_kept) == (False, 0, 6)
    write_game(tree, VALID, seed=50)
    (tree / TRAIN[0] / "1_said_now.npy").unlink()
    third = embed_games(tree, width=4)
    assert (third.refitted, third.num_games, third.num_kept) == (False, 2, 4)
    assert embed_games(tree, width=3).num_games == 6  # another encoder


def test_a_flipped_byte_in_the_encoder_is_refused(tree: Path) -> None:
    embed_games(tree, width=4)
    path = tree / ENCODER_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="does not match its checksum"):
        load_encoder(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a readable encoder"):
        load_encoder(path)


def test_too_little_talk_for_the_width_is_refused(tree: Path) -> None:
    with pytest.raises(InputError, match="width 500 needs as many frequent words"):
        embed_games(tree, width=500)
    assert not (tree / ENCODER_FILE).exists()


def test_no_train_game_in_the_tree_is_refused(tree: Path) -> None:
    (tree / "splits.json").write_text(json.dumps({"train": ["elsewhere"], "valid": [VALID]}))
    with pytest.raises(InputError, match="none of its 1 games of split 'train' is in the tree"):
        embed_games(tree)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({VALID: {"1": -3}}, "1: Input should be greater than 0, got -3"),
        ({VALID: {"2": 7201}}, "2: Input should be less than or equal to 7200, got 7201"),
        ({VALID: {"1": math.nan}}, "1: Input should be less than or equal to 7200, got nan"),
        ({VALID: {"1": True}}, "1: Input should be a valid number, got True"),
        ({VALID: {"3": 2700}}, "3.*should be '1' or '2', got '3'"),
        ({VALID: 2700}, "should be a valid dictionary, got 2700; lengths read {game: "),
        ([2700], "should be a valid dictionary"),
    ],
)
def test_half_lengths_must_be_possible(tree: Path, lengths: object, message: str) -> None:
    (tree / "half_seconds.json").write_text(json.dumps(lengths))
    with pytest.raises(InputError, match=message):
        embed_games(tree)


def test_the_verb_reports_as_json(tree: Path) -> None:
    result = CliRunner().invoke(
        build(), ["embed", "commentary", str(tree), "--width", "4", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["num_games"] == 6


@pytest.mark.real
@pytest.mark.skipif("HMTAS_REAL" not in os.environ, reason="HMTAS_REAL is unset")
def test_real_commentary_speaks_of_goals(tmp_path: Path) -> None:
    import tarfile

    real = Path(os.environ["HMTAS_REAL"])
    splits = json.loads((real / "splits.json").read_text())
    chosen = {"train": splits["train"][:5], "valid": splits["valid"][:1]}
    (tmp_path / "splits.json").write_text(json.dumps(chosen))
    with tarfile.open(real / "games.tar.xz") as archive:
        wanted = [
            member
            for member in archive
            if any(f"{game}/" in member.name for games in chosen.values() for game in games)
        ]
        extract(archive, tmp_path, wanted)
    report = embed_games(
        tmp_path, half_seconds=real / "half_seconds.json", width=16, out=tmp_path / "out"
    )
    assert report.num_games == 6
    lengths = json.loads((real / "half_seconds.json").read_text())
    for game in (*chosen["train"], *chosen["valid"]):
        clock = rows(tmp_path / "out", game, "clock")
        assert len(clock) == int(lengths[game]["1"]) + 1
    said = rows(tmp_path / "out", chosen["train"][0], "said_now")
    assert said.astype(np.float64).std(axis=0).min() > 0


def test_saving_leaves_no_scratch_file(tmp_path: Path) -> None:
    encoder, _ = one_word_encoder(tmp_path, "corner")
    save_encoder(tmp_path / "folder" / "e.safetensors", encoder)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["e.safetensors"]
