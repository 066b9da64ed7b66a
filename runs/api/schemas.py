"""What is common to the schemas of the API's resources.

Inputs are read strictly enough to say what is wrong; what a service checks is left to the service. In answers
every field is always there, null when it has no value, and moments are UTC with microseconds and a `Z`.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from django.conf import settings
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from runs.folding import CONTROLS
from runs.models.compute import TARGET_NAME_PATTERN
from runs.models.experiment import EXPERIMENT_NAME_PATTERN
from runs.models.label import KEY_LENGTH, VALUE_LENGTH
from runs.services.descriptions import DESCRIPTION_LENGTH
from runs.services.runs import DISPLAY_NAME_LENGTH

_DIGESTS = uuid.UUID("6d5b1f0e-6a86-4a0b-9a55-0f4f3b7c2e19")
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


def _check_storable(value: Any, depth: int = 0) -> None:
    if depth > JSON_DEPTH:
        raise ValueError(f"is nested more than {JSON_DEPTH} levels deep")
    if isinstance(value, str):
        _text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that JSON does not have")
    elif isinstance(value, dict):
        for key, one in value.items():
            _check_storable(key)
            _check_storable(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _check_storable(one, depth + 1)


_LINE = f"^[^{CONTROLS}]*$"
_KEY = rf"^[^{CONTROLS}]*[^\s{CONTROLS}][^{CONTROLS}]*$"

#: Text that a database can keep. Use it for every text that comes in.
Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"pattern": r"^[^\x00]*$"})]
#: The same as a key of an object.
Key = Annotated[str, AfterValidator(_text)]
#: The names of what is to be made; blanks around them do no harm.
ExperimentName = Annotated[Text, Field(json_schema_extra={"pattern": rf"^\s*{EXPERIMENT_NAME_PATTERN}\s*$"})]
TargetName = Annotated[Text, Field(json_schema_extra={"pattern": rf"^\s*{TARGET_NAME_PATTERN}\s*$"})]
DisplayName = Annotated[Text, Field(json_schema_extra={"pattern": _LINE, "maxLength": DISPLAY_NAME_LENGTH})]
Description = Annotated[Text, Field(json_schema_extra={"maxLength": DESCRIPTION_LENGTH})]
_Value = Annotated[Text, Field(json_schema_extra={"pattern": _LINE, "maxLength": VALUE_LENGTH})]
_KEYS: dict[str, Any] = {"propertyNames": {"pattern": _KEY, "maxLength": KEY_LENGTH}}
JSON_LENGTH, JSON_DEPTH = 1_000_000, 100
#: Any JSON object that a database can keep.
Json = Annotated[dict[str, Any], AfterValidator(_storable)]
#: Tags that come in: key to value, or to null for a tag without one.
Labels = Annotated[dict[Key, _Value | None], Field(max_length=1_000, json_schema_extra=_KEYS)]
#: Properties that come in.
Properties = Annotated[dict[Key, _Value], Field(max_length=1_000, json_schema_extra=_KEYS)]
#: A run id as clients may choose it.
RunId = Annotated[str, AfterValidator(_run_id), Field(json_schema_extra={"pattern": f"^{_RUN_ID}$"})]
#: A moment in an answer.
Moment = Annotated[
    datetime,
    PlainSerializer(moment, return_type=str),
    Field(json_schema_extra={"format": "date-time"}),
]


class In(BaseModel):
    """A body that comes in: a field that is not known is refused, so that a slip of the pen is noticed."""

    model_config = ConfigDict(extra="forbid")

    def digest(self) -> uuid.UUID:
        """Stands for all that it says: the same for a body that is sent again, another for any other.

        What is left out counts as its default, also where a later version of Studio knows more fields.
        """
        content = self.model_dump(mode="json", exclude_defaults=True)
        return uuid.uuid5(_DIGESTS, json.dumps(content, sort_keys=True))


def page_url(path: str, workspace: str) -> str:
    """The whole address of a page, whichever workspace its reader looks at."""
    return f"{settings.STUDIO_URL.rstrip('/')}{path}?workspace={quote(workspace)}"
