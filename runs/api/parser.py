"""How the API reads the JSON of all operations but that which takes metrics, whose bodies may be gzip."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from runs.api.schemas import JSON_LENGTH
from runs.json_size import check_json


class BoundedParser(Parser):
    """Refuses what would take long to read before it is read."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """The body as JSON. Raises TooBig, and ValueError for what is no JSON."""
        check_json(request.body, JSON_LENGTH)
        return super().parse_body(request)
