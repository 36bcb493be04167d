"""The format is told by what the files hold; where they do not tell, an error says what was
looked for."""

import json
from pathlib import Path

import pytest

from hmtas.errors import InputError
from hmtas.formats.recognise import FORMATS, LabelOptions, open_labels
from tests.support.label_files import put_labels

LISTS = [kind for kind in FORMATS if not kind.startswith("soccernet")]
START = LabelOptions(spot_at="start")


def refused(place: Path, message: str, options: LabelOptions = START) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_labels(place, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sound_file_of_each_format_is_recognised(tmp_path: Path, kind: str) -> None:
    put_labels(tmp_path, kind)
    source = open_labels(tmp_path, START)
    assert source.format == kind
    assert "l/s/a" in source.games
    assert source.read("l/s/a").labels
    assert source.read("l/s/a") == open_labels(tmp_path, START._replace(format=kind)).read("l/s/a")


@pytest.mark.parametrize("kind", LISTS)
def test_a_file_may_be_named_itself_or_lie_in_a_folder_of_the_folder(
    tmp_path: Path, kind: str
) -> None:
    path = put_labels(tmp_path / "annotations", kind)
    assert open_labels(path, START).format == kind
    assert open_labels(tmp_path, START).format == kind
    (tmp_path / "deep" / "er").mkdir(parents=True)
    path.rename(tmp_path / "deep" / "er" / path.name)
    refused(tmp_path, "no labels and no embeddings of games found; looked for Labels-v2.json, ")


@pytest.mark.parametrize("kind", ["osl-v1", "osl-v2", "frames", "segments"])
def test_a_named_file_that_is_no_such_format_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(5))
    refused(path, "labels.json: ", START._replace(format=kind))
    path.write_text(json.dumps({} if kind == "frames" else []))
    refused(path, "labels.json: ", START._replace(format=kind))


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in LISTS])
def test_a_file_is_no_tree(tmp_path: Path, kind: str) -> None:
    path = put_labels(tmp_path, kind)
    refused(path, "is a file, and --format", START._replace(format=kind))
    refused(path, "its format is not known, an object of ")


def test_an_empty_folder_and_one_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path, r"looked for .*Labels-ball.json, Labels.json or .*OSL.*frames.*segments.*csv")
    refused(tmp_path / "nowhere", "no such folder of games, and no file that lists them")
    refused(tmp_path, "no file of format frames in it; looked for", START._replace(format="frames"))
    refused(tmp_path, "--format must be one of soccernet-v2, ", START._replace(format="voc"))
    refused(tmp_path, "--fps must be a positive number", START._replace(fps=-1.0))


def test_files_of_two_formats_are_a_question(tmp_path: Path) -> None:
    put_labels(tmp_path, "csv")
    path = put_labels(tmp_path, "frames")
    refused(tmp_path, r"files of several formats, labels.csv \(csv\), labels.json \(frames\)")
    options = START._replace(format="csv")
    assert open_labels(tmp_path, options).games == ["l/s/a", "l/s/b"]
    path.unlink()
    put_labels(tmp_path, "soccernet-ball")
    refused(tmp_path, "--format soccernet-ball or --format csv")
    assert open_labels(tmp_path, options).format == "csv"
    chosen = open_labels(tmp_path, START._replace(format="soccernet-ball"))
    assert chosen.format == "soccernet-ball"


def test_other_json_and_tables_are_not_taken_for_labels(tmp_path: Path) -> None:
    put_labels(tmp_path, "osl-v2")
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["l/s/a"]}))
    (tmp_path / "teams.csv").write_text("team,city\na,b\n")
    assert open_labels(tmp_path).format == "osl-v2"


@pytest.mark.parametrize("kind", ["osl-v2", "frames"])
@pytest.mark.parametrize("options", [START, START._replace(format="osl-v2")])
def test_a_damaged_file_beside_others_is_not_left_out_in_silence(
    tmp_path: Path, kind: str, options: LabelOptions
) -> None:
    """Half of a data set would be packed, and nobody would know."""
    path = put_labels(tmp_path, kind)
    path.rename(tmp_path / "train.json")
    (tmp_path / "valid.json").write_bytes((tmp_path / "train.json").read_bytes()[:-9])
    refused(tmp_path, "valid.json: not JSON", options)
    (tmp_path / "train.json").unlink()
    refused(tmp_path, "valid.json: not JSON", options)


def test_a_damaged_file_does_not_disturb_a_tree_of_soccernet(tmp_path: Path) -> None:
    put_labels(tmp_path, "soccernet-v2")
    (tmp_path / "notes.json").write_text("not JSON")
    assert open_labels(tmp_path).format == "soccernet-v2"
