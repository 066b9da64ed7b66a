"""Listing the members of zip and tar archives that may be hostile. Pure; `archives.pack` reads the bytes."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import IO, BinaryIO, cast

from runs.errors import InvalidSnapshot, SnapshotTooBig
from runs.services.archives import CHUNK_BYTES, LISTED_MAX, Entry, Limits, limit_text, problem_of_mode, shown

#: The largest piece of an archive's own bookkeeping (list of members, long header) that is read at once.
BOOKKEEPING_MAX_BYTES = 16 * 2**20

_ENDLESS = BOOKKEEPING_MAX_BYTES + 1
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8_NAME = 0x800
_SPOOL_BYTES = 4 * 2**20
#: A tar may unpack to this many times the limit, because ignored files are part of its one stream.
_TAR_ROOM = 4


class _BoundedReads:
    """A file that refuses to hand out a huge piece at once.

    zipfile and tarfile read what a header announces in one go (the central directory, a pax header), so this
    is what keeps memory flat. It has only the methods that those two use.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, lambda: True

    def read(self, size: int = -1) -> bytes:
        piece = b"" if size > BOOKKEEPING_MAX_BYTES else self._file.read(size if size >= 0 else _ENDLESS)
        if max(size, len(piece)) > BOOKKEEPING_MAX_BYTES:
            raise SnapshotTooBig(
                f"The archive's list of members is larger than {limit_text(BOOKKEEPING_MAX_BYTES)}.",
                field="source",
                hint="Take only the folder with your code, without environments and data.",
            )
        return piece


@contextmanager
def archive_entries(file: BinaryIO, *, limits: Limits) -> Iterator[list[Entry]]:
    """The members of a zip, tar or tar.gz; they can be opened inside the `with`. Raises InvalidSnapshot."""
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        with _gunzip(file, limits=limits) as plain, _tar_entries(plain, limits=limits) as entries:
            yield entries
    elif head[257:262] == b"ustar":
        with _tar_entries(file, limits=limits) as entries:
            yield entries
    else:
        with _zip_entries(file, limits=limits) as entries:
            yield entries


def archive_size(file: BinaryIO) -> int:
    """The size of the archive itself in bytes."""
    return file.seek(0, os.SEEK_END)


def _not_readable(kind: str, error: Exception) -> InvalidSnapshot:
    return InvalidSnapshot(
        f"This is not a {kind} archive that can be read: {str(error).rstrip('.')}.",
        field="source",
        hint="Take a .zip, .tar or .tar.gz that opens elsewhere.",
    )


def _too_many(limits: Limits) -> SnapshotTooBig:
    return SnapshotTooBig(
        f"The archive lists more than {LISTED_MAX:,} members; a snapshot has at most {limits.max_files:,}.",
        field="source",
        hint="Take only the folder with your code, without environments and data.",
    )


@contextmanager
def _zip_entries(file: BinaryIO, *, limits: Limits) -> Iterator[list[Entry]]:
    try:
        archive = zipfile.ZipFile(cast(IO[bytes], _BoundedReads(file)))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise _not_readable("zip", error) from error
    with archive:
        if len(archive.infolist()) > LISTED_MAX:
            raise _too_many(limits)
        yield [
            Entry(
                name=_zip_name(info),
                size=info.file_size,
                open=partial(archive.open, info),
                is_folder=_zip_is_folder(info),
                executable=_zip_executable(info),
                problem=_zip_problem(info),
            )
            for info in archive.infolist()
        ]


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name as it stands in the archive; zipfile itself cuts it at a NUL.

    Many tools write UTF-8 without saying so, which zipfile then reads as cp437.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8_NAME:
        try:
            return name.encode("cp437").decode()
        except UnicodeError:
            return name
    return name


def _zip_is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith("/")  # is_dir() fails on an empty name


def _zip_problem(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if _zip_is_folder(info):
        return ""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that is not taken; use plain deflate"
    return problem_of_mode(info.external_attr >> 16)


def _zip_executable(info: zipfile.ZipInfo) -> bool | None:
    mode = info.external_attr >> 16
    return bool(mode & stat.S_IXUSR) if mode else None


@contextmanager
def _gunzip(file: BinaryIO, *, limits: Limits) -> Iterator[IO[bytes]]:
    """The plain bytes in a temporary file, within limits: members can then be read in any order."""
    most = min(_TAR_ROOM * limits.max_bytes, max(16 * 2**20, limits.max_ratio * archive_size(file)))
    file.seek(0)
    total = 0
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as plain:
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:  # or it takes the mode of the file
                while chunk := stream.read(CHUNK_BYTES):
                    total += len(chunk)
                    if total > most:
                        raise SnapshotTooBig(
                            f"The archive unpacks to more than {limit_text(most)}.",
                            field="source",
                            hint=f"A snapshot may have {limit_text(limits.max_bytes)}.",
                        )
                    plain.write(chunk)
        except (OSError, EOFError, zlib.error) as error:
            raise _not_readable("gzip", error) from error
        plain.seek(0)
        yield plain


@contextmanager
def _tar_entries(file: IO[bytes], *, limits: Limits) -> Iterator[list[Entry]]:
    entries: list[Entry] = []
    try:
        archive = tarfile.open(fileobj=cast(IO[bytes], _BoundedReads(file)), mode="r:")  # noqa: SIM115
        for member in archive:
            entries.append(_tar_entry(archive, member))
            if len(entries) > LISTED_MAX:
                raise _too_many(limits)
        file.seek(archive.offset)
        if file.read(512).strip(b"\0"):
            raise tarfile.ReadError("it is damaged after " + shown(entries[-1].name))
    except (tarfile.TarError, ValueError, OSError, EOFError, RecursionError) as error:
        raise _not_readable("tar", error) from error
    with archive:
        yield entries


def _tar_entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    problem = ""
    if member.issym() or member.islnk():
        problem = "is a link"
    elif member.issparse():
        problem = "is stored as a sparse file"
    elif not member.isfile() and not member.isdir():
        problem = "is not a regular file"
    return Entry(
        name=member.name,
        size=max(0, member.size),
        open=partial(_open_tar_member, archive, member),
        is_folder=member.isdir(),
        executable=bool(member.mode & stat.S_IXUSR),
        problem=problem,
    )


def _open_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> AbstractContextManager[IO[bytes]]:
    file = archive.extractfile(member)
    if file is None:
        raise tarfile.ReadError("it has no content")
    return file
