"""From exceptions to answers of the API, all of one shape: {"error": {code, message, field, hint, …}}."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic import BaseModel, Field

from runs.errors import InvalidInput, OffsetMismatch, OutOfOrder, SearchError, StudioError, TooBig
from runs.folding import spelled_out
from runs.middleware import status_of
from runs.services import run_tokens
from studio.accounts.middleware import to_sign_in
from studio.accounts.refusals import refuse


class ErrorDetail(BaseModel):
    """What was refused."""

    code: str = Field(description="For programs, such as `property_is_set`.")
    message: str = Field(description="For people, a sentence.")
    field: str = Field("", description='The input that is meant, such as `steps.1.after`; "" for none.')
    hint: str = Field("", description='What would be right; "" where nobody knows.')
    request_id: str = Field("", description="Names the request in the log of the server.")
    expected: int | None = Field(
        None, description="With `offset_mismatch` the right offset, with `out_of_order` the next batch."
    )


class ErrorOut(BaseModel):
    """Every refusal."""

    error: ErrorDetail = Field(description="What was refused, and why.")


#: For the `response` of every operation: `response={200: RunOut, **REFUSALS}`.
REFUSALS: dict[Any, Any] = {frozenset({400, 401, 403, 404, 405, 409, 413, 422}): ErrorOut}
#: The same for those that heed `Range`.
REFUSALS_OF_PARTS: dict[Any, Any] = {416: ErrorOut, **REFUSALS}


def install(api: NinjaAPI) -> None:
    """Make these the answers of an API; whatever is not named here is left to ErrorMiddleware."""
    api.add_exception_handler(AuthenticationError, _not_signed_in)
    api.add_exception_handler(ValidationError, _invalid)
    api.add_exception_handler(HttpError, _unreadable)
    api.add_exception_handler(StudioError, _refused)
    api.add_exception_handler(RequestDataTooBig, _too_big)


def _not_signed_in(request: HttpRequest, error: Any) -> HttpResponse:
    token = request.headers.get("Authorization", "").partition(" ")[2].strip()
    return to_sign_in(request, run_tokens.why_refused(token))


def _refused(request: HttpRequest, error: Any) -> HttpResponse:
    status = 422 if isinstance(error, SearchError) else status_of(error)
    more = {"expected": error.expected} if isinstance(error, OffsetMismatch | OutOfOrder) else {}
    return refuse(request, status, error.message, code=error.code, field=error.field, hint=error.hint, **more)


def _invalid(request: HttpRequest, error: Any) -> HttpResponse:
    """The first of the inputs that do not have the shape that the description asks for."""
    first = error.errors[0]
    where = [str(part) for part in first["loc"]]
    # Of ("body", "body", "tags", "k") the first says how it was sent and the second is our argument's name.
    field = spelled_out(".".join(where[2:] if where[0] == "body" else _query_field(where[1:])))
    return refuse(
        request,
        422,
        f"{field or 'The body'}{_fault(first)}.",
        code=InvalidInput.code,
        field=field,
        hint="The API's description at /api/docs says what is expected.",
    )


def _query_field(where: list[str]) -> list[str]:
    """The name in the address, without our argument that gathers several, and the place in a list."""
    names = [part for part in where if not part.isdigit()]
    return names[-1:]


def _fault(error: dict[str, Any]) -> str:
    """What follows the name of an input: our own words, or those of the library that reads it."""
    if error["type"] == "value_error":
        return " " + error["msg"].removeprefix("Value error, ")
    return f": {error['msg']}"


def _too_big(request: HttpRequest, error: Any) -> HttpResponse:
    most = f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes"
    return refuse(
        request, 413, f"The body has more than {most}.", code=TooBig.code, hint="Send less at once."
    )


def _unreadable(request: HttpRequest, error: Any) -> HttpResponse:
    if isinstance(error.__cause__, RequestDataTooBig):
        return _too_big(request, error)
    if isinstance(error.__cause__, StudioError):
        return _refused(request, error.__cause__)
    return refuse(
        request,
        error.status_code,
        "The body cannot be read.",
        code=InvalidInput.code,
        hint="Send JSON in UTF-8.",
    )
