"""A real Studio with a real worker for the tests of the SDK, and what it takes to speak with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.processes import REPOSITORY, StudioProcess

SUBSCRIPTION, GROUP, WORKSPACE = "11111111-2222-3333-4444-555555555555", "my-group", "default"


class Signed:
    """A Studio and the token of its owner."""

    def __init__(self, studio: StudioProcess) -> None:
        self.studio = studio
        self.token = studio_command(studio, "token", "--user", "admin").splitlines()[-1]

    @property
    def url(self) -> str:
        return self.studio.url


def studio_command(studio: StudioProcess, *words: str) -> str:
    """What a command of manage.py prints, on the data of this Studio."""
    command = [sys.executable, str(REPOSITORY / "manage.py"), *words]
    done = subprocess.run(command, env=studio.env, cwd=studio.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def new_token(server: Signed, name: str) -> str:
    """A token of the owner under this name."""
    return studio_command(server.studio, "token", "--user", "admin", "--name", name).splitlines()[-1]


def change_token(server: Signed, name: str, how: str) -> None:
    """Do this to the tokens of a name, such as `.delete()`."""
    code = f"from studio.accounts.models import ApiToken; ApiToken.objects.filter(name={name!r}){how}"
    studio_command(server.studio, "shell", "-c", code)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    """One Studio for all tests of this process, with the targets of the article."""
    studio = StudioProcess(
        tmp_path_factory.mktemp("studio"),
        STUDIO_TARGETS="local,gpu-compute",
        STUDIO_SLOTS="3",
        STUDIO_NOT_RESPONDING_AFTER="20",  # two signs of life may be late
    )
    try:
        studio.start()
        yield Signed(studio)
    finally:
        studio.end_everything()


@pytest.fixture
def signed_in(server: Signed, monkeypatch: pytest.MonkeyPatch) -> Signed:
    """Address and token are in the environment."""
    monkeypatch.setenv("STUDIO_URL", server.url)
    monkeypatch.setenv("STUDIO_TOKEN", server.token)
    return server


@pytest.fixture
def attached(signed_in: Signed, project: Path) -> Path:
    """A working folder that belongs to the workspace, as Azure's own file says it."""
    content = {"subscription_id": SUBSCRIPTION, "resource_group": GROUP, "workspace_name": WORKSPACE}
    (project / ".azureml").mkdir()
    (project / ".azureml" / "config.json").write_text(json.dumps(content))
    return project


def environment_of(server: Signed) -> dict[str, str]:
    """For a process of its own that uses the SDK."""
    from tests.sdk.conftest import SDK

    return {**os.environ, "PYTHONPATH": ":".join(SDK), "STUDIO_URL": server.url, "STUDIO_TOKEN": server.token}
