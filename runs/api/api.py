"""The API itself: its routers, one for each resource, and its description."""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

import studio
from runs.api import (
    artifacts,
    children,
    compute_targets,
    errors,
    events,
    experiments,
    labels,
    logs,
    me,
    metrics,
    parser,
    run_ends,
    runs,
    snapshots,
    submissions,
    workspaces,
)

#: What the arguments in an address are.
_NAMED = {
    "workspace": "The name of a workspace.",
    "experiment": "The name of an experiment of the workspace.",
    "target": "The name of a compute target of the workspace.",
    "node": "The name of a node of the compute target.",
    "run_id": "The id of a run.",
    "digest": "The digest of a snapshot.",
    "path": "The path of a file, with its slashes.",
}


class _DescribedAPI(NinjaAPI):
    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """The description; what is in an address is described here, for all operations."""
        described = super().get_openapi_schema(**options)
        for methods in described["paths"].values():
            for operation in methods.values():
                for one in operation.get("parameters", []):
                    if one["in"] == "path":
                        one["description"] = _NAMED[one["name"]]
        return described


api = _DescribedAPI(
    title="Studio",
    version="1",
    description=f"The REST API of Studio {studio.VERSION}. `docs/api.md` is its guide.",
    docs_url=None,
    parser=parser.BoundedParser(),
    urls_namespace="api",
)
errors.install(api)
api.add_router("", me.router, tags=["me"])
api.add_router("", workspaces.router, tags=["workspaces"])
api.add_router("", experiments.router, tags=["experiments"])
api.add_router("", runs.router, tags=["runs"])
api.add_router("", metrics.router, tags=["metrics"])
api.add_router("", logs.router, tags=["logs"])
api.add_router("", artifacts.router, tags=["artifacts"])
api.add_router("", snapshots.router, tags=["snapshots"])
api.add_router("", compute_targets.router, tags=["compute targets"])
api.add_router("", submissions.router, tags=["runs"])
api.add_router("", run_ends.router, tags=["runs"])
api.add_router("", events.router, tags=["runs"])
api.add_router("", children.router, tags=["children"])
api.add_router("", labels.router, tags=["tags and properties"])
