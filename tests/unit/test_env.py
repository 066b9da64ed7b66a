"""Reads of the environment are typed, and nonsense is refused with the variable's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from studio.database import misplaced_database, parse_database_url
from studio.env import env_address, env_bool, env_broker, env_int, env_list, env_path, env_str, env_url

NAME = "STUDIO_UNDER_TEST"


@pytest.mark.parametrize("text", ["", "   "])
def test_unset_and_empty_give_the_default(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)
    assert env_str(NAME, "a") == "a"
    assert env_int(NAME, 3) == 3
    assert env_bool(NAME, True) is True
    assert env_list(NAME, "a,b") == ["a", "b"]
    monkeypatch.delenv(NAME)
    assert env_path(NAME, "/x") == Path("/x")


@pytest.mark.parametrize(
    ("text", "meant"),
    [("1", True), ("YES", True), ("on", True), ("0", False), ("False", False), ("off", False)],
)
def test_a_yes_or_no_may_be_written_in_several_ways(
    monkeypatch: pytest.MonkeyPatch, text: str, meant: bool
) -> None:
    monkeypatch.setenv(NAME, text)
    assert env_bool(NAME, not meant) is meant


def test_what_is_neither_yes_nor_no_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "maybe")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME}='maybe' is neither yes nor no"):
        env_bool(NAME, True)


@pytest.mark.parametrize("text", ["many", "1.5", "0x10"])
def test_what_is_not_a_whole_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ImproperlyConfigured, match="not a whole number"):
        env_int(NAME, 1)


@pytest.mark.parametrize("text", ["0", "65536", "-1"])
def test_numbers_out_of_bounds_are_refused_with_the_bounds(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ImproperlyConfigured, match="between 1 and 65535"):
        env_int(NAME, 8000, least=1, most=65535)


def test_lists_forgive_blanks_and_paths_become_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(NAME, " gpu , local,,")
    assert env_list(NAME) == ["gpu", "local"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(NAME, "data")
    assert env_path(NAME, "/x") == tmp_path / "data"
    monkeypatch.setenv(NAME, "~/data")
    assert env_path(NAME, "/x") == Path.home() / "data"


def test_a_sqlite_address_names_a_file() -> None:
    assert parse_database_url("sqlite:////srv/a%20b.sqlite3")["NAME"] == "/srv/a b.sqlite3"


@pytest.mark.parametrize("url", ["sqlite:////srv/a#b/db.sqlite3", "sqlite:////srv/a?b/db.sqlite3"])
def test_a_sqlite_address_that_would_name_another_file_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="write \\? as %3F and # as %23"):
        parse_database_url(url)


def test_a_postgresql_address_may_hold_escaped_letters_and_options() -> None:
    database = parse_database_url("postgresql://ana:p%40ss@db.lab:5433/studio?sslmode=require")
    assert (database["USER"], database["PASSWORD"]) == ("ana", "p@ss")
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db.lab", "5433", "studio")
    assert database["OPTIONS"] == {"connect_timeout": 10, "sslmode": "require"}


@pytest.mark.parametrize("url", ["mysql://x/y", "just-a-word"])
def test_other_databases_are_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="Use sqlite:"):
        parse_database_url(url)


@pytest.mark.parametrize(
    ("text", "meant"), [("", ""), ("127.0.0.1", "127.0.0.1"), (" ::1 ", "::1"), ("FE80:0::1", "fe80::1")]
)
def test_an_address_is_as_a_connection_names_it(
    monkeypatch: pytest.MonkeyPatch, text: str, meant: str
) -> None:
    monkeypatch.setenv(NAME, text)
    assert env_address(NAME) == meant


@pytest.mark.parametrize("text", ["*", "proxy.lab", "10.0.0.0/8", "127.0.0.1,10.0.0.1", "127.0.0.1:80"])
def test_what_is_no_single_address_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ImproperlyConfigured, match="is not an IP address"):
        env_address(NAME)


def test_a_list_that_has_to_name_something_is_refused_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(NAME, ", ,")
    assert env_list(NAME, "local") == []
    with pytest.raises(ImproperlyConfigured, match=f"{NAME}=', ,' names nothing"):
        env_list(NAME, "local", least=1)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "amqp://a:b@host//", "filesystem://"])
def test_brokers_of_known_kinds(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(NAME, url)
    assert env_broker(NAME) == url


def test_a_broker_whose_database_has_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "redis://127.0.0.1/0/x")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} ends in the number of a database"):
        env_broker(NAME)


@pytest.mark.parametrize("url", ["foo", "redis", "http://127.0.0.1", "rediss:/host"])
def test_a_broker_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(NAME, url)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} names an unknown kind of broker"):
        env_broker(NAME)


@pytest.mark.parametrize("port", ["99999", "0", "63a", "-1"])
@pytest.mark.parametrize("kind", ["redis", "amqp", "redis://one:1/0;redis"])
def test_a_broker_whose_port_is_none_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, kind: str, port: str
) -> None:
    monkeypatch.setenv(NAME, f"{kind}://ana:secret@host:{port}/0")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME}: the port is no number") as refused:
        env_broker(NAME)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("address", ["u:secret@127.0.0.1:abc/x", "u:secret@h:70000/x", "u:secret@[::1/x"])
def test_so_is_a_database(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="STUDIO_DATABASE_URL: the port is no number") as refused:
        parse_database_url(f"postgresql://{address}")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", ""),
        ("https://studio.lab/", "https://studio.lab"),
        ("http://[::1]:80/here", "http://[::1]:80/here"),
    ],
)
def test_the_address_of_a_web_site(monkeypatch: pytest.MonkeyPatch, text: str, meant: str) -> None:
    monkeypatch.setenv(NAME, text)
    assert env_url(NAME) == meant


@pytest.mark.parametrize(
    "text",
    ["nonsense", "studio.lab:8000", "ftp://studio.lab", "https://", "https://a/?b", "http://a:x", "/a"],
)
def test_what_is_no_web_site_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ImproperlyConfigured, match=NAME):
        env_url(NAME)


@pytest.mark.parametrize("text", ["https://ana:geheim@studio.lab", "ftp://ana:geheim@studio.lab"])
def test_a_web_site_has_no_password_and_none_is_repeated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ImproperlyConfigured, match="a password") as refused:
        env_url(NAME)
    assert "geheim" not in str(refused.value)


def test_a_database_that_an_earlier_version_has_put_beside_its_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a#b" / "db.sqlite3"
    assert misplaced_database(path) is None
    (tmp_path / "a").touch()
    assert misplaced_database(path) == tmp_path / "a"
    path.parent.mkdir()
    path.touch()
    assert misplaced_database(path) is None
    assert misplaced_database(tmp_path / "a" / "db.sqlite3") is None
