"""One version of a promoted ensemble: its package logged as an MLflow model, and registered."""

import json
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ensemble.registry.package import Package
from ensemble.registry.scored import Scored
from hmtas import __version__
from hmtas.tracking.client import public_uri
from hmtas.tracking.note import tracked_at

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

CHECKSUM_TAG = "hmtas.package_sha256"
PACKAGE = "package"  # its folder among the artifacts of the model
STREAMS = "streams"  # of a half, in the model's metadata: name, width and rate of each
SCRIPT = Path(__file__).with_name("served.py")


def register_version(
    client: "MlflowClient",
    name: str,
    run_id: str,
    *,
    scored: Scored,
    package: Package,
    folder: Path,
) -> "ModelVersion":
    """Log the model beside the MLflow run of its ensemble and register it.

    It does not become one of the run's own files: those go with the run when its folder is filled
    anew.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    model = client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        name=re.sub(r"[^\w-]", "_", f"{name}-{scored.record.name}"),
        source_run_id=run_id,
    )
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "model"
        _save_model(
            str(target),
            python_model=str(SCRIPT),
            artifacts={PACKAGE: str(folder)},
            signature=_signature(),
            metadata={STREAMS: [item.model_dump(mode="json") for item in package.inputs]},
            # Said outright: MLflow would run the model to find out, or read the user's uv.lock.
            pip_requirements=[f"hmtas=={__version__}"],
            uv_project_path=str(folder),
            mlflow_model=Model(run_id=run_id, model_uuid=model.model_id, model_id=model.model_id),
        )
        client.log_model_artifacts(model.model_id, str(target))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        name,
        source=model.artifact_location,  # not models:/..., which MLflow looks up in another store
        run_id=run_id,
        model_id=model.model_id,
        tags=_lineage(client, scored, package, run_id),
    )


def _save_model(path: str, **options: Any) -> None:
    """MLflow's own, without its advice on type hints, its own among them, and on examples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        from mlflow.pyfunc import save_model

        save_model(path, **options)


def _signature() -> "ModelSignature":
    """A table of spots out.

    What goes in is checked by the ensemble: MLflow answers a wrong stream with all the arrays, and
    the reason after them.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns = {"time_s": "double", "action": "string", "confidence": "double"}
    return ModelSignature(outputs=Schema([ColSpec(kind, name) for name, kind in columns.items()]))


def _lineage(
    client: "MlflowClient", scored: Scored, package: Package, run_id: str
) -> dict[str, Any]:
    """Tags that lead from a version to all that it was made of."""
    members = [
        {
            "name": member.name,
            "weight": entry.weight,
            "weights_sha256": member.record.weights_sha256,
            "run_id": _run_id_of(member.run, client.tracking_uri),
        }
        for member, entry in zip(scored.members, scored.ensemble.members, strict=True)
        if entry.votes
    ]
    return {
        CHECKSUM_TAG: package.checksum,
        "hmtas.run_id": run_id,
        "hmtas.combiner": scored.ensemble.combiner,
        "hmtas.split": scored.split,
        "hmtas.store_checksum": scored.record.store_checksum,
        "hmtas.members": json.dumps(members, ensure_ascii=False),
    }


def _run_id_of(run: Path, uri: str) -> str | None:
    """The MLflow run of a run folder in this store, if it is known."""
    tracked = tracked_at(run)
    return tracked.run_id if tracked and public_uri(tracked.uri) == public_uri(uri) else None
