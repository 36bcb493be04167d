"""Promoted ensembles in MLflow's model registry: a version each, and the alias `champion`.

The model is logged and registered through a client of its own, as in `hmtas.tracking.run`: no
active run and no URI that MLflow keeps per process is ever set.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ensemble.registry.contest import COUNTS, Contender, Decision, decide
from ensemble.registry.loaded import Packaged
from ensemble.registry.model_version import CHECKSUM_TAG, PACKAGE, register_version
from ensemble.registry.package import MANIFEST, Package, read_package, write_package
from ensemble.registry.scored import score_ensemble
from hmtas.errors import InputError
from hmtas.tracking.client import connect, public_uri, reason_of
from hmtas.tracking.note import store_of
from hmtas.tracking.run import or_later, sync_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"


class Promotion(NamedTuple):
    """What became of an ensemble."""

    name: str  # of the registered model
    version: str  # of this ensemble
    is_new: bool  # False where it was registered before
    decision: Decision
    champion: str | None  # version that was the champion before; None if there was none
    package: Package  # what was registered
    notes: tuple[str, ...]  # what the score is to be read with
    registry: str  # its address


def promote(
    run: Path, name: str, *, store: str | Path | None = None, experiment: str | None = None
) -> Promotion:
    """Register an ensemble, and make it the champion if there is none or it beats the one there is.

    An ensemble that is registered under this name is not registered again, but compared again.

    Args:
        run: Run folder of an ensemble.
        name: Name of the registered model.
        store: Where the labels of its validation games are, if the store was moved.
        experiment: MLflow experiment of the ensemble; by default the one it is in.

    Raises:
        InputError: If its score is not honest (ensemble.registry.scored), a member cannot be
            packaged, the name is no good, or MLflow cannot be reached.
    """
    if not re.fullmatch(r"\w[\w .-]*", name):
        raise InputError(
            f"--name {name!r}: a registered model is named with letters, digits, blanks and _.- ; "
            "MLflow uses the other characters for itself"
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / PACKAGE
        scored = score_ensemble(run, store)
        package = write_package(scored, folder)
        Packaged.load(folder)  # what cannot be loaded is not registered
        words = ["--experiment", experiment] if experiment else []
        with or_later(run, ["hmtas", "ensemble", "promote", str(run), "--name", name, *words]):
            run_id = sync_run(run, experiment=experiment)
            client = connect(store_of(run))
            champion = _champion(client, name)
            found = _find(client, name, package.checksum)
            before = None if champion is None else str(champion.version)
            is_champion = found is not None and str(found.version) == before
            decision = (
                Decision(alias=CHAMPION, reason="it is the champion already")
                if is_champion
                else _decide(client, scored.contender, champion, Path(scratch) / "champion")
            )
            version = found or register_version(
                client, name, run_id, scored=scored, package=package, folder=folder
            )
            if not is_champion:
                _note(client, version, decision, champion)
    return Promotion(
        name=name,
        version=str(version.version),
        is_new=found is None,
        decision=decision,
        champion=before,
        package=package,
        notes=scored.notes,
        registry=public_uri(client.tracking_uri),
    )


def _champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None  # MLflow says the second where the model is there and the alias is not
        raise


def _find(client: "MlflowClient", name: str, checksum: str) -> "ModelVersion | None":
    """The version that is this very package, if there is one."""
    found = client.search_model_versions(
        f"name = '{name}' and tags.`{CHECKSUM_TAG}` = '{checksum}'"
    )
    if not found:
        return None
    return client.get_model_version(name, str(found[0].version))  # a search leaves aliases out


def _decide(
    client: "MlflowClient", new: Contender, champion: "ModelVersion | None", scratch: Path
) -> Decision:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if champion is None:
        return Decision(alias=CHAMPION, reason="there was no champion")
    place = client.get_model_version_download_uri(champion.name, str(champion.version))
    try:
        for file in (MANIFEST, COUNTS):
            download_artifacts(
                artifact_uri=f"{place.rstrip('/')}/artifacts/{PACKAGE}/{file}",
                dst_path=str(scratch),
                tracking_uri=client.tracking_uri,
            )
        read_package(scratch, only=(COUNTS,))
        theirs = Contender.load(scratch / COUNTS)
    except (MlflowException, OSError, InputError) as error:
        return Decision(
            alias=CHALLENGER,
            reason="it cannot be compared with the champion, whose counts cannot be read "
            f"({reason_of(error)}); was it registered by something else?",
        )
    return decide(new, theirs)


def _note(
    client: "MlflowClient",
    version: "ModelVersion",
    decision: Decision,
    champion: "ModelVersion | None",
) -> None:
    """Write down what was decided, then give the alias: a kill between leaves a plain version."""
    name, number = version.name, str(version.version)
    against = "" if champion is None else f" (version {champion.version})"
    client.update_model_version(name, number, f"{decision.alias}: {decision.reason}{against}")
    facts = {"difference": decision.difference, "interval": decision.interval,
             "num_games": decision.num_games}  # fmt: skip
    for key, value in facts.items():
        if value is not None:
            client.set_model_version_tag(name, number, f"hmtas.{key}", json.dumps(value))
    client.set_registered_model_alias(name, decision.alias, number)
    if decision.alias == CHAMPION and CHALLENGER in version.aliases:
        client.delete_registered_model_alias(name, CHALLENGER)
