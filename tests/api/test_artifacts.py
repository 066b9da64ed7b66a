"""The artifacts of a run over the API: put, listed, and got whole or in part."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runs.models import Run
from runs.services.artifacts import keep_outputs
from runs.status import Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(ana: User) -> Run:
    return make_run(status=Status.RUNNING, submitter=ana)


def put(api: Api, run: Run, path: str, data: bytes, query: str = "") -> Any:
    return api.call("put", f"/runs/{run.run_id}/artifacts/{path}{query}", raw=data)


def get(api: Api, run: Run, path: str, **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.get(f"/runs/{run.run_id}/artifacts/{path}", headers=names)


def body(answer: Any) -> bytes:
    return b"".join(answer)


def test_what_is_put_is_got_back(api: Api, run: Run) -> None:
    data = bytes(range(256)) * 100
    made = put(api, run, "plots/%C3%A9%20%3F%23.bin", data)
    assert made.status_code == 201
    artifact = made.json()
    assert artifact.pop("created_at").endswith("Z")
    assert artifact == {
        "path": "plots/é ?#.bin",
        "size": 25_600,
        "sha256": hashlib.sha256(data).hexdigest(),
        "content_type": "application/octet-stream",
        "created_by": "ana",
    }
    assert body(get(api, run, "plots/%C3%A9%20%3F%23.bin")) == data


def test_the_same_is_200_and_other_content_409(api: Api, run: Run) -> None:
    put(api, run, "a.txt", b"one")
    assert put(api, run, "a.txt", b"one").status_code == 200
    refused = put(api, run, "a.txt", b"two")
    assert (refused.status_code, refusal(refused)["field"]) == (409, "path")
    assert put(api, run, "a.txt", b"two", "?overwite=true").status_code == 422
    assert put(api, run, "a.txt", b"two", "?overwrite=true").status_code == 201
    assert body(get(api, run, "a.txt")) == b"two"


@pytest.mark.parametrize("path", ["..%2Fa", "a%5Cb", "a//b", "a/", "outputs", "x" * 300])
def test_a_name_that_is_no_file_is_refused(api: Api, run: Run, path: str) -> None:
    answer = put(api, run, path, b"x")
    assert (answer.status_code, refusal(answer)["field"]) == (422, "path")


def test_past_what_a_run_may_keep_is_413(api: Api, run: Run, settings: Any) -> None:
    settings.OUTPUTS_MAX_BYTES = 10
    answer = put(api, run, "a", b"x" * 11)
    assert (answer.status_code, refusal(answer)["code"]) == (413, "outputs_too_big")
    assert put(api, run, "a", b"x" * 10).status_code == 201


def test_a_body_larger_than_any_form_is_taken(api: Api, run: Run, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert put(api, run, "a", b"x" * 1001).status_code == 201


def test_a_file_is_saved_and_never_shown(api: Api, run: Run) -> None:
    put(api, run, "evil.html", b"<script>alert(1)</script>")
    answer = get(api, run, "evil.html")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="evil.html"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer["Content-Length"] == "25"
    assert body(answer)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-4", 0, 5),
        ("bytes=5-", 5, 10),
        ("bytes=-3", 7, 10),
        ("bytes=8-99", 8, 10),
        ("bytes=-99", 0, 10),
    ],
)
def test_a_part_is_given_as_asked(api: Api, run: Run, asked: str, start: int, end: int) -> None:
    put(api, run, "a", b"0123456789")
    answer = get(api, run, "a", Range=asked)
    assert (answer.status_code, body(answer)) == (206, b"0123456789"[start:end])
    assert answer["Content-Range"] == f"bytes {start}-{end - 1}/10"
    assert answer["Content-Length"] == str(end - start)
    assert answer["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=5-4", "bytes=-0"])
def test_a_part_past_the_end_is_416(api: Api, run: Run, asked: str) -> None:
    put(api, run, "a", b"0123456789")
    answer = get(api, run, "a", Range=asked)
    assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */10")
    error = refusal(answer)
    assert (error["code"], error["field"]) == ("range_not_satisfiable", "Range")


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=0-1,3-4", "lines=0-1", "bytes=x-y", "bytes=²-"]
)
def test_what_is_no_single_range_gives_everything(api: Api, run: Run, asked: str) -> None:
    put(api, run, "a", b"0123456789")
    answer = get(api, run, "a", Range=asked)
    assert (answer.status_code, body(answer)) == (200, b"0123456789")


def test_a_download_is_taken_up_only_if_the_file_is_the_same(api: Api, run: Run) -> None:
    put(api, run, "a", b"0123456789")
    begun = get(api, run, "a", Range="bytes=0-4")
    etag, _ = begun["ETag"], body(begun)
    assert get(api, run, "a", If_None_Match=etag).status_code == 304
    same = get(api, run, "a", Range="bytes=5-", If_Range=etag)
    assert (same.status_code, body(same)) == (206, b"56789")
    put(api, run, "a", b"abcdefghij", "?overwrite=true")
    other = get(api, run, "a", Range="bytes=5-", If_Range=etag)
    assert (other.status_code, body(other)) == (200, b"abcdefghij")


def test_the_list_has_what_was_put_and_what_the_run_left(api: Api, run: Run, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "model.json").write_text("{}")
    keep_outputs(run, tmp_path)
    put(api, run, "Outputs/other", b"x")
    put(api, run, "a.png", b"x")
    path = f"/runs/{run.run_id}/artifacts"
    listed = api.get(path).json()
    assert {(one["path"], one["created_by"]) for one in listed["items"]} == {
        ("Outputs/other", "ana"),
        ("a.png", "ana"),
        ("outputs/model.json", None),
    }
    assert listed["next_cursor"] is None
    below = api.get(path, {"prefix": "outputs/"}).json()["items"]
    assert [one["path"] for one in below] == ["outputs/model.json"]
    assert api.get(path, {"prefix": "outputs/%"}).json()["items"] == []


def test_a_long_list_comes_in_pages(api: Api, run: Run, django_assert_num_queries: Any) -> None:
    for number in range(5):
        put(api, run, f"{number}", b"x")
    path, cursor, seen = f"/runs/{run.run_id}/artifacts", None, []
    while True:
        with django_assert_num_queries(4):  # token, run, membership; page
            page = api.get(path, {"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen.append([one["path"] for one in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [["0", "1"], ["2", "3"], ["4"]]


def test_what_is_not_there_is_404(api: Api, run: Run) -> None:
    answer = get(api, run, "nothing/here")
    assert (answer.status_code, refusal(answer)["field"]) == (404, "path")


def test_all_files_come_as_one_zip(api: Api, run: Run) -> None:
    put(api, run, "outputs/a", b"1")
    put(api, run, "b", b"2")
    answer = api.get(f"/runs/{run.run_id}/artifacts.zip")
    assert answer["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body(answer))) as archive:
        assert sorted(archive.namelist()) == ["b", "outputs/a"]


def test_a_run_keeps_files_for_itself_and_its_children_as_its_submitter(
    api_of: Callable[[User | Run | None], Api], run: Run
) -> None:
    child = make_run(status=Status.RUNNING, parent=run)
    for one in (run, child):
        made = put(api_of(run), one, "a", b"x")
        assert (made.status_code, made.json()["created_by"]) == (201, "ana")
    beside = make_run(status=Status.RUNNING)
    assert put(api_of(run), beside, "a", b"x").status_code == 403
    assert not beside.artifacts.exists()


def test_files_may_still_be_put_after_the_end_by_people(api: Api, ana: User) -> None:
    ended = make_run(status=Status.COMPLETED, submitter=ana)
    assert put(api, ended, "report.txt", b"x").status_code == 201
