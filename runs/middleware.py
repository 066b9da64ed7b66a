"""From exceptions to answers, for every page: the one place that knows which error is which status."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.signals import got_request_exception
from django.db import DataError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import split_domain_port
from django.utils.log import log_response
from django.views import defaults

from runs import errors
from studio.accounts.refusals import is_api, is_htmx, refuse

#: The most special first: the first class that an error belongs to decides.
STATUS_OF: tuple[tuple[type[errors.StudioError], int], ...] = (
    (errors.NotFound, 404),
    (errors.PermissionDenied, 403),
    (errors.Conflict, 409),
    (errors.SnapshotTooBig, 413),
    (errors.TooBig, 413),
    (errors.OutputsTooBig, 413),
    (errors.SearchError, 400),
    (errors.InvalidInput, 422),
    (errors.StudioError, 400),
)

#: PostgreSQL cannot store this character, so nothing in Studio has it in its name.
NUL = "There is the character NUL in it, which nothing in Studio may contain."

#: Classes of PostgreSQL's errors that say something of the server, and nothing of the query.
SERVER_TROUBLE = ("08", "53", "57", "58")

DISK_IS_FULL = "The disk of the server is full, so nothing can be kept."
DATABASE_IS_AWAY = "The database of Studio does not answer."
RUNS_GO_ON = "Nothing was half-saved, and running scripts go on. Try again in a moment."
FREE_SPACE = "Nothing was half-saved, and running scripts go on. Whoever runs this server has to free space."

#: A name that DNS could hold, and a port.
LONGEST_HOST = 260

logger = logging.getLogger("studio.requests")


def status_of(error: errors.StudioError) -> int:
    """The HTTP status of a refusal."""
    return next(status for kind, status in STATUS_OF if isinstance(error, kind))


def outage_of(error: BaseException | None) -> tuple[int, str, str] | None:
    """Status, message and hint, if it is what Studio stands on that failed; None for any other error."""
    if errors.is_disk_full(error):
        return 507, DISK_IS_FULL, FREE_SPACE
    if not isinstance(error, OperationalError):
        return None
    cause = error.__cause__
    name = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
    if name == "SQLITE_ERROR" or (name[:2].isdigit() and not name.startswith(SERVER_TROUBLE)):
        return None
    return 503, DATABASE_IS_AWAY, RUNS_GO_ON


def server_error(request: HttpRequest) -> HttpResponse:
    """The answer to what was raised outside of any view: before it was known who asks, for example."""
    error = sys.exc_info()[1]
    if outage := _outage(request, error):
        return outage
    if is_api(request):
        hint = "Whoever runs this server finds more in its log."
        return refuse(request, 500, "Something broke in Studio.", code="server_error", hint=hint)
    return defaults.server_error(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The answer to what could not be read: a wrong name or too much at once is told apart from nonsense."""
    if isinstance(exception, DisallowedHost):
        return _wrong_host(request)
    limits: dict[type[Exception], str] = {
        RequestDataTooBig: f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes of text",
        TooManyFilesSent: f"{settings.DATA_UPLOAD_MAX_NUMBER_FILES:,} files",
        TooManyFieldsSent: f"{settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} fields",
    }
    most = limits.get(type(exception))
    if most is None:
        return defaults.bad_request(request, exception)
    message = f"More than {most} came at once, so nothing was taken."
    hint = "Take only the folder with your code, without environments and data."
    if isinstance(exception, RequestDataTooBig):
        hint = "Shorten it, or keep it in a file: files are not counted here."
    return refuse(request, 413, message, code=errors.TooBig.code, hint=hint)


def _wrong_host(request: HttpRequest) -> HttpResponse:
    """What to set so that Studio answers to this name; in the log too, as a line."""
    sent = request.META.get("HTTP_HOST", "")
    name = split_domain_port(sent)[0] if len(sent) <= LONGEST_HOST else ""
    logger.warning("STUDIO_ALLOWED_HOSTS does not name the host %.100r that a request asks for.", sent)
    message = f"{name or 'This'} is not among the names that Studio answers to."
    example = f"=127.0.0.1,localhost,{name}" if name else ""
    hint = f"Whoever runs this server sets them: start it with STUDIO_ALLOWED_HOSTS{example}"
    return refuse(request, 400, message, code=errors.InvalidInput.code, hint=hint)


def _outage(request: HttpRequest, error: BaseException | None) -> HttpResponse | None:
    outage = outage_of(error)
    if outage is None:
        return None
    status, message, hint = outage
    logger.warning("%s %s was answered %d: %s", request.method, request.path, status, error)
    response = refuse(request, status, message, code="outage", hint=hint)
    response["Retry-After"] = "5"
    response._has_been_logged = True  # type: ignore[attr-defined]  # a traceback says nothing more
    return response


class HeadMiddleware:
    """Answers HEAD with the headers that a GET would have, and no body.

    The web server would send the body after all, which the next answer of the connection is then taken for.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.method != "HEAD":
            return response
        if isinstance(response, StreamingHttpResponse):
            response.streaming_content = ()  # nothing is read or packed that nobody receives
        else:
            response.content = b""
        return response


class ErrorMiddleware:
    """Answers for views that raise: a refusal with its text, all else with a request id that the log has."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = secrets.token_hex(6)  # type: ignore[attr-defined]
        if request.encoding is not None:
            request.encoding = "utf-8"  # others that a sender may name can spell what UTF-8 cannot
        if "\x00" in request.path_info:
            return refuse(request, 404, NUL, code=errors.NotFound.code)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The answer, or None to leave it to Django."""
        if isinstance(error, errors.StudioError):
            return refuse(
                request,
                status_of(error),
                error.message,
                code=error.code,
                field=error.field,
                hint=error.hint,
            )
        if isinstance(error, Http404 | DjangoPermissionDenied):
            return self._short(request, error)
        if isinstance(error, BadRequest | SuspiciousOperation | MultiPartParserError):
            return None  # 400, with Django's own page, or ApiMiddleware's words
        if isinstance(error, DataError) and "NUL" in str(error):
            return refuse(request, 400, NUL, code=errors.InvalidInput.code)
        if outage := _outage(request, error):
            return outage
        if settings.DEBUG:
            return None
        return self._unknown(request, error)

    @staticmethod
    def _short(request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Parts and programs get a line; a page gets the page that Django renders."""
        if not (is_htmx(request) or is_api(request)):
            return None
        if isinstance(error, Http404):
            message = "This is no longer here, or it belongs to another workspace."
            return refuse(request, 404, message, code=errors.NotFound.code)
        message = "Your role in this workspace does not allow it."
        return refuse(request, 403, message, code=errors.PermissionDenied.code)

    @staticmethod
    def _unknown(request: HttpRequest, error: Exception) -> HttpResponse:
        got_request_exception.send(sender=ErrorMiddleware, request=request)
        message = "Your runs go on, and nothing was half-saved."
        hint = "If it happens again, tell whoever runs this server the number below."
        response = refuse(request, 500, message, code="server_error", hint=hint)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        log_response(
            "Request %s failed: %s %s",
            request.request_id,  # type: ignore[attr-defined]
            request.method,
            request.path,
            response=response,
            request=request,
            logger=logger,
            exception=error,
        )
        return response
