"""What the server answers, in the shapes that `az ml` prints, and as rows of tables."""

from __future__ import annotations

import uuid
from typing import Any

from studio_client.attachment import scope_of
from studio_client.cli.tables import duration, local_time
from studio_client.records import ExperimentRecord, RunRecord, TargetRecord, WorkspaceRecord
from studio_client.run_errors import error_of

#: What stands for the compute target of a run that has none.
LOCAL = "local"
TYPES = {"script": "azureml.scriptrun", "pipeline": "azureml.PipelineRun", "step": "azureml.StepRun"}


def run_json(record: RunRecord) -> dict[str, Any]:
    """A run under the names of `az ml run show`; what is None is left out, `tags` and `properties` never."""
    run_type = TYPES.get(record["kind"])
    made: dict[str, Any] = {
        "_experiment_name": record["experiment"],
        "run_id": record["run_id"],
        "run_number": record["number"],
        "run_uuid": _uuid(record["run_id"]),
        "root_run_id": record["root_run_id"],
        "root_run_uuid": _uuid(record["root_run_id"]),
        "parent_run_id": record["parent_run_id"],
        "experiment_id": str(record["experiment_id"]),
        "name": record["name"] or None,
        "display_name": record["display_name"],
        "description": record["description"] or None,
        "status": record["status"],
        "status_reason": record["status_reason"] or None,
        "run_type": run_type,
        "run_type_v2": {"orchestrator": "Execution", "traits": []},
        "script_name": record["script"] or None,
        "target": record["target"] or LOCAL,
        "node": record["node"],
        "created_utc": record["created_at"],
        "start_time_utc": record["started_at"],
        "end_time_utc": record["ended_at"],
        "created_by": {"user_object_id": record["submitter"], "user_name": record["submitter"]},
        "user_id": record["submitter"],
        "tags": record["tags"],
        "properties": _properties(record),
        "data_container_id": f"dcid.{record['run_id']}",
        "heartbeat_enabled": record["kind"] == "interactive",
        "hidden": record["archived_at"] is not None,
        "exit_code": record["exit_code"],
        "error": error_of(record),
        "run_definition": record["run_configuration"],
        "url": record["url"],
    }
    return {name: value for name, value in made.items() if value is not None}


def minimal_json(record: RunRecord) -> dict[str, Any]:
    """What `run list --minimal` gives of a run."""
    return {
        "RunId": record["run_id"],
        "RunType": TYPES.get(record["kind"]),
        "Status": record["status"],
        "StartTime": record["started_at"],
        "EndTime": record["ended_at"],
        "Target": record["target"] or LOCAL,
        "Tags": record["tags"],
    }


def _properties(record: RunRecord) -> dict[str, str]:
    snapshot = {"ContentSnapshotId": record["snapshot"]} if record["snapshot"] else {}
    return {**snapshot, **record["properties"]}


def _uuid(run_id: str) -> str:
    """The id itself if it is one, else one that stays the same for the run."""
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, run_id))


def run_row(run: dict[str, Any], *, with_experiment: bool = False) -> dict[str, Any]:
    """A run as people look for it in a table, out of `run_json`."""
    return {
        **({"Experiment": run["_experiment_name"]} if with_experiment else {}),
        "Number": run["run_number"],
        "Name": run.get("display_name") or run.get("name"),
        "Status": run["status"],
        "Started": local_time(run.get("start_time_utc")),
        "Duration": duration(run.get("start_time_utc"), run.get("end_time_utc")),
        "Target": run["target"],
        "Submitter": run.get("user_id"),
        "Tags": _labels(run["tags"]),
        "Run id": run["run_id"],
    }


def _labels(tags: dict[str, str | None]) -> str:
    return ", ".join(key if value is None else f"{key}={value}" for key, value in sorted(tags.items()))


def run_rows(result: Any) -> list[dict[str, Any]]:
    """Rows for runs, or for one; those of `--minimal` as they are.

    Only runs of several experiments name theirs.
    """
    runs = result if isinstance(result, list) else [result]
    if runs and "run_id" not in runs[0]:
        return [{**run, "Tags": _labels(run["Tags"])} for run in runs]
    several = len({run["_experiment_name"] for run in runs}) > 1
    return [run_row(run, with_experiment=several) for run in runs]


def experiment_json(record: ExperimentRecord) -> dict[str, Any]:
    """An experiment under the names of `az ml experiment list`."""
    return {
        "archivedTime": record["archived_at"],
        "createdUtc": record["created_at"],
        "description": record["description"] or None,
        "experimentId": str(record["id"]),
        "name": record["name"],
        "tags": record["tags"],
    }


def experiment_rows(result: Any) -> list[dict[str, Any]]:
    """Rows for experiments."""
    return [
        {"Name": one["name"], "Created": local_time(one["createdUtc"]), "Description": one["description"]}
        for one in result
    ]


def target_json(record: TargetRecord, *, whole: bool) -> dict[str, Any]:
    """A compute target under the names of `az ml computetarget list`."""
    served = any(node["alive"] for node in record["nodes"])
    made: dict[str, Any] = {
        "name": record["name"],
        "provisioningState": "Succeeded",
        "computeType": "Studio",
        "isDefault": record["is_default"],
        "slots": record["slots"],
        "slotsInUse": record["used"],
        "queuedRuns": record["queued"],
        "state": "Running" if served else "Offline",
    }
    if whole:
        made.update(description=record["description"], createdUtc=record["created_at"], nodes=record["nodes"])
    return made


def target_rows(result: Any) -> list[dict[str, Any]]:
    """Rows for compute targets."""
    return [
        {
            "Name": one["name"],
            "State": one["state"],
            "Slots": one["slots"],
            "In use": one["slotsInUse"],
            "Queued": one["queuedRuns"],
            "Default": "yes" if one["isDefault"] else "",
        }
        for one in (result if isinstance(result, list) else [result])
    ]


def workspace_json(record: WorkspaceRecord, *, url: str, group: str, subscription: str) -> dict[str, Any]:
    """A workspace under the names of `Workspace.get_details()`."""
    scope = scope_of(subscription, group, record["name"])
    return {
        "id": scope,
        "name": record["name"],
        "location": record["location"],
        "type": "Microsoft.MachineLearningServices/workspaces",
        "tags": {},
        "sku": "Basic",
        "workspaceid": scope,
        "description": record["description"],
        "friendlyName": record["name"],
        "creationTime": record["created_at"],
        "discoveryUrl": f"{url}/api/v1",
        "resourceGroup": group,
        "subscriptionId": subscription,
        "url": record["url"],
    }
