"""An ensemble as one folder that needs nothing else: what MLflow keeps of a promoted one.

PACKAGE/package.json      what it takes and who votes, with the SHA-256 of every file
PACKAGE/ensemble/         run.json, windows.json and fusion.safetensors, where there are such
PACKAGE/members/I/        run.json and model.safetensors of the I-th member
PACKAGE/counts.npz        its cross-fitted counts on validation games (ensemble.registry.contest)

A member without weight is no part of the folder: greedy selection leaves most of hundreds out.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ensemble.build.members import Member
from ensemble.learned.combiner import FUSION
from ensemble.registry.contest import COUNTS
from ensemble.registry.scored import Scored
from hmtas.config import Precision
from hmtas.errors import InputError
from hmtas.files import sha256_file, sha256_json, write_json
from hmtas.runs.record import RECORD, WEIGHTS, WINDOWS
from hmtas.validation import Frozen, read_record

MANIFEST = "package.json"
VERSION = 1


class PackagedInput(Frozen):
    """A stream of a half: float32 (T, `width`), `rate_hz` rows per second."""

    name: str
    width: int
    rate_hz: float


class PackagedMember(Frozen):
    """One model of the ensemble."""

    name: str  # of its run
    folder: str | None  # inside the package; None for a member without weight, which is not asked
    rate_hz: float  # of its probabilities
    precision: Precision  # that they were predicted in
    inputs: dict[str, str]  # each of its streams, and the input that it is taken from


class Package(Frozen):
    """PACKAGE/package.json."""

    version: int = VERSION
    inputs: tuple[PackagedInput, ...]
    members: tuple[PackagedMember, ...]
    files: dict[str, str]  # path inside the package to SHA-256

    @property
    def checksum(self) -> str:
        """SHA-256 of everything in the package."""
        return sha256_json(self.model_dump(mode="json"))


def write_package(scored: Scored, folder: Path) -> Package:
    """Copy what an ensemble needs into a new folder.

    Raises:
        InputError: If a member with a weight cannot be packaged.
    """
    entries = list(zip(scored.members, scored.ensemble.members, strict=True))
    voting = [member for member, entry in entries if entry.votes]
    for member in voting:
        _check_member(member)
    inputs, taken = _inputs(voting)
    members = []
    for i, (member, entry) in enumerate(entries):
        place = f"members/{i}" if entry.votes else None
        if place is not None:
            for name in (RECORD, WEIGHTS):
                _copy(member.run / name, folder / place / name)
        members.append(
            PackagedMember(
                name=member.name,
                folder=place,
                rate_hz=member.record.rate_hz,
                precision=member.stored.provenance.precision,
                inputs={name: taken[_key(member, name)] for name in member.record.streams}
                if entry.votes
                else {},
            )
        )
    for name in (RECORD, WINDOWS, FUSION):
        if (scored.run / name).is_file():
            _copy(scored.run / name, folder / "ensemble" / name)
    scored.contender.save(folder / COUNTS)
    files = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    package = Package(inputs=inputs, members=tuple(members), files=files)
    write_json(folder / MANIFEST, package.model_dump(mode="json"))
    return package


def read_package(folder: Path, *, only: Sequence[str] | None = None) -> Package:
    """Read package.json and check the files it names; `only` these, where the others are not there.

    Raises:
        InputError: If the folder is no package of this version, or a file is missing or changed.
    """
    path = folder / MANIFEST
    package = read_record(path, Package)
    if package.version != VERSION:
        raise InputError(
            f"{path}: a package of version {package.version}, this program reads {VERSION}; "
            "promote the ensemble again"
        )
    for name in package.files if only is None else only:
        file = folder / name
        if not file.is_file() or sha256_file(file) != package.files.get(name):
            raise InputError(
                f"{file}: missing, or its checksum is not the one in {path.name}; damaged?"
            )
    return package


def _check_member(member: Member) -> None:
    record = member.record
    if record.kind != "model":
        raise InputError(
            f"{member.run}: is an ensemble itself, and only models can be packaged; "
            "fit the ensemble on its members"
        )
    if not (member.run / WEIGHTS).is_file():
        why = "a linear baseline keeps no weights" if record.is_linear else "were they removed?"
        raise InputError(
            f"{member.run}: {WEIGHTS} is missing ({why}), so it cannot be packaged; "
            "fit the ensemble without it"
        )
    if record.weights_sha256 != sha256_file(member.run / WEIGHTS):
        raise InputError(
            f"{member.run / WEIGHTS}: its checksum is not the one in {RECORD}; "
            "damaged, or copied from another run?"
        )


def _key(member: Member, stream: str) -> PackagedInput:
    record = member.record
    return PackagedInput(name=stream, width=record.streams[stream], rate_hz=record.rate_hz)


def _inputs(
    members: Sequence[Member],
) -> tuple[tuple[PackagedInput, ...], dict[PackagedInput, str]]:
    """The streams that some members need, and the name of each.

    Streams of one name, width and rate are one stream, also where stores differ. Where a name
    stands for several, each says which one it is.
    """
    kinds = sorted(
        {_key(member, stream) for member in members for stream in member.record.streams},
        key=lambda kind: (kind.name, kind.width, kind.rate_hz),
    )
    names = [kind.name for kind in kinds]
    taken = {
        kind: kind.name
        if names.count(kind.name) == 1
        else f"{kind.name} ({kind.width} wide, {kind.rate_hz:g} Hz)"
        for kind in kinds
    }
    return tuple(kind.model_copy(update={"name": taken[kind]}) for kind in kinds), taken


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
