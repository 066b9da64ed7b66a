"""Who speaks to the API: a person with a token, a run with its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runs.models import Run
from runs.services.run_tokens import run_token
from studio.accounts.models import User
from studio.accounts.services import make_token
from tests.api_kit import Api


@pytest.fixture
def api_of() -> Callable[[User | Run | None], Api]:
    """Gives the API as this person sees it, as this run does with its own token, or without a token."""

    def make(who: User | Run | None) -> Api:
        if isinstance(who, Run):
            return Api(run_token(who))
        return Api(make_token(who, "test")[1] if who else "")

    return make


@pytest.fixture
def api(api_of: Callable[[User], Api], ana: User) -> Api:
    """The API as ana sees it, a contributor."""
    return api_of(ana)
