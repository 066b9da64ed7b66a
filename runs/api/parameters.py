"""Parameters in the address, of which one that is not known is refused, as a field of a body is, and one
that has a single value and comes twice.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.params import models

from runs.errors import InvalidInput


class _KnownOnly(models.QueryModel):
    @classmethod
    def get_request_data(
        cls, request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]
    ) -> dict[str, Any] | None:
        known: dict[str, Any] = getattr(cls, "__ninja_flatten_map__", {})
        lists = getattr(cls, "__ninja_collection_fields__", [])
        for name, values in request.GET.lists():
            if name not in known:
                hint = f"There is {', '.join(known)}."
                raise InvalidInput(f"There is no parameter {name[:40]!r} here.", field=name[:40], hint=hint)
            if len(values) > 1 and name not in lists:
                hint = "It has a single value."
                raise InvalidInput(f"{name} is there {len(values):,} times.", field=name, hint=hint)
        return super().get_request_data(request, api, path_params)


class Query(models.Query):  # type: ignore[misc]  # as the library's own do
    """For `Annotated[…, Query()]`. All parameters in the address of an operation are declared by it."""

    _model = _KnownOnly

    def __init__(self, **more: Any) -> None:
        super().__init__(..., **more)
