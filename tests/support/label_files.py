"""A sound small label file of each format, and predictions of each: game `l/s/a` and more."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from hmtas.formats.recognise import FORMATS

ACTIONS = ("Card", "Goal", "PASS")  # "Card" and "Goal" are of SoccerNet-v1, "PASS" of the ball
FPS = 25.0
GAMES = ("l/s/a", "l/s/b")
_TREES = {
    "soccernet-v2": "Labels-v2.json",
    "soccernet-ball": "Labels-ball.json",
    "soccernet-v1": "Labels.json",
}

SOCCERNET = {
    "UrlLocal": "l/s/a",
    "annotations": [
        {"gameTime": "1 - 00:12", "label": "Goal", "position": "12500", "team": "left",
         "visibility": "visible"},
        {"gameTime": "2 - 00:07", "label": "Goal", "position": "7000", "team": "right",
         "visibility": "not shown"},
    ],
}  # fmt: skip
BALL = {
    "UrlLocal": "l/s/a",
    "annotations": [
        {"gameTime": "1 - 00:12", "label": "PASS", "position": "12500", "team": "left",
         "visibility": "visible"},
        {"gameTime": "1 - 00:20", "label": "HIGH PASS", "position": "20040", "team": "right"},
    ],
}  # fmt: skip
V1 = {
    "annotations": [
        {"gameTime": "1 - 00:12", "label": "soccer-ball"},
        {"gameTime": "2 - 00:07", "label": "y-card"},
    ]
}
OSL_V1 = {
    "version": 1,
    "labels": list(ACTIONS),
    "videos": [
        {
            "path_video": "l/s/a/1_224p.mkv",
            "path_features": "l/s/a/1_tpn.npy",
            "fps": 2.0833,
            "annotations": [
                {"gameTime": "1 - 00:12", "label": "Goal", "position": "12500",
                 "visibility": "not shown"},
                {"gameTime": "1 - 00:20", "label": "Card", "position": 20040, "comment": "home"},
            ],
        },
        {"path_video": "l/s/b/1_224p.mkv", "path_features": "l/s/b/1_tpn.npy", "annotations": []},
    ],
}  # fmt: skip
OSL_V2 = {
    "version": "2.0",
    "metadata": {"split": "train"},
    "labels": {"action": {"type": "single_label", "labels": list(ACTIONS)}},
    "data": [
        {
            "id": "l/s/a",
            "inputs": [
                {"type": "video", "path": "l/s/a/1_224p.mkv", "fps": 25.0},
                {"type": "features", "path": "l/s/a/1_tpn.npy", "fps": 1.0},
            ],
            "events": [
                {"head": "action", "label": "Goal", "position_ms": "12500", "team": "left"},
                {"head": "action", "label": "Card", "position_ms": 20040},
            ],
        },
        {"id": "l/s/b", "inputs": [], "events": []},
    ],
}
FRAMES = [
    {
        "video": "l/s/a",
        "num_frames": 750,
        "fps": 25,
        "events": [
            {"frame": 112, "label": "Goal", "comment": "home; visible"},
            {"frame": 300, "label": "Card", "comment": "away; not shown"},
        ],
    },
    {"video": "l/s/b", "num_frames": 750, "fps": -1, "events": []},
]
SEGMENTS = {
    "database": {
        "l/s/a": {
            "subset": "training",
            "duration": 30.0,
            "annotations": [
                {"segment": [12.0, 15.0], "label": "Goal"},
                {"segment": [20, 21.5], "label": "Card"},
            ],
        },
        "l/s/b": {"subset": "validation", "duration": 30.0, "annotations": []},
    }
}
TABLE = [
    ["game", "half", "time_s", "label", "team", "visibility", "split"],
    ["l/s/a", "1", "12.5", "Goal", "left", "visible", "train"],
    ["l/s/a", "2", "7.0", "Card", "right", "not shown", "train"],
    ["l/s/b", "1", "3", "Goal", "", "", "val"],
]
DOCUMENTS: dict[str, Any] = {
    "soccernet-v2": SOCCERNET,
    "soccernet-ball": BALL,
    "soccernet-v1": V1,
    "osl-v1": OSL_V1,
    "osl-v2": OSL_V2,
    "frames": FRAMES,
    "segments": SEGMENTS,
    "csv": TABLE,
}
assert set(DOCUMENTS) == set(FORMATS)

_SPOT = {"gameTime": "1 - 00:12", "label": "Goal", "position": "12500", "half": "1",
         "confidence": "0.91"}  # fmt: skip
PREDICTIONS: dict[str, Any] = {
    "results": {"UrlLocal": "l/s/a", "predictions": [
        _SPOT, {**_SPOT, "gameTime": "2 - 00:12", "half": "2", "confidence": 0.5},
    ]},
    "osl-v1": {"version": 1, "videos": [
        {"path_features": "l/s/a/1_tpn.npy", "predictions": [_SPOT, {**_SPOT, "label": "Card"}]},
    ]},
    "osl-v2": {"version": "2.0", "data": [{"id": "l/s/a", "events": [
        {"head": "action", "label": "Goal", "position_ms": 12500, "confidence": 0.91},
        {"label": "Card", "position_ms": "20040", "confidence": "0.5"},
    ]}]},
    "frames": [{"video": "l/s/a", "fps": 25, "events": [
        {"frame": 112, "label": "Goal", "score": 0.91}, {"frame": 9, "label": "Card", "score": 1},
    ]}],
    "segments": {"results": {"l/s/a": [
        {"segment": [12.5, 12.5], "label": "Goal", "score": 0.91},
        {"segment": [20, 20], "label": "Card", "score": 0.5},
    ]}},
    "csv": [
        ["game", "half", "time_s", "label", "confidence"],
        ["l/s/a", "1", "12.5", "Goal", "0.91"],
        ["l/s/a", "2", "7.0", "Card", "0.5"],
    ],
    "rows": {"l/s/a": [[112, "left", 7, "Goal", 0.91], [300, "right", None, "Card", 0.5]]},
}  # fmt: skip


def text_of(document: Any, kind: str) -> str:
    """A document as its file has it: CSV of a list of rows, JSON of anything else."""
    if kind != "csv":
        return json.dumps(document)
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows(document)
    return table.getvalue()


def file_of(root: Path, kind: str) -> Path:
    """Where the labels of a format lie below a folder: those of game `l/s/a`, or of all games."""
    if kind in _TREES:
        return root / GAMES[0] / _TREES[kind]
    return root / ("labels.csv" if kind == "csv" else "labels.json")


def put_labels(root: Path, kind: str, document: Any = None) -> Path:
    """Write labels, those above unless given, and give the file."""
    path = file_of(root, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(DOCUMENTS[kind] if document is None else document, kind))
    return path
