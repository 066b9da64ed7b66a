"""Which login is in force, and how it is kept."""

from __future__ import annotations

import json
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from traceback import TracebackException

import pytest
from studio_client import config
from studio_client.config import Login
from studio_client.errors import ConfigError

SECRET = "studio_secret_token"


def test_a_login_is_kept_for_its_owner_alone_and_found_again(home: Path) -> None:
    file = config.save(Login("http://one:8000/", SECRET, "a test", "ana"))
    assert file == home / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = config.resolve()
    assert (found.url, found.token, found.username) == ("http://one:8000", SECRET, "ana")


def test_the_last_login_is_current_and_others_are_kept(home: Path) -> None:
    config.save(Login("http://one:8000", "token-one", "a test"))
    config.save(Login("http://two:8000", "token-two", "a test"))
    assert config.resolve().url == "http://two:8000"
    assert config.resolve("one:8000").token == "token-one"
    assert config.forget() == "http://two:8000"
    assert config.resolve().url == "http://one:8000"
    assert config.forget("http://nowhere:1") == ""


def test_the_environment_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.save(Login("http://kept:8000", "kept", "a test"))
    monkeypatch.setenv("STUDIO_TOKEN", "from-environment")
    assert config.resolve().url == "http://kept:8000"
    monkeypatch.setenv("STUDIO_URL", "http://other:9000")
    found = config.resolve()
    assert (found.url, found.token) == ("http://other:9000", "from-environment")


def test_inside_a_run_its_own_token_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.save(Login("http://kept:8000", "kept", "a test"))
    monkeypatch.setenv("AZUREML_RUN_ID", "r1")
    monkeypatch.setenv("AZUREML_RUN_TOKEN", "of-the-run")
    monkeypatch.setenv("STUDIO_URL", "http://server:8000")
    found = config.resolve()
    assert (found.url, found.token) == ("http://server:8000", "of-the-run")
    monkeypatch.setenv("STUDIO_TOKEN", "chosen")
    assert config.resolve().token == "chosen"


def test_without_a_login_the_error_says_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match=r"not signed in.*studio login"):
        config.resolve()


def test_a_server_that_one_is_not_signed_in_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_URL", "http://new:8000")
    with pytest.raises(ConfigError, match=r"not signed in to http://new:8000.*--url http://new:8000"):
        config.resolve()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x",
        "http://",
        "http://a b",
        "http://user:pass@host",
        "http://127.0.0.1:99999",
        "http://host:port",
        "http://:8000",
        "http://[::1",
        "http://a..b",
        "http://" + "a" * 64,
        "http://host?x=1",
        "http://host#x",
        "http://host\\x",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        config.clean_url(url)


@pytest.mark.parametrize(
    "url", ["http://bob:pw123@host", "bob:pw123@host/x", "http://bob:pw@123@host", "pw123@"]
)
def test_a_password_in_an_address_is_never_shown(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.clean_url(url)
    for text in ("bob", "pw", "123"):
        assert text not in refused.value.message


def test_a_token_is_never_shown(home: Path) -> None:
    login = Login("http://one:8000", SECRET, "a test")
    assert SECRET not in repr(login)
    assert SECRET not in str(login)
    with pytest.raises(TypeError, match=r"by Run\(experiment, run_id\)"):
        pickle.dumps(login)
    with pytest.raises(ConfigError) as refused:
        config.clean_token(f"{SECRET}\nInjected: header")
    assert SECRET not in str(refused.value)


def test_a_token_is_in_no_local_variable_of_what_is_raised(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.save(Login("http://one:8000", SECRET, "a test"))
    failing: list[Callable[[], object]] = [
        lambda: config.resolve("http://two:8000"),
        lambda: Login("http://:1", SECRET, "a test"),
        lambda: Login("http://one:8000", f"{SECRET} {SECRET}", "a test"),
    ]
    assert SECRET not in _shown_of(failing)
    (home / "credentials.json").write_text(f'{{"servers": {{"http://one:8000": {{"token": "{SECRET}"')
    assert SECRET not in _shown_of([config.resolve])
    monkeypatch.setenv("STUDIO_TOKEN", SECRET)
    monkeypatch.setenv("STUDIO_URL", "http://127.0.0.1:99999")
    assert SECRET not in _shown_of([config.resolve])


def _shown_of(failing: list[Callable[[], object]]) -> str:
    """What a traceback shows that has all local variables."""
    shown = ""
    for act in failing:
        with pytest.raises(ConfigError) as refused:
            act()
        shown += "".join(TracebackException.from_exception(refused.value, capture_locals=True).format())
    return shown


def test_a_damaged_file_is_named(home: Path) -> None:
    home.mkdir()
    (home / "credentials.json").write_text("{")
    with pytest.raises(ConfigError, match=r"credentials\.json cannot be read: it is damaged"):
        config.resolve()


def test_a_file_that_others_can_read_is_closed_to_them(home: Path) -> None:
    file = config.save(Login("http://one:8000", "t", "a test"))
    file.chmod(0o644)
    assert config.resolve().token == "t"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_plain_json(home: Path) -> None:
    file = config.save(Login("http://one:8000", "t", "a test"))
    assert json.loads(file.read_text())["current"] == "http://one:8000"
