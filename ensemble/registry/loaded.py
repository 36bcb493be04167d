"""A packaged ensemble at work: the streams of one half in, spots out.

The same steps as `hmtas predict`, `hmtas ensemble apply` and `hmtas spot`, so the same spots: rows
are rounded to float16 as a store keeps them, a stream that ends early repeats its last row, members
of different rates and lengths are aligned by `ensemble.stack.align`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.build.members import read_ensemble
from ensemble.combiner import Fitted
from ensemble.combiners.methods import fitted_of
from ensemble.registry.package import Package, PackagedInput, PackagedMember, read_package
from ensemble.stack.align import SLACK_S, ModelOutput, stack
from hmtas.config import SpottingConfig
from hmtas.errors import InputError
from hmtas.model.checkpoint import load_model
from hmtas.prediction.slide import Predictor, halves_at_once
from hmtas.records import HalfId, Probabilities, Spots
from hmtas.runs.record import WINDOWS, read_run
from hmtas.spotting.spots import read_windows, spot
from hmtas.store.halves import Half

GIVEN = HalfId("the half that was given", 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Packaged:
    """An ensemble that is ready to spot; for several halves, keep one."""

    package: Package  # what it takes and who votes
    actions: tuple[str, ...]  # A names
    spotting: SpottingConfig  # NMS windows and rules for games that nothing was fitted on
    fitted: Fitted
    # In the order of the members; None for one without weight
    predictors: tuple[Predictor | None, ...]

    @classmethod
    def load(cls, folder: Path) -> "Packaged":
        """Load everything, checksums verified.

        Raises:
            InputError: If a file is missing or changed, or of another version.
        """
        package = read_package(folder)
        home = folder / "ensemble"
        record, ensemble = read_ensemble(home)
        windows = home / WINDOWS
        return cls(
            package=package,
            actions=record.actions,
            spotting=read_windows(windows).spotting()
            if windows.is_file()
            else record.config.spotting,
            fitted=fitted_of(ensemble, home, record.actions),
            predictors=tuple(_predictor(folder, member) for member in package.members),
        )

    def spots(self, streams: Any) -> Spots:
        """Spots of one half, from what somebody gives; see `probabilities` for what it takes.

        Raises:
            InputError: If that is something else.
        """
        if not isinstance(streams, Mapping):
            names = ", ".join(repr(item.name) for item in self.package.inputs)
            raise InputError(
                f"the streams of a half must be a dictionary of arrays by name ({names}), got "
                f"{type(streams).__name__}"
            )
        return spot({GIVEN: self.probabilities(streams)}, self.actions, self.spotting)[GIVEN]

    def probabilities(self, streams: Mapping[str, np.ndarray]) -> Probabilities:
        """Combined probabilities of one half.

        Args:
            streams: (T, F) of every input of the package, by name. A stream that the half lacks
                comes with no rows, (0, F): the models mask it, as they do in a store.

        Raises:
            InputError: If an input is missing or of another shape, a value is not finite or
                beyond float16, or streams differ in length by more than `SLACK_S`.
        """
        rows = {item.name: _rounded(item.name, item.width, streams) for item in self.package.inputs}
        half_s = max(len(rows[item.name]) / item.rate_hz for item in self.package.inputs)
        if half_s == 0:
            raise InputError("a half without any row in any stream; at least one is needed")
        rows = {
            item.name: _to_length(item, rows[item.name], self._num_rows(item.rate_hz, rows))
            for item in self.package.inputs
        }

        def predict(asked: tuple[PackagedMember, Predictor | None]) -> ModelOutput:
            member, predictor = asked
            num_rows = self._num_rows(member.rate_hz, rows)
            if predictor is None:  # no weight: whatever it says, nobody hears it
                silence = np.zeros((num_rows, len(self.actions)), np.float32)
                said = Probabilities(half=GIVEN, values=silence, rate_hz=member.rate_hz)
            else:
                present = {
                    stream: rows[name] for stream, name in member.inputs.items() if len(rows[name])
                }
                if not present:
                    raise InputError(
                        f"the half has none of the streams of {member.name} "
                        f"({', '.join(member.inputs)}), which then knows nothing of it; "
                        "promote an ensemble whose members each find a stream there"
                    )
                half = Half(GIVEN, num_rows, present)
                said = predictor.predict(half)
            return ModelOutput(member.name, self.actions, {GIVEN: said})

        asked = zip(self.package.members, self.predictors, strict=True)
        with halves_at_once("cpu") as pool:
            stacked = stack(list(pool.map(predict, asked)))
        values = self.fitted.combine(stacked.halves[GIVEN])
        return Probabilities(half=GIVEN, values=values, rate_hz=stacked.rate_hz)

    def _num_rows(self, rate_hz: float, rows: Mapping[str, np.ndarray]) -> int:
        """Rows of the half at a rate: those of a stream of that rate if one is there."""
        counts = {item: len(rows[item.name]) for item in self.package.inputs}
        own = max((count for item, count in counts.items() if item.rate_hz == rate_hz), default=0)
        return own or round(max(n / item.rate_hz for item, n in counts.items()) * rate_hz)


def _predictor(folder: Path, member: PackagedMember) -> Predictor | None:
    if member.folder is None:
        return None
    run = folder / member.folder
    record = read_run(run)
    return Predictor(
        load_model(run),
        record.streams,
        record.config,
        rate_hz=record.rate_hz,
        precision=member.precision,
    )


def _rounded(name: str, width: int, streams: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows of one input as a store would hold them, float16."""
    if name not in streams:
        raise InputError(
            f"stream {name!r} is not among those that were given, "
            f"{', '.join(map(repr, streams)) or 'none'}; "
            f"where the half lacks it, give an array of shape (0, {width})"
        )
    rows = np.asarray(streams[name])
    if rows.dtype.kind not in "fiu":
        raise InputError(f"stream {name!r} must hold numbers, got values of type {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InputError(
            f"stream {name!r} has shape {rows.shape}, not (T, {width}); "
            "other embeddings than the models were trained on?"
        )
    with np.errstate(over="ignore", under="ignore"):
        rounded: np.ndarray = rows.astype(np.float16)
    finite = np.isfinite(rounded)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise InputError(
            f"stream {name!r}, row {row}, column {column} is {rows[row, column]:g}; embeddings "
            f"must be finite and within {np.finfo(np.float16).max:g}, as in a store"
        )
    return rounded


def _to_length(item: PackagedInput, rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Repeat the last row of a stream that ends a little before the others of its rate."""
    if len(rows) in (0, num_rows):
        return rows
    lacking = num_rows - len(rows)
    if lacking > SLACK_S * item.rate_hz:
        raise InputError(
            f"stream {item.name!r} has {len(rows)} rows and another of {item.rate_hz:g} Hz "
            f"{num_rows}, more than {SLACK_S:g} s apart; are they of the same half?"
        )
    return np.concatenate([rows, np.repeat(rows[-1:], lacking, axis=0)])
