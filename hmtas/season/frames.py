"""A season as lists of videos whose events are frames, as in the data of E2E-Spot.

Hong et al., "Spotting Temporally Precise, Fine-Grained Events in Video", ECCV 2022.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmtas.files import write_json, write_text
from hmtas.formats.recognise import CLASS_FILE
from hmtas.season.forms import FRAMES_PER_S, Form, Game, Parts

FRAME_LISTS = {"train": "train", "valid": "val", "test": "test", "challenge": "challenge"}
"""Split to the name of its list."""


@dataclass(frozen=True, kw_only=True)
class FrameLists(Form):
    """A list of videos for each split that has any, and a folder of embeddings for each stream."""

    def name_of(self, number: int, parts: Parts) -> str:
        """The name of a video."""
        del parts
        return f"clip_{number:05d}"

    def embedding_file(self, game: str, part: int, stream: str) -> str:
        """As `vtn/clip_00000.npy`; a clip has no parts."""
        del part
        return f"{stream}/{game}.npy"

    def write_lists(
        self,
        root: Path,
        splits: Mapping[str, Sequence[Game]],
        streams: Sequence[str],
        rate_hz: float,
    ) -> None:
        """Write the names of the actions, and the lists."""
        del streams, rate_hz  # the format knows neither
        write_text(root / CLASS_FILE, "".join(f"{action}\n" for action in self.actions))
        for split, games in splits.items():
            if games:
                videos = [self._video(game, split != "challenge") for game in games]
                write_json(root / f"{FRAME_LISTS[split]}.json", videos)

    def _video(self, game: Game, labelled: bool) -> dict[str, Any]:
        (clip,) = game.parts
        video: dict[str, Any] = {
            "video": game.name,
            "num_frames": FRAMES_PER_S * clip.duration_s,
            "fps": FRAMES_PER_S,
            "width": 1280,
            "height": 720,
        }
        if labelled:
            events = [
                {"frame": round(FRAMES_PER_S * label.time_s), "label": label.action, "comment": ""}
                for label in self.labels_of(game.parts)
            ]
            video |= {"num_events": len(events), "events": events}
        return video
