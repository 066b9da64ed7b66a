"""The one connection of this process to each server, as the login that is in force."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from azureml._translate import translated

if TYPE_CHECKING:
    from studio_client.api import Api

_known: dict[tuple[str, str, int], Api] = {}


def connect() -> Api:
    """The API of the server that one is signed in to; nothing is sent. Raises AuthenticationException."""
    from studio_client import api, config  # HTTP is loaded by the first who needs it
    from studio_client.transport import PATIENCE_IN_RUN_S, PATIENCE_S, Transport

    with translated:
        login = config.resolve()
    key = (login.url, login.token, os.getpid())
    if key not in _known:
        patience_s = PATIENCE_IN_RUN_S if config.in_run() else PATIENCE_S
        _known[key] = api.Api(Transport(login, patience_s=patience_s, client="studio-azureml"))
    return _known[key]
