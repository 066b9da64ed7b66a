"""Uploads of one request in one file: thousands of small ones may come, and a process may open few files."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler


class _Spool:
    """A file without a name that only grows. It is closed when nothing refers to it any more."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0, dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115
        self.size = 0

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._file.fileno(), left, self.size)
            self.size += written
            left = left[written:]

    def read_into(self, buffer: memoryview, at: int) -> int:
        return os.preadv(self._file.fileno(), [buffer], at)


class _Part(io.RawIOBase):
    """One upload, as a file to read; any number of them may be read in turn."""

    def __init__(self, spool: _Spool, start: int, size: int) -> None:
        self._spool: _Spool | None = spool
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            # What a file on disk raises: zipfile looks there for the end of an archive, and goes on.
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._spool is None:
            raise ValueError("I/O operation on closed file.")
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = self._spool.read_into(view, self._start + self._at)
        self._at += count
        return count

    def close(self) -> None:
        self._spool = None
        super().close()


class OneFileUploadHandler(FileUploadHandler):
    """Django's handler of all uploads: what comes is on disk, and holds one open file for each request."""

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self._spool: _Spool | None = None
        self._start = 0

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin the next upload behind the one before."""
        super().new_file(*args, **kwargs)
        self._spool = self._spool or _Spool()
        self._start = self._spool.size

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Put a piece on disk; no other handler gets it. Raises OSError if there is no room."""
        assert self._spool is not None
        self._spool.append(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        """The upload, which can be read from now on."""
        assert self._spool is not None
        return UploadedFile(
            file=_Part(self._spool, self._start, file_size),  # type: ignore[arg-type]  # a raw stream is one
            name=self.file_name,
            content_type=self.content_type,
            size=file_size,
            charset=self.charset,
            content_type_extra=self.content_type_extra,
        )

    def upload_complete(self) -> None:
        """Leave the file to the uploads, with the last of which it goes."""
        self._spool = None
