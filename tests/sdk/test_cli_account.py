"""Signing in, defaults, and what scripts run before they begin."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from azureml.core import Workspace
from azureml.exceptions import AuthenticationException

from tests.sdk.command_line import Shell
from tests.sdk.live import Signed, change_token, new_token, studio_command


def test_a_token_from_stdin_is_kept_for_its_owner_alone(shell: Shell, server: Signed, home: Path) -> None:
    done = shell(f"studio login --url {server.url} --token -", stdin=server.token + "\n")
    assert done.json[0]["workspaces"][0]["name"] == "default"
    file = home / "credentials.json"
    assert f"{file.stat().st_mode & 0o777:o}" == "600"
    assert server.token in file.read_text()
    assert server.token not in done.out + done.err
    assert shell("studio account show").json["user"] == {"name": "admin", "type": "user"}
    assert shell("studio account list").json == done.json
    assert shell("studio login").json == done.json

    out = shell("studio logout")
    assert (out.code, out.out) == (0, "")
    assert server.url in out.err
    assert "studio login" in shell("studio account show").refused()


def test_a_token_that_is_piped_in_wins_over_the_login_that_is_kept(
    shell: Shell, server: Signed, home: Path
) -> None:
    other = studio_command(server.studio, "token", "--user", "admin").splitlines()[-1]
    for token in (server.token, other):
        assert shell(f"studio login --url {server.url}", stdin=token + "\n").json[0]["url"] == server.url
        assert token in (home / "credentials.json").read_text()
    assert "already" in shell(f"studio login --url {server.url}", stdin="").err
    rest = shell("studio login -o none; cat", stdin="not for the login\n")
    assert rest.out == "not for the login\n"
    assert other in (home / "credentials.json").read_text()


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_login_does_not_wait_for_a_pipe_where_nothing_comes(
    shell: Shell, server: Signed, is_kept: bool
) -> None:
    if is_kept:
        assert shell(f"studio login --url {server.url} --token {server.token}").code == 0
    process = subprocess.Popen(
        [str(shell.programs / "studio"), "login", "--url", server.url],
        env=shell.whole_env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.wait(60) == (0 if is_kept else 1)
    finally:
        process.kill()
        said = process.communicate()[1]
    assert ("already" if is_kept else "No token is given") in said


def test_a_login_in_a_loop_leaves_the_lines_that_the_loop_reads(
    shell: Shell, server: Signed, project: Path
) -> None:
    (project / "hosts").write_text("one\ntwo\nthree\n")
    line = f"while read host; do studio login --url {server.url} -o none; echo $host; done"
    assert shell(f"studio login --url {server.url} --token {server.token}").code == 0
    looped = shell(f"{line} < hosts")
    assert looped.out == "one\ntwo\nthree\n", looped.err
    assert looped.err.count("already") == 3

    piped = shell(f"cat hosts | ({line})")  # what a pipe has given cannot be put back
    assert piped.out == "one\nthree\n", piped.err
    assert piped.err.count("not a token, so it is not used") == 1


def test_a_pipe_in_which_nothing_comes_is_not_passed_over_silently(shell: Shell, server: Signed) -> None:
    login = f"studio login --url {server.url} -o none"
    shell(login, stdin=server.token + "\n")
    done = shell(f"mkfifo late && exec 3<>late && {login} <&3")
    assert done.code == 0, done.err
    assert "no line came on stdin within 5 s" in done.err


def test_a_token_in_a_file_is_read_alone(shell: Shell, server: Signed, home: Path, project: Path) -> None:
    (project / "tokens").write_text(f" {server.token}\nthe rest\n")
    done = shell(f"(studio login --url {server.url} -o none; cat) < tokens")
    assert (done.code, done.out) == (0, "the rest\n"), done.err
    assert server.token in (home / "credentials.json").read_text()
    (project / "token").write_text(server.token)
    assert shell(f"studio login --url {server.url} < token").json[0]["url"] == server.url


def test_a_login_in_the_way_of_pipelines(shell: Shell, server: Signed) -> None:
    done = shell(f"az login --service-principal -u someone -p {server.token} --tenant t --url {server.url}")
    assert done.json[0]["url"] == server.url


def test_a_person_is_shown_where_tokens_are_made(shell: Shell, server: Signed, home: Path) -> None:
    """On a terminal the token is asked for, and not shown when it is typed."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", f"studio login --url {server.url} --only-show-errors"],
        env=shell.whole_env,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    shown = b""
    while b"Token:" not in shown:
        shown += os.read(parent, 1000)
    assert f"{server.url}/tokens/".encode() in shown
    os.write(parent, server.token.encode() + b"\n")
    try:
        while chunk := os.read(parent, 1000):
            shown += chunk
    except OSError:
        pass  # the other side has closed the terminal
    assert process.wait(20) == 0
    os.close(parent)
    assert server.token.encode() not in shown
    assert server.token in (home / "credentials.json").read_text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("studio login", "--url"),
        ("studio login --url {url}", "/tokens/"),
        ("studio login --url {url} --token wrong", "does not know this token"),
        ("studio login --url {url} --token 'two words'", "not a token"),
        ("studio login --url http://127.0.0.1:9 --token x", "does not answer"),
        ("studio login --url 'no address' --token x", "is not the address"),
        ("studio run list -e x -w default", "studio login"),
        ("STUDIO_URL={url} STUDIO_TOKEN=wrong studio run list -e x -w default", "oken"),
        ("STUDIO_TOKEN={token} studio account show", "STUDIO_URL"),
    ],
)
def test_what_keeps_one_from_signing_in_is_said(shell: Shell, server: Signed, line: str, words: str) -> None:
    message = shell(line.format(url=server.url, token=server.token)).refused()
    assert words in message
    assert server.token not in message


