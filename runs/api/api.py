"""The API itself: its routers, one for each resource, and its description."""

from __future__ import annotations

from ninja import NinjaAPI

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

api = NinjaAPI(
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
