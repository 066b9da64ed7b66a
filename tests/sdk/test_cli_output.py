"""How results are written, and how queries are read: what needs no server."""

from __future__ import annotations

import json
import os
import pty
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studio_client.cli.output import FORMATS, rendered
from studio_client.cli.query import Query, QueryFailed
from studio_client.cli.tables import LEFT_OUT, duration, table
from studio_client.yaml_files import loads

from runs.formats import duration_text

ROWS = [
    {"run_id": "a", "tags": {"x": None}, "n": 1, "ok": True, "none": None, "list": [1, 2], "id": 7},
    {"run_id": "b", "tags": {}, "n": 2.5, "ok": False, "none": None, "list": [], "id": 8},
]


def quiet(text: str) -> None:
    raise AssertionError(text)


def found(query: str, data: Any) -> Any:
    return Query(query).search(data, quiet)


def test_json_is_indented_by_two_sorted_and_keeps_letters() -> None:
    assert rendered({"b": "ü", "a": [1]}, "json", None) == '{\n  "a": [\n    1\n  ],\n  "b": "ü"\n}'


def test_json_holds_nothing_that_a_terminal_obeys() -> None:
    text = rendered({"a": "\x1b[2J\x9b2J\x7f"}, "json", None)
    assert not any((ord(letter) < 32 and letter != "\n") or 127 <= ord(letter) < 160 for letter in text)
    assert json.loads(text) == {"a": "\x1b[2J\x9b2J\x7f"}


def test_a_table_has_sorted_columns_of_what_is_plain() -> None:
    lines = rendered(ROWS, "table", None).splitlines()
    assert lines[0].split() == ["N", "Ok", "Run_id"]
    assert lines[2].split() == ["1", "True", "a"]
    assert len(lines) == 4


def test_a_table_of_what_a_query_builds_has_its_columns() -> None:
    text = rendered(found("[].{S: ok, Id: run_id}", ROWS), "table", None)
    assert text.splitlines()[0].split() == ["S", "Id"]
    assert rendered(found("[].run_id", ROWS), "table", None).splitlines()[0] == "Result"


def test_tables_are_aligned_for_wide_letters_and_show_no_commands() -> None:
    lines = table([{"A": "日本", "B": "x"}, {"A": "ab\x1b[2J", "B": "y"}]).splitlines()
    assert lines[2] == "日本    x"
    assert lines[3] == "ab�[2J  y"


def run_rows(run_id: str = "digits_1735689600_0a1b2c3d") -> list[dict[str, Any]]:
    """Rows as those of runs are."""
    made = {"Number": 1, "Name": "A name of some length", "Status": "Completed"}
    times = {"Started": "2026-11-22 00:00:00", "Duration": "3m 20s"}
    return [{**made, **times, "Target": "local", "Submitter": "ana", "Tags": "a=日本, b", "Run id": run_id}]


def test_a_name_stays_where_nothing_else_says_what_a_row_is() -> None:
    rows = [{"Name": "local", "State": "Running", "Slots": 2, "In use": 0, "Queued": 0, "Default": "yes"}]
    for room in (60, 45, 40):
        assert table(rows, room=room, left_out=LEFT_OUT).splitlines()[2].startswith("local")


def test_a_query_that_fails_says_why_without_the_result() -> None:
    with pytest.raises(QueryFailed) as failed:
        found("keys(@)", [{"run_id": "long" * 500}])
    assert str(failed.value).endswith("fails on this result: keys() takes an object, and was given an array.")


def test_columns_are_left_out_where_the_terminal_is_too_narrow() -> None:
    def heads(room: int) -> list[str]:
        return table(run_rows(), room=room, left_out=LEFT_OUT).splitlines()[0].split("  ")

    def names(room: int) -> str:
        return " ".join(word.strip()[:3] for word in heads(room) if word)

    assert names(200) == names(115) == "Num Nam Sta Sta Dur Tar Sub Tag Run"
    assert names(95) == "Num Nam Sta Sta Dur Tar Run"
    assert names(80) == "Num Nam Sta Dur Run"
    assert names(60) == "Num Nam Sta Run"
    assert names(50) == names(30) == "Num Sta Run"
    assert table(run_rows(), room=200, left_out=LEFT_OUT) == table(run_rows())


def test_a_head_is_not_cut_where_all_below_it_fits() -> None:
    rows = [{"Submitter": "ana", "Tags": "a" * 40, "Run id": "x"}]
    for room in range(22, 56):
        head = table(rows, room=room, left_out=LEFT_OUT).splitlines()[0]
        assert "…" not in head


