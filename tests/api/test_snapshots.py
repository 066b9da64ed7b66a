"""Snapshots over the API: sent once, named by digest, and read back with the runs made from them."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from runs.models import Run, Snapshot
from runs.services.archives import PackedFile, manifest_digest
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_run, make_snapshot

pytestmark = pytest.mark.django_db
PATH = "/workspaces/default/snapshots"
PATH_OF_ANY = "/workspaces/{workspace}/snapshots"


def zipped(files: dict[str, str], *, executable: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            info = zipfile.ZipInfo(path)
            info.external_attr = (0o100755 if path == executable else 0o100644) << 16
            archive.writestr(info, text)
    return file.getvalue()


def upload(api: Api, files: dict[str, str], **options: Any) -> Any:
    return api.call("post", PATH, raw=zipped(files, **options))


def test_the_description_names_every_kind_of_archive() -> None:
    operation = Api().get("/openapi.json").json()["paths"][f"/api/v1{PATH_OF_ANY}"]["post"]
    assert set(operation["requestBody"]["content"]) == {
        "application/zip",
        "application/x-tar",
        "application/gzip",
    }
    assert ".tar.gz" in operation["description"]


def test_a_zip_becomes_the_snapshot_whose_digest_its_sender_knew(api: Api) -> None:
    files = {"train.py": "print()\n", "src/.git/x": "", "run.sh": "#!/bin/sh\n"}
    expected = manifest_digest(
        PackedFile(path, len(text), hashlib.sha256(text.encode()).hexdigest(), path == "run.sh")
        for path, text in files.items()
    )
    assert api.get(f"{PATH}/{expected}").status_code == 404
    made = upload(api, files, executable="run.sh")
    assert (made.status_code, made.json()) == (201, {"digest": expected, "size": 18, "files": 3})
    assert api.get(f"{PATH}/{expected}").json() == made.json()
    assert upload(api, files, executable="run.sh").json() == made.json()
    assert Snapshot.objects.count() == 1


@pytest.mark.parametrize("compression", ["", "gz"])
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_tar_brings_the_same(api: Api, compression: str, size: int) -> None:
    files = {"train.py": "print()\n", "data.csv": "x" * size}
    expected = upload(api, files).json()["digest"]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    made = api.call("post", PATH, raw=file.getvalue())
    assert made.json()["digest"] == expected


def test_a_digest_opens_nothing_of_other_workspaces(
    api_of: Callable[[User | Run | None], Api], ana: User, ben: User, dan: User
) -> None:
    digest = upload(api_of(ana), {"secret.py": "x"}).json()["digest"]
    unknown = api_of(ben).get(f"{PATH}/{digest}")
    assert (unknown.status_code, refusal(unknown)["field"]) == (404, "digest")
    assert api_of(dan).get(f"/workspaces/elsewhere/snapshots/{digest}").status_code == 404
    make_run(snapshot=Snapshot.objects.get())
    assert api_of(ben).get(f"{PATH}/{digest}").status_code == 200
    assert api_of(dan).get(f"/workspaces/elsewhere/snapshots/{digest}").status_code == 404


@pytest.mark.parametrize("body", [b"", b"no zip", zipped({}), zipped({"../a": ""}), zipped({"a": ""})[:-10]])
def test_what_is_no_source_is_422(api: Api, body: bytes) -> None:
    answer = api.call("post", PATH, raw=body)
    assert (answer.status_code, refusal(answer)["code"]) == (422, "invalid_snapshot")
    assert not Snapshot.objects.exists()


def test_too_big_is_413_and_says_what_would_help(api: Api, settings: Any) -> None:
    settings.SNAPSHOT_MAX_BYTES = 100
    answer = upload(api, {"train.py": "x", "data/big.csv": "x" * 200})
    error = refusal(answer)
    assert (answer.status_code, error["code"]) == (413, "snapshot_too_big")
    assert "data/big.csv" in error["message"]
    assert ".amlignore" in error["hint"]


def test_a_run_sends_and_names_sources_in_its_workspace(
    api_of: Callable[[User | Run | None], Api], ana: User
) -> None:
    run = make_run(status=Status.RUNNING, submitter=ana)
    digest = upload(api_of(run), {"child.py": ""}).json()["digest"]
    assert api_of(run).get(f"{PATH}/{digest}").status_code == 200
    assert api_of(ana).get(f"{PATH}/{digest}").status_code == 200


@pytest.fixture
def run(ana: User) -> Run:
    return make_run(snapshot=make_snapshot({"train.py": "print()\n", "data/a b.csv": "1,2\n"}), submitter=ana)


def test_the_source_of_a_run_comes_as_a_zip(api: Api, run: Run) -> None:
    assert run.snapshot is not None
    answer = api.get(f"/runs/{run.run_id}/snapshot")
    assert answer["Content-Disposition"] == f'attachment; filename="{run.snapshot.digest}.zip"'
    assert answer["Content-Security-Policy"].startswith("sandbox")
    data = b"".join(answer)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(archive.namelist()) == ["data/a b.csv", "train.py"]
    part = api.get(f"/runs/{run.run_id}/snapshot", headers={"Range": "bytes=2-5"})
    assert (part.status_code, b"".join(part)) == (206, data[2:6])


def test_its_files_are_listed_and_read(api: Api, run: Run) -> None:
    listed = api.get(f"/runs/{run.run_id}/snapshot/files").json()
    assert [(one["path"], one["size"], one["executable"]) for one in listed["items"]] == [
        ("data/a b.csv", 4, False),
        ("train.py", 8, False),
    ]
    assert run.snapshot is not None
    assert (listed["digest"], listed["size"]) == (run.snapshot.digest, 12)
    answer = api.get(f"/runs/{run.run_id}/snapshot/files/data/a%20b.csv")
    assert b"".join(answer) == b"1,2\n"
    assert answer["Content-Security-Policy"].startswith("sandbox")
    for path in ("nothing.py", "data", "../train.py"):
        assert api.get(f"/runs/{run.run_id}/snapshot/files/{path}").status_code == 404


def test_a_run_without_source_has_none(api: Api, ana: User) -> None:
    run = make_run(kind=Kind.INTERACTIVE, submitter=ana)
    for path in ("snapshot", "snapshot/files", "snapshot/files/train.py"):
        answer = api.get(f"/runs/{run.run_id}/{path}")
        assert answer.status_code == 404
        assert refusal(answer)["message"] == "This run has no snapshot."


def test_a_source_that_the_storage_has_lost_is_404(api: Api, run: Run, storage: Any) -> None:
    for file in storage.rglob("*.zip"):
        file.unlink()
    for path in ("snapshot", "snapshot/files/train.py"):
        assert api.get(f"/runs/{run.run_id}/{path}").status_code == 404