def test_a_revoked_token_is_said(shell: Shell, server: Signed) -> None:
    token = studio_command(server.studio, "token", "--user", "admin").splitlines()[-1]
    shell(f"studio login --url {server.url} --token {token}")
    code = "from studio.accounts.models import ApiToken; ApiToken.objects.latest('pk').delete()"
    studio_command(server.studio, "shell", "-c", code)
    message = shell("studio run list -w default -e x").refused()
    assert token not in message
    assert "studio login" in message


REFUSED = {
    "expired": (
        ".update(expires_at='2026-01-02T23:59Z')",
        "This token expired on 2026-01-02 at 23:59 UTC.",
    ),
    "revoked": (
        ".update(revoked_at='2026-01-02T23:59Z')",
        "This token was revoked on 2026-01-02 at 23:59 UTC.",
    ),
}


@pytest.mark.parametrize("end", REFUSED)
def test_a_token_that_is_worth_nothing_any_more_is_told_why(
    shell: Shell, server: Signed, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    how, why = REFUSED[end]
    token = new_token(server, end)
    change_token(server, end, how)
    for line in (
        f"studio login --url {server.url} --token {token}",
        f"STUDIO_URL={server.url} STUDIO_TOKEN={token} studio run list -w default -e x",
    ):
        message = shell(line).refused()
        assert f"ERROR: {why} Make another one on the page Tokens" in message
        assert token not in message
    monkeypatch.setenv("STUDIO_URL", server.url)
    monkeypatch.setenv("STUDIO_TOKEN", token)
    with pytest.raises(AuthenticationException) as refused:
        Workspace.get("default")
    assert f"Message: {why} Make another one on the page Tokens" in str(refused.value)
    assert token not in str(refused.value)


def test_debug_says_what_is_asked_and_never_the_token(studio: Shell, server: Signed) -> None:
    done = studio("studio run list -w default -e cli --debug")
    assert re.search(r"GET /api/v1/workspaces/default: 200 in \d+ ms", done.err)
    assert server.token not in done.out + done.err
    assert "Traceback" in studio("studio run show -r nothing --debug").err


def test_defaults_stand_in_for_what_is_not_typed(studio: Shell, home: Path) -> None:
    assert "studio folder attach" in studio("studio workspace show").refused()
    done = studio("az configure --defaults group=some-group aml_workspace=default location=here")
    assert (done.code, done.out) == (0, "")
    assert "location" in done.err
    assert studio("studio workspace show --query [name,resourceGroup] -o tsv").out == "default\nsome-group\n"
    kept = studio("studio configure --list-defaults").json
    assert kept == [{"name": "group", "value": "some-group"}, {"name": "workspace", "value": "default"}]
    assert studio("studio configure -d workspace=").code == 0
    assert json.loads((home / "defaults.json").read_text()) == {"group": "some-group"}
    assert "NAME=VALUE" in studio("studio configure --defaults group").refused(2)


def test_lines_that_prepare_az_do_no_harm(studio: Shell) -> None:
    added = studio("az extension add -n azure-cli-ml")
    assert (added.code, added.out) == (0, "")
    assert "built in" in added.err
    assert studio("az extension list").json == []
    assert studio("az version").json["extensions"] == {}
    chosen = studio("az account set -s nope")
    assert (chosen.code, chosen.out) == (0, "")
    assert "None of your workspaces is in the subscription nope; nothing was changed" in chosen.err
    assert studio("az account show --query user.name -o tsv").out == "admin\n"
    assert studio("studio sync").json["sent"] == 0


@pytest.mark.parametrize("line", ["az ml model list", "studio endpoint show -n x", "az ml dataset list"])
def test_what_is_no_part_of_studio_says_so(studio: Shell, line: str) -> None:
    assert "is not part of Studio" in studio(line).refused()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("studio nonsense", "no command 'nonsense'"),
        ("studio run lst", "Did you mean 'list'?"),
        ("studio run list --bogus", "--bogus"),
        ("studio run show", "--run"),
        ("studio run list extra words", "unrecognized arguments: extra words"),
        ("studio run list -o wrong", "wrong"),
        ("studio run list --last x", "'--last': 'x' is not a whole number from 1 on."),
        ("studio run watch --last 0", "'--last': '0' is not a whole number from 1 on."),
        ("studio run watch --interval 0.1", "'0.1' is not a number of seconds from 0.2 on."),
        ("studio run list --query 'a b'", "position 2"),
        ("az ml run show", "Help: az ml run show --help"),
    ],
)
def test_mistakes_of_usage_end_with_2(shell: Shell, line: str, words: str) -> None:
    assert words in shell(line).refused(2)


def test_every_command_has_help(shell: Shell) -> None:
    from studio_client.cli.main import studio as root

    def walk(command: object, words: list[str]) -> list[list[str]]:
        commands = getattr(command, "commands", {})
        seen = {name: one for name, one in commands.items() if not one.hidden}
        return [words, *(place for name, one in seen.items() for place in walk(one, [*words, name]))]

    places = walk(root, [])
    assert len(places) > 40
    for words in (place for place in places if place[:1] != ["ml"]):
        command: object = root
        for word in words:
            command = command.commands[word]  # type: ignore[attr-defined]
        assert command.help, words  # type: ignore[attr-defined]
        for option in command.params:  # type: ignore[attr-defined]
            assert option.param_type_name == "argument" or option.help, (words, option.name)
    shown = shell("studio run list -h")
    assert shown.code == 0
    assert "Examples:" in shown.out
    assert shell("studio").code == 0
    assert shell("studio run").code == 2
    assert re.fullmatch(r"studio-client, version [\d.]+\n", shell("studio --version").out)
