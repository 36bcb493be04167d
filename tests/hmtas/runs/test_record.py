"""The record of a run says what kind of run it is, and what older versions wrote stays as it is."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from hmtas.errors import InputError
from hmtas.files import read_json, write_json
from hmtas.runs.record import RECORD, RunRecord, predict_line, read_run, write_run
from tests.support.tracked import make_run

MEMBERS = [
    {"name": "a", "run": "../a", "created": "2026-01-01T00:00:00+00:00", "weight": 1.0},
    {"name": "b", "run": "../b", "created": "2026-01-01T00:00:00+00:00", "weight": 0.0},
]
BASIC = {"combiner": "mean", "split": "valid", "seed": 0, "members": MEMBERS, "folds": []}
GREEDY = {
    **BASIC,
    "combiner": "greedy",
    "space": "probability",
    "greedy": {"picks": 50, "bags": 8},
    "windows_s": [9.0, 7.0],
    "bags": [{"picked": ["a", "a"], "tight": [0.25, 0.5]}],
    "copies": {"c": "a"},
    "folds": [{"games": ["1"], "weights": [0.5, 0.5], "windows_s": [9.0, 7.0], "bags": [],
               "copies": {}}],
}  # fmt: skip
NETWORK = {
    **BASIC,
    "combiner": "learned",
    "fusion": {"kind": "attention", "max_rows": None},
    "members": [{k: v for k, v in member.items() if k != "weight"} for member in MEMBERS],
    "best_epoch": 5,
    "held_out_games": [],
    "held_out_loss": None,
    "num_parameters": 900,
    "folds": [{"games": ["1"], "weights": None, "held_out_loss": 0.25}],
}
BY_ACTION = [{**m, "weight_by_action": [m["weight"], 0.0], "tight": 0.25} for m in MEMBERS]
SELECTED = {
    **BASIC,
    "combiner": "squared-per-action",
    "power": 2,
    "borrowed": 50.0,
    "floor": 0.5,
    "most": None,
    "members": BY_ACTION,
    "folds": [{"games": ["1"], "weights": {"a": 1.0}}, {"games": ["2"], "weights": [[1.0, 0.5]]}],
}
OLDEST = {name: value for name, value in BASIC.items() if name not in ("seed", "folds")}


def ensemble(run: Path, document: dict[str, Any]) -> RunRecord:
    return read_run(make_run(run, kind="ensemble", history=(), best_epoch=None, ensemble=document))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(BASIC, id="mean"),
        pytest.param(GREEDY, id="greedy"),
        pytest.param(NETWORK, id="learned"),
        pytest.param(SELECTED, id="selected"),
        pytest.param(OLDEST, id="of a version without seeds"),
        pytest.param({**BASIC, "of_tomorrow": {"x": [1, None]}}, id="of a version to come"),
    ],
)
def test_an_ensemble_is_written_as_it_was_read(document: dict[str, Any], tmp_path: Path) -> None:
    record = ensemble(tmp_path, document)
    write_run(tmp_path, record)
    assert read_json(tmp_path / RECORD)["ensemble"] == document
    assert read_run(tmp_path) == record


def test_a_record_says_what_kind_of_run_it_is(tmp_path: Path) -> None:
    trained = read_run(make_run(tmp_path / "trained"))
    begun = read_run(make_run(tmp_path / "begun", history=(), status="running"))
    linear = read_run(make_run(tmp_path / "linear", history=(), radius_s=3.0))
    mean = ensemble(tmp_path / "mean", BASIC)
    runs = (trained, begun, linear, mean)
    assert [run.in_epochs for run in runs] == [True, True, False, False]
    assert [run.is_linear for run in runs] == [False, False, True, False]


def test_a_record_says_who_votes_and_who_was_selected(tmp_path: Path) -> None:
    of_mean, of_network, of_selected = (
        ensemble(tmp_path / str(number), document).ensemble
        for number, document in enumerate((BASIC, NETWORK, SELECTED))
    )
    assert of_mean is not None
    assert of_network is not None
    assert of_selected is not None
    assert [member.votes for member in of_mean.members] == [True, False]
    assert [member.votes for member in of_network.members] == [True, True]
    assert [member.votes for member in of_selected.members] == [True, False]
    assert (of_mean.is_selected, of_selected.is_selected) == (False, True)
    assert of_mean.model_copy(update={"combiner": "single"}).is_selected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"ensemble": None}, "of kind 'ensemble' says otherwise", id="no ensemble"),
        pytest.param({"kind": "model"}, "of kind 'model' says otherwise", id="a model"),
        pytest.param({"ensemble": {}}, "ensemble.combiner: Field required", id="nothing in it"),
        pytest.param({"streams": 3}, "streams: .* written by another version", id="a bad value"),
    ],
)
def test_a_malformed_record_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    ensemble(tmp_path, BASIC)
    write_json(tmp_path / RECORD, {**read_json(tmp_path / RECORD), **change})
    with pytest.raises(InputError, match=message):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["predict", "RUN"]),
        ({"history": (), "best_epoch": None}, ["baseline", "STORE", "--out", "RUN"]),
        (
            {"kind": "ensemble", "history": (), "best_epoch": None, "ensemble": BASIC},
            ["ensemble", "apply", "RUN"],
        ),
    ],
)
def test_the_command_that_predicts_can_be_pasted_wherever_the_run_lies(
    changes: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    place = {"STORE": str(tmp_path / "a store"), "RUN": str(tmp_path / "a run")}
    run = make_run(Path(place["RUN"]), store=place["STORE"], **changes)
    command = predict_line(run, "my test").split("`")[1]
    wanted = ["hmtas", *(place.get(word, word) for word in words), "--split", "my test"]
    assert shlex.split(command) == wanted
