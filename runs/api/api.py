"""The API itself: its routers, one for each resource, and its description."""

from __future__ import annotations

from ninja import NinjaAPI

import studio
from runs.api import errors, me, runs, workspaces

api = NinjaAPI(
    title="Studio",
    version="1",
    description=f"The REST API of Studio {studio.VERSION}. `docs/api.md` is its guide.",
    docs_url=None,
    urls_namespace="api",
)
errors.install(api)
api.add_router("", me.router, tags=["me"])
api.add_router("", workspaces.router, tags=["workspaces"])
api.add_router("", runs.router, tags=["runs"])
