"""What is common to the schemas of the API's resources.

Inputs are read strictly enough to say what is wrong; what a service checks is left to the service. In answers
every field is always there, null when it has no value, and moments are UTC with microseconds and a `Z`.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from django.conf import settings
from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer

_RUN_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}"


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds the character NUL, which nothing in Studio may contain")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("holds half of a surrogate pair, which UTF-8 cannot spell")
    return text


def _run_id(text: str) -> str:
    if not re.fullmatch(_RUN_ID, text):
        raise ValueError(
            "is 1 to 256 letters, digits, dots, hyphens and underscores, the first a letter or a digit"
        )
    return text


def moment(value: datetime) -> str:
    """A moment as the API writes it."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    _check_storable(value)
    if len(json.dumps(value)) > JSON_LENGTH:
        raise ValueError(f"has more than {JSON_LENGTH:,} characters")
    return value


def _check_storable(value: Any) -> None:
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that JSON does not have")
    elif isinstance(value, dict):
        for key, one in value.items():
            _check_storable(key)
            _check_storable(one)
    elif isinstance(value, list):
        for one in value:
            _check_storable(one)


#: Text that a database can keep. Use it for every text that comes in.
Text = Annotated[str, AfterValidator(_text)]
JSON_LENGTH = 1_000_000
#: Any JSON object that a database can keep.
Json = Annotated[dict[str, Any], AfterValidator(_storable)]
#: Tags that come in: key to value, or to null for a tag without one.
Labels = Annotated[dict[Text, Text | None], Field(max_length=1_000)]
#: Properties that come in.
Properties = Annotated[dict[Text, Text], Field(max_length=1_000)]
#: A run id as clients may choose it.
RunId = Annotated[str, AfterValidator(_run_id), Field(json_schema_extra={"pattern": f"^{_RUN_ID}$"})]
#: A moment in an answer.
Moment = Annotated[datetime, PlainSerializer(moment, return_type=str)]


class In(Schema):
    """A body that comes in: a field that is not known is refused, so that a slip of the pen is noticed."""

    model_config = ConfigDict(extra="forbid")


def page_url(path: str) -> str:
    """The whole address of a page."""
    return settings.STUDIO_URL.rstrip("/") + path