@given(st.integers(1, 150), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_what_is_cut_says_so(room: int, is_of_runs: bool) -> None:
    lines = click.unstyle(table(run_rows(), room=room, left_out=LEFT_OUT if is_of_runs else ())).splitlines()
    wide = lines[2].count("日") + lines[2].count("本")
    assert max(len(lines[0]), len(lines[1]), len(lines[2]) + wide) <= room
    if "Run id" in lines[0]:
        run_id = lines[2].split()[-1]
        assert run_id == "digits_1735689600_0a1b2c3d" or run_id.endswith("…")


def test_tables_turn_no_direction_and_break_no_line() -> None:
    assert table([{"A": "x\u202egnp\u2066\u2028y"}]).splitlines()[2] == "x\\u202egnp\\u2066⏎y"
    assert table([{"A": "one\r\ntwo\nthree\tfour"}]).splitlines()[2] == "one⏎two⏎three�four"


def test_tsv_has_no_head_and_a_line_for_each() -> None:
    assert rendered(found("[].run_id", ROWS), "tsv", None) == "a\nb"
    assert rendered(found("[].{z: run_id, a: n, l: list, t: tags, o: none}", ROWS), "tsv", None) == (
        "a\t1\t2\t\t\nb\t2.5\t0\t\t"
    )
    assert rendered(ROWS[:1], "tsv", None) == "7\t2\t1\t\ttrue\ta\t"
    assert rendered([["a", None]], "tsv", None) == "a\tNone"


def test_yaml_has_a_line_for_each_value() -> None:
    long = {"properties": {"ContentSnapshotId": "a" * 64, "words": "word " * 60, "more": "x: y " * 60}}
    text = rendered(long, "yaml", None)
    assert len(text.splitlines()) == 4
    assert f"  ContentSnapshotId: {'a' * 64}\n" in text
    assert loads(text) == long


def test_yaml_is_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    values = {"a: b": "x: y", "n": -1.5, "z": None, "l": [1, [True, "it's"]], "e": {}, "m": "two\nlines"}
    parent, child = pty.openpty()
    with open(child, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        text = rendered([values], "yamlc", None)
        assert rendered([values], "yaml", None) == re.sub(r"\x1b\[\d+m", "", text)
    os.close(parent)
    blue, green, magenta, cyan = (f"\x1b[{code}m" for code in (34, 32, 35, 36))
    assert f"- {blue}'a: b'\x1b[0m: {green}'x: y'\x1b[0m\n" in text
    assert f"  {blue}n\x1b[0m: {cyan}-1.5\x1b[0m\n" in text
    assert f"  {blue}z\x1b[0m: {magenta}null\x1b[0m" in text
    assert f"  - - {magenta}true\x1b[0m\n    - {green}it's\x1b[0m\n" in text
    assert f"  {blue}e\x1b[0m: {{}}\n" in text
    assert "\x1b" not in rendered([values], "yaml", None)


def test_yaml_is_read_back_as_it_was() -> None:
    assert loads(rendered(ROWS, "yaml", None)) == ROWS


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_written_for_nothing(form: str) -> None:
    assert rendered(None, form, None) == ""
    assert rendered([], "table", None) == ""
    assert rendered(ROWS, "none", None) == ""


PLAIN = st.none() | st.booleans() | st.text() | st.integers()


@settings(deadline=None)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_every_format_writes_everything(value: Any) -> None:
    for form in FORMATS:
        assert isinstance(rendered(value, form, None), str)


@pytest.mark.parametrize("seconds", [0, 0.023, 0.999, 1, 1.25, 6.6, 9.99, 10, 59.9, 200, 18_200, 190_000])
def test_durations_are_said_as_the_pages_say_them(seconds: float) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end = start + timedelta(seconds=seconds)
    assert duration(start.isoformat(), end.isoformat()) == duration_text(seconds)


def test_what_has_not_begun_has_no_duration() -> None:
    assert duration(None, None) == ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("[?properties.author==azureml-user]", "[?properties.author=='azureml-user']"),
        ("[?author==ana]", "[?author=='ana']"),
        ("[?n==2]", "[?n==`2`]"),
        ("[?ok==true]", "[?ok==`true`]"),
        ("[?author==ana && n==2].n", "[?author=='ana' && n==`2`].n"),
        ("[?author!=some body]", "[?author!='some body']"),
    ],
)
def test_a_bare_query_that_lost_its_quotes_is_understood(typed: str, meant: str) -> None:
    rows = [{"author": "ana", "n": 2, "ok": True, "properties": {"author": "azureml-user"}}, {"n": 3}]
    said: list[str] = []
    assert Query(typed, is_bare=True).search(rows, said.append) == found(meant, rows)
    assert len(said) == 1
    assert f'--query "{meant}"' in said[0]


def test_a_bare_query_that_is_right_stays_as_it_is() -> None:
    rows = [{"a": "x", "b": "x"}, {"a": "x", "b": "y"}]
    for query in (
        "[?a==b]",
        "[?a=='x' && b=='y']",
        "[?keys(@)[?starts_with(@, 'a')]]",
        "[?a==b || b=='y'].b",
    ):
        assert Query(query, is_bare=True).search(rows, quiet) == found(query, rows)


@pytest.mark.parametrize("query", ["a b", "[?a==b-c]", "[", "'", "", "[?a=="])
def test_a_malformed_query_is_a_mistake_of_usage(query: str) -> None:
    with pytest.raises(click.UsageError, match="is not JMESPath"):
        Query(query)


def test_a_query_that_does_not_fit_the_result_fails() -> None:
    with pytest.raises(QueryFailed, match="starts_with"):
        found("[].starts_with(none, 'a')", ROWS)
