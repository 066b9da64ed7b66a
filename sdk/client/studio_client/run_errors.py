"""Why a run failed, in the shape that Azure ML gives it."""

from __future__ import annotations

from typing import Any

from studio_client.records import RunRecord


def error_of(record: RunRecord) -> dict[str, Any] | None:
    """The `error` of a run that failed, nested twice as it always was."""
    error = record["error"]
    if not error:
        return None
    body: dict[str, Any] = {
        "code": error["code"] or "UserError",
        "message": error["message"],
        "messageParameters": {},
        "details": [],
    }
    if error["traceback"]:
        body["innerError"] = {
            "code": error.get("class") or "UserError",
            "debugInfo": {"stackTrace": error["traceback"]},
        }
    return {
        "error": body,
        "correlation": {"operation": record["run_id"]},
        "environment": record["workspace"],
        "time": record["ended_at"],
    }
