"""Tags, which change, and properties, which never do."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Body, Router
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, may_read_run, may_write_run
from runs.api.errors import REFUSALS
from runs.api.schemas import In, Labels, Properties, Text
from runs.models import Run
from runs.services.tags import add_properties, add_tags, remove_tags

router = Router()


class TagsOut(BaseModel):
    """All tags of a run: key to value, or to null for one without."""

    tags: dict[str, str | None] = Field(description="Key to value, or to null for a tag without one.")


class PropertiesOut(BaseModel):
    """All properties of a run."""

    properties: dict[str, str] = Field(description="Key to value.")


class KeysIn(In):
    """The keys of tags."""

    keys: list[Text] = Field(max_length=1_000, description="The keys of the tags that go.")


def _tags(run: Run) -> dict[str, Any]:
    return {"tags": dict(run.tags.order_by("pk").values_list("key", "value"))}


def _properties(run: Run) -> dict[str, Any]:
    return {"properties": dict(run.properties.values_list("key", "value"))}


@router.get("/runs/{run_id}/tags", auth=may_read_run(), response={200: TagsOut, **REFUSALS})
def tag_list(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """The tags of a run."""
    return _tags(request.run)


@router.put("/runs/{run_id}/tags", auth=may_write_run(), response={200: TagsOut, **REFUSALS})
def tag_set(request: ApiRequest, run_id: str, tags: Annotated[Labels, Body()]) -> dict[str, Any]:
    """Add these tags, or replace their values; others stay as they are.

    Line breaks and other white space in keys and values become plain blanks, and go at both ends.
    """
    add_tags([request.run], tags, by=request.auth.user)
    return _tags(request.run)


@router.post("/runs/{run_id}/tags/remove", auth=may_write_run(), response={200: TagsOut, **REFUSALS})
def tag_remove(request: ApiRequest, run_id: str, body: KeysIn) -> dict[str, Any]:
    """Take the tags of these keys away; keys that are not there do no harm."""
    remove_tags([request.run], body.keys, by=request.auth.user)
    return _tags(request.run)


@router.get("/runs/{run_id}/properties", auth=may_read_run(), response={200: PropertiesOut, **REFUSALS})
def property_list(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """The properties of a run."""
    return _properties(request.run)


@router.post("/runs/{run_id}/properties", auth=may_write_run(), response={200: PropertiesOut, **REFUSALS})
def property_add(
    request: ApiRequest, run_id: str, properties: Annotated[Properties, Body()]
) -> dict[str, Any]:
    """Add these properties, all or none. One that has another value already is refused: they never change.

    Line breaks and other white space in keys and values become plain blanks, and go at both ends.
    """
    add_properties(request.run, properties, by=request.auth.user)
    return _properties(request.run)
