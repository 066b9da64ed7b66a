"""Output in encodings that lack letters of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studio_client.yaml_files import loads

from tests.sdk.command_line import Shell

TAG, NAME = (
    "größe 日本 😀",
    "A long name … with 日本, and more words than there is room for in any cell of a table",
)


@pytest.fixture
def written(studio: Shell, train: Path) -> str:
    """A run whose tag and name have letters of many scripts."""
    run_id = str(studio("studio run submit-script -e letters --async train.py").json["run_id"])
    assert studio.words("studio", "run", "update", "-r", run_id, "--add-tag", TAG).code == 0
    assert studio.words("studio", "run", "update", "-r", run_id, "--display-name", NAME).code == 0
    return run_id


@pytest.fixture
def other(studio: Shell, train: Path) -> str:
    """A run of another experiment."""
    return str(studio("studio run submit-script -e words --async train.py").json["run_id"])


def test_letters_that_the_encoding_lacks_are_escaped(studio: Shell, written: str) -> None:
    def shown(rest: str, encoding: str = "latin-1") -> str:
        done = studio(f"PYTHONIOENCODING={encoding} studio run {rest} > out")
        assert (done.code, done.err) == (0, "")
        return Path("out").read_bytes().decode(encoding)

    changed = shown(f"update -r {written} --add-tag 'größe 日本 😀'=ü")
    assert json.loads(changed)["tags"] == {TAG: "ü"}
    assert "größe \\u65e5\\u672c \\ud83d\\ude00" in changed
    assert json.loads(shown(f"show -r {written} -o jsonc", "koi8-r"))["display_name"] == NAME
    assert loads(shown(f"show -r {written} -o yaml"))["tags"] == {TAG: "ü"}
    assert "\\u65e5" in shown("list -e letters --query '[].display_name' -o tsv")
    head, dashes, row = shown("list -e letters -o table").splitlines()
    assert "größe ???? ??=ü" in row
    assert "A long name ~ with ????, and more words than there is ro" in row
    assert row.index(written) == head.index("Run id")
    assert len(dashes) == len(row)
    assert "\\u65e5" in shown("watch -e letters --until-done")


@pytest.mark.parametrize(
    "line",
    [
        r"show -r $'x\xff'",
        r"list -e $'x\xff'",
        r"list -w $'x\xff'",
        r"update -r {run} --add-tag $'x\xff'",
        r"update -r {run} --description $'x\xff'",
    ],
)
def test_a_word_that_is_no_text_is_refused_in_words(studio: Shell, other: str, line: str) -> None:
    said = studio(f"studio run {line.format(run=other)}").refused()
    assert r"'x\xff' is no text in utf-8, the encoding of this shell." in said


def test_a_folder_that_is_no_text_hides_no_other_refusal(studio: Shell, train: Path) -> None:
    line = (
        r"mkdir $'x\xff'; cp train.py $'x\xff'; studio run submit-script --source-directory $'x\xff' --async"
    )
    assert studio(f"{line} train.py").code == 0
    assert (
        "no compute target “nowhere”"
        in studio(f"{line.partition(';')[2]} --target nowhere train.py").refused()
    )


def test_letters_of_another_encoding_are_refused_in_words(studio: Shell, other: str) -> None:
    studio.env = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    said = studio(f"studio run update -r {other} --add-tag é").refused()
    assert r"'\xc3\xa9' is no text in ascii" in said
    assert "set LANG=C.UTF-8" in said
