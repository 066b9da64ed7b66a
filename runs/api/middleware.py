"""What every answer under /api/ has, also those that no operation gave."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

import studio
from studio.accounts.refusals import is_api, refuse

_SAID = {
    400: ("invalid_input", "The request cannot be read."),
    404: ("unknown_address", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
}


class ApiMiddleware:
    """Adds the server's version, and says in JSON what Django would say with a page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not is_api(request):
            return response
        is_json = response.get("Content-Type", "").startswith("application/json")
        if response.status_code in _SAID and not is_json:
            code, message = _SAID[response.status_code]
            hint = "The API's description is at /api/docs."
            plain, response = response, refuse(request, response.status_code, message, code=code, hint=hint)
            if plain.has_header("Allow"):
                response["Allow"] = plain["Allow"]
        response["Studio-Version"] = studio.VERSION
        return response
