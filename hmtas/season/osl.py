"""A season as OpenSportsLib has it: OSL version 2, one JSON file for each split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmtas.files import write_json
from hmtas.formats.osl import HEAD
from hmtas.formats.times import game_time_at
from hmtas.season.forms import Form, Game, Parts

_DATE = "2026-01-01"  # a fixed one: a season depends on its options alone


@dataclass(frozen=True, kw_only=True)
class Osl(Form):
    """`annotations_SPLIT.json` for each split that has games, and a folder for each stream."""

    sport: str

    def name_of(self, number: int, parts: Parts) -> str:
        """The id of a recording."""
        del parts
        return f"{self.sport}_{number:05d}"

    def embedding_file(self, game: str, part: int, stream: str) -> str:
        """As `vtn/handball_00000.npy`; a recording has no parts."""
        del part
        return f"{stream}/{game}.npy"

    def write_lists(
        self,
        root: Path,
        splits: Mapping[str, Sequence[Game]],
        streams: Sequence[str],
        rate_hz: float,
    ) -> None:
        """Write a file for each split."""
        for split, games in splits.items():
            if games:
                data = [
                    self._sample(game, streams, rate_hz, labelled=split != "challenge")
                    for game in games
                ]
                document = {
                    "version": "2.0",
                    "date": _DATE,
                    "task": "action_spotting",
                    "dataset_name": f"hmtas-season-{self.sport}",
                    "modalities": ["features"],
                    "metadata": {"sport": self.sport, "split": split},
                    "labels": {HEAD: {"type": "single_label", "labels": list(self.actions)}},
                    "data": data,
                }
                write_json(root / f"annotations_{split}.json", document)

    def _sample(
        self, game: Game, streams: Sequence[str], rate_hz: float, *, labelled: bool
    ) -> dict[str, Any]:
        inputs = [
            {"type": "features", "path": self.embedding_file(game.name, 1, name), "fps": rate_hz}
            for name in streams
        ]
        sample: dict[str, Any] = {"id": game.name, "inputs": inputs}
        if labelled:
            sample["events"] = []
            for label in self.labels_of(game.parts):
                position_ms = round(1000 * label.time_s)
                sample["events"].append(
                    {
                        "head": HEAD,
                        "label": label.action,
                        "position_ms": str(position_ms),
                        "gameTime": game_time_at(label.part, position_ms),
                    }
                )
        return sample
