"""Runs back from MLflow, as one table of models and ensembles."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hmtas.errors import InputError
from hmtas.tracking.client import (
    VARIABLE,
    connect,
    public_uri,
    reason_of,
    sqlite_path,
    tracking_uri,
)
from hmtas.tracking.moved import RUN_DIR

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

    from hmtas.scoring.score import ChosenScore, SpotsScore

SPLIT_TAG = "hmtas.cross_fitted."  # followed by a split that has a score; "true" or "false"
_KINDS = ("model", "ensemble")
PAGE = 1000  # runs that MLflow is asked for at once, at most


class SplitScore(NamedTuple):
    """Average-mAP of one run on one split, in [0, 1]."""

    tight: float
    loose: float | None
    interval: tuple[float, float] | None  # 95 %, of `tight`
    cross_fitted: bool  # something was fitted on these games, by cross-fitting over games
    per_action: dict[str, float]  # tight; actions without an event are absent


class ComparedRun(NamedTuple):
    """One row of the comparison."""

    run_id: str
    name: str
    kind: str  # "model" or "ensemble"
    status: str  # MLflow's: RUNNING, FINISHED, FAILED, ...
    run_dir: str
    seq_len: int | None  # L; None for an ensemble, or a model of contexts
    context_s: float | None  # of a model of contexts
    gamma: float | None
    best_epoch: int | None
    store_checksum: str | None  # of what it was trained on; None in runs of older versions
    scores: dict[str, SplitScore]

    @property
    def valid_tight(self) -> float:
        """What runs are ranked by; -inf without a validation score."""
        score = self.scores.get("valid")
        return score.tight if score else -math.inf


def metric_names(actions: Sequence[str]) -> dict[str, str]:
    """Action to its name inside MLflow, which allows letters, digits and `_-. :` only."""
    names: dict[str, str] = {}
    for action in actions:
        name = re.sub(r"[^\w\-. :]", "_", action.replace("->", " to "))
        while name in names.values():
            name += "_"
        names[action] = name
    return names


def score_metrics(split: str, score: "SpotsScore", actions: Sequence[str]) -> dict[str, float]:
    """The metrics of a score under the names they have in MLflow."""
    tight = score.tight
    metrics = {
        f"{split}_tight": tight.average_map,
        f"{split}_loose": score.loose.average_map,
    }
    if tight.interval:
        metrics[f"{split}_tight_low"], metrics[f"{split}_tight_high"] = tight.interval
    for action, name in metric_names(actions).items():
        precision = tight.per_action.get(action)
        if precision is not None:
            metrics[f"{split}_tight/{name}"] = precision
    if tight.team_map is not None:
        metrics[f"{split}_tight_team"] = tight.team_map
    if score.chosen is not None:
        metrics |= _chosen_metrics(f"{split}_{score.chosen.metric.key}", score.chosen)
    return metrics


def _chosen_metrics(name: str, chosen: "ChosenScore") -> dict[str, float]:
    metrics = {name: chosen.average_map}
    if chosen.interval:
        metrics[f"{name}_low"], metrics[f"{name}_high"] = chosen.interval
    if chosen.team_map is not None:
        metrics[f"{name}_team"] = chosen.team_map
    return metrics


def read_table(
    experiment: str, filter_string: str = "", *, limit: int | None = None
) -> list[ComparedRun]:
    """The models and ensembles of an experiment, best validation score first.

    Args:
        experiment: Its name.
        filter_string: In MLflow's language, such as `metrics.valid_tight > 0.05`; all unless given.
        limit: The best so many; those without a score, the latest first, come after all others.

    Raises:
        InputError: If there is no such experiment, or MLflow cannot read the filter.
    """
    client = reader()
    found = client.get_experiment_by_name(experiment)
    if found is None:
        known = ", ".join(repr(e.name) for e in experiments(client)) or "none"
        raise InputError(
            f"{public_uri(client.tracking_uri)}: no experiment {experiment!r}; there are: {known}"
        )
    runs = _search(client, found.experiment_id, filter_string, min(limit or PAGE, PAGE))
    rows = (_row(run) for run in runs if run.data.tags.get("hmtas.kind") in _KINDS)
    return sort_table(itertools.islice(rows, limit))


def reader() -> "MlflowClient":
    """A client for reading: it makes no database where there is none.

    Raises:
        InputError: If there is no database, or no server answers.
    """
    uri = tracking_uri()
    database = sqlite_path(uri)
    if database and not database.is_file():
        raise InputError(
            f"{database}: no MLflow database here; "
            f"run this where the runs were made, or set {VARIABLE}"
        )
    return connect(uri)


def read_runs(uri: str, run_ids: Iterable[str]) -> list[ComparedRun]:
    """Some runs by their ids, best validation score first."""
    client = connect(uri)
    return sort_table(_row(client.get_run(run_id)) for run_id in run_ids)


def sort_table(rows: Iterable[ComparedRun]) -> list[ComparedRun]:
    """Best validation score first, runs without any score last, equal ones by name."""
    return sorted(rows, key=lambda row: (-row.valid_tight, not row.scores, row.name))


def experiments(client: "MlflowClient") -> list["Experiment"]:
    """The experiments that hold runs of ours, the one with the latest run first."""
    latest = {}
    for experiment in client.search_experiments():
        runs = client.search_runs(
            [experiment.experiment_id],
            filter_string="tags.`hmtas.kind` != ''",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        if runs:
            latest[experiment] = runs[0].info.start_time
    return sorted(latest, key=lambda experiment: -latest[experiment])


def _search(
    client: "MlflowClient", experiment_id: str, filter_string: str, page_size: int
) -> Iterable["Run"]:
    from mlflow.exceptions import MlflowException

    token = None
    while True:
        try:
            page = client.search_runs(
                [experiment_id], filter_string, max_results=page_size, page_token=token,
                order_by=["metrics.valid_tight DESC"],
            )  # fmt: skip
        except MlflowException as error:
            if not filter_string:
                raise
            raise InputError(
                f"--filter {filter_string!r}: MLflow cannot read it: {reason_of(error)}"
            ) from None
        yield from page
        token = page.token
        if not token:
            return


def _row(run: "Run") -> ComparedRun:
    tags, metrics, params = run.data.tags, run.data.metrics, run.data.params
    splits = [tag.removeprefix(SPLIT_TAG) for tag in tags if tag.startswith(SPLIT_TAG)]
    actions = json.loads(tags.get("hmtas.actions", "[]"))
    return ComparedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        kind=tags["hmtas.kind"],
        status=run.info.status,
        run_dir=tags.get(RUN_DIR, ""),
        seq_len=int(params["train.seq_len"]) if "train.seq_len" in params else None,
        context_s=_number(params.get("train.context.context_s")),
        gamma=_number(params.get("train.gamma")),
        best_epoch=int(tags["hmtas.best_epoch"]) if "hmtas.best_epoch" in tags else None,
        store_checksum=tags.get("hmtas.store_checksum"),
        scores={
            split: _split_score(split, metrics, actions, tags[f"{SPLIT_TAG}{split}"] == "true")
            for split in sorted(splits, key=lambda split: (split != "valid", split))
        },
    )


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _split_score(
    split: str, metrics: Mapping[str, float], actions: Sequence[str], cross_fitted: bool
) -> SplitScore:
    low, high = metrics.get(f"{split}_tight_low"), metrics.get(f"{split}_tight_high")
    return SplitScore(
        tight=metrics[f"{split}_tight"],
        loose=metrics.get(f"{split}_loose"),
        interval=None if low is None or high is None else (low, high),
        cross_fitted=cross_fitted,
        per_action={
            action: metrics[f"{split}_tight/{name}"]
            for action, name in metric_names(actions).items()
            if f"{split}_tight/{name}" in metrics
        },
    )
