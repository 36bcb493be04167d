"""Whatever a label file or a file of predictions holds, it is read or refused in one line."""

import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hmtas.errors import InputError
from hmtas.formats.actions import Naming
from hmtas.formats.labels import to_events
from hmtas.formats.predictions import read_spots
from hmtas.formats.recognise import LabelOptions, open_labels
from hmtas.formats.times import LATEST_MS
from hmtas.packing.classes import choose_actions
from hmtas.packing.layout import Layout
from tests.support.label_files import ACTIONS, DOCUMENTS, FPS, GAMES, PREDICTIONS, file_of, text_of
from tests.support.mutated import deep, mutations

NUMBER = 500  # of each format
MOST_S = 5.0  # for one small file, on a busy machine
MOST_BYTES = 20e6
OPTIONS = LabelOptions(fps=FPS, spot_at="middle")


def read_labels(root: Path, kind: str, number: int) -> bool:
    """Everything that packing does with labels before it looks at embeddings."""
    options = OPTIONS._replace(format=kind if number % 2 else None, fps=FPS if number % 3 else None)
    naming = Naming(by_team=number % 5 == 0)
    try:
        source = open_labels(root, options)
        layout = Layout(root, source)
        labels = {game: source.read(game) for game in source.games if source.is_labelled(game)}
        for game in source.games:
            layout.files_of(game)
            "".join(layout.absent(game)).encode()
        names = choose_actions(None, source, labels, naming, fitted_on=labels).names
        for game, found in labels.items():
            for events in to_events(game, found.labels, names, naming).values():
                check_times(events.time_s)
    except InputError as error:
        check_line(error)
        return False
    return True


def read_predictions(path: Path, number: int) -> bool:
    options = OPTIONS._replace(fps=FPS if number % 3 else None)
    naming = Naming(by_team=number % 5 == 0)
    try:
        spots = read_spots(path, ACTIONS, games=GAMES, naming=naming, options=options)
    except InputError as error:
        check_line(error)
        return False
    for found in spots.values():
        check_times(found.time_s)
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    return True


def check_times(time_s: np.ndarray) -> None:
    assert ((time_s >= 0) & (time_s < LATEST_MS / 1000)).all()  # no infinity either


def check_line(error: InputError) -> None:
    line = str(error)
    assert line.isprintable(), line  # a line break is not
    assert len(line) < 2000


def check_share(num_read: int) -> None:
    """A fuzz that never or always reads tests one side alone."""
    assert NUMBER / 50 < num_read < NUMBER * 0.9


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_damaged_labels_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path = file_of(tmp_path, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    num_read = 0
    for number, content in enumerate(mutations(DOCUMENTS[kind], kind, NUMBER, seed=15)):
        path.write_bytes(content)
        before = time.monotonic()
        num_read += read_labels(tmp_path, kind, number)
        assert time.monotonic() - before < MOST_S, number
    check_share(num_read)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_damaged_predictions_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("spots.csv" if kind == "csv" else "spots.json")
    if kind == "results":
        path = tmp_path / "spots" / GAMES[0] / "results_spotting.json"
        path.parent.mkdir(parents=True)
    num_read = 0
    for number, content in enumerate(mutations(PREDICTIONS[kind], kind, NUMBER, seed=16)):
        path.write_bytes(content)
        before = time.monotonic()
        num_read += read_predictions(tmp_path / "spots" if kind == "results" else path, number)
        assert time.monotonic() - before < MOST_S, number
    check_share(num_read)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_labels_nested_as_deeply_as_can_just_be_read_are_one_line(
    kind: str, tmp_path: Path
) -> None:
    """What was parsed at one depth of calls may be too deep to be shown at another."""
    path = file_of(tmp_path, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = text_of(DOCUMENTS[kind], kind)
    for word in ('"Goal"', '"visibility": "not shown"', '"comment": "home; visible"', "12"):
        for depth in range(850, 1000, 5):
            key, colon, _ = word.rpartition(": ")
            path.write_text(text.replace(word, f"{key}{colon}{deep(depth)}"))
            read_labels(tmp_path, kind, 1)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_nested_as_deeply_as_can_just_be_read_are_one_line(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / ("spots.csv" if kind == "csv" else "spots.json")
    text = text_of(PREDICTIONS[kind], kind)
    for word in ('"Goal"', "0.91", '"left"', "12"):
        for depth in range(850, 1000, 5):
            path.write_text(text.replace(word, deep(depth)))
            read_predictions(path, 1)


def test_a_damaged_zip_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "spots.zip"
    num_read = 0
    for number in range(NUMBER):
        generator = np.random.default_rng([17, number])
        name = generator.choice([f"below/{GAMES[0]}/results_spotting.json", "é.json", "spots.csv"])
        kind = "csv" if name == "spots.csv" else "results"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(str(name), text_of(PREDICTIONS[kind], kind))
        content = bytearray(path.read_bytes())
        for at in generator.integers(len(content), size=generator.integers(1, 4)):
            content[at] = generator.integers(256)
        cut = int(generator.integers(len(content))) if number % 10 == 0 else len(content)
        path.write_bytes(content[:cut])
        num_read += read_predictions(path, 1)
    check_share(num_read)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_damaged_labels_take_little_memory(kind: str, tmp_path: Path) -> None:
    """A small file that names a huge frame, half or list makes no huge array."""
    path = file_of(tmp_path, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    tracemalloc.start()
    for number, content in enumerate(mutations(DOCUMENTS[kind], kind, 50, seed=18)):
        path.write_bytes(content)
        read_labels(tmp_path, kind, number)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_BYTES
