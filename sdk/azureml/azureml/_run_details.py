"""`get_details`: what is known of a run, as the plain dict that scripts read and print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio_client.run_configs import shell_text
from studio_client.run_errors import error_of

from azureml._run_list import SUBMITTED

if TYPE_CHECKING:
    from studio_client.records import RunRecord

LOCAL = "local"
#: The target of a child that a script makes of itself.
CHILD = "sdk"


def details_of(record: RunRecord, log_files: dict[str, str]) -> dict[str, Any]:
    """The dict of one run; what is None is left out."""
    details: dict[str, Any] = {
        "runId": record["run_id"],
        "target": record["target"] or (CHILD if record["parent_run_id"] else LOCAL),
        "status": record["status"],
        "startTimeUtc": record["started_at"],
        "endTimeUtc": record["ended_at"],
        "services": {},
        "error": error_of(record),
        "properties": properties_of(record),
        "inputDatasets": [],
        "outputDatasets": [],
        "runDefinition": _definition(record) if record["kind"] in SUBMITTED else None,
        "logFiles": log_files,
        "submittedBy": record["submitter"],
    }
    return {key: value for key, value in details.items() if value is not None}


def properties_of(record: RunRecord) -> dict[str, str]:
    """Its properties, with the one that names its snapshot."""
    snapshot = {"ContentSnapshotId": record["snapshot"]} if record["snapshot"] else {}
    return {**snapshot, **record["properties"]}


def _definition(record: RunRecord) -> dict[str, Any]:
    kept = dict(record.get("run_configuration") or {})
    kept.update(
        script=record["script"],
        command=shell_text(record["command"]),
        arguments=record["arguments"],
        target=record["target"] or LOCAL,
    )
    kept.setdefault("framework", "Python")
    kept.setdefault("communicator", "None")
    kept.setdefault("nodeCount", 1)
    kept.setdefault("maxRunDurationSeconds", record["time_limit_s"])
    return kept
