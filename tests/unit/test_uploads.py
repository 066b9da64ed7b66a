"""All uploads of a request in one open file: each is read as if it were alone."""

from __future__ import annotations

import gc
import io
import os
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.http import HttpRequest
from django.test import RequestFactory


def request_with(*contents: bytes) -> HttpRequest:
    files = [SimpleUploadedFile(f"f{at}.bin", content) for at, content in enumerate(contents)]
    return RequestFactory().post("/", {"file": files})


def uploads(request: HttpRequest) -> list[UploadedFile]:
    return list(request.FILES.getlist("file"))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_each_is_read_by_itself_and_in_turn_with_others() -> None:
    large = os.urandom(300_000)
    first, empty, last = uploads(request_with(b"one", b"", large))
    assert (first.size, empty.size, last.size) == (3, 0, 300_000)
    assert (first.read(2), last.read(5), first.read(), empty.read()) == (b"on", large[:5], b"e", b"")
    assert (first.read(1), first.seek(0), first.read()) == (b"", 0, b"one")
    assert last.seek(-7, os.SEEK_END) == 299_993
    assert last.read() == large[-7:]
    assert b"".join(last.chunks()) == large
    assert (last.seek(1_000_000), last.read()) == (1_000_000, b"")
    with pytest.raises(OSError, match="Invalid argument"):
        first.seek(-1)


def test_an_archive_is_read_where_it_lies() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("train.py", "print(1)")
    _, upload = uploads(request_with(b"before", data.getvalue()))
    with zipfile.ZipFile(upload) as archive:  # type: ignore[arg-type]
        assert archive.read("train.py") == b"print(1)"


def test_one_file_is_open_until_the_request_is_over() -> None:
    gc.collect()  # what other tests have left
    before = open_files()
    request = request_with(*[b"x"] * 500)
    one, *_ = uploads(request)
    assert open_files() == before + 1
    request.close()
    assert open_files() == before
    with pytest.raises(ValueError, match="closed"):
        one.read()
