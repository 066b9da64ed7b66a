"""Reading uploads that may be hostile: names, limits, and the one stored form of a snapshot.

Pure: no database, no storage. A source (zip, tar, list of files, folder) becomes a list of `Entry`, and
`pack` turns entries into a zip in a temporary file, judging the bytes that really come rather than
what a header says. Nothing is ever written under a name that came with an upload.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, pairwise
from operator import itemgetter
from pathlib import Path
from typing import IO, BinaryIO

from runs.errors import InvalidSnapshot, SnapshotTooBig
from runs.folding import spelled_out
from runs.formats import bytes_text
from runs.services import ignores

PATH_MAX_BYTES = 1_024
SEGMENT_MAX_BYTES = 255
#: So many names are looked at before ignore files are applied; past this a source is refused unread.
LISTED_MAX = 100_000

CHUNK_BYTES = 256 * 1024
_SPOOL_BYTES = 4 * 2**20
_RATIO_COUNTS_FROM_BYTES = 16 * 2**20
_LARGEST_SHOWN = 10
_WORTH_DEFLATING = 0.95
_DRIVE = re.compile(r"[A-Za-z]:")
_FORBIDDEN_KINDS = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: What the readers of archives and files raise for damage, encryption and methods they do not know.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # NotImplementedError is one
)
_EXECUTABLE, _PLAIN = stat.S_IFREG | 0o755, stat.S_IFREG | 0o644


@dataclass(frozen=True)
class Limits:
    """What a source may hold; `max_ratio` is how many times its archive's size it may unpack to."""

    max_bytes: int
    max_files: int
    max_ratio: int = 200


@dataclass(frozen=True)
class Entry:
    """One member of a source, named as the source names it.

    `size` is what the source claims. `executable` is None where the source cannot know; then a `#!` at the
    start of the file decides. `problem` says why the member cannot be taken ("is a symbolic link"); it is
    raised only if no ignore rule leaves the member out.
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    is_folder: bool = False
    executable: bool | None = None
    problem: str = ""


@dataclass(frozen=True)
class PackedFile:
    """One file of a packed source."""

    path: str
    size: int
    sha256: str
    executable: bool


@dataclass
class Packed:
    """A source as Studio keeps it: `file` is the zip, to be closed by the caller (or use `with`)."""

    file: IO[bytes]
    files: list[PackedFile]
    left_out: int = 0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        self.digest = manifest_digest(self.files)

    @property
    def size_bytes(self) -> int:
        """The size of the files, unpacked."""
        return sum(file.size for file in self.files)

    def __enter__(self) -> Packed:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def manifest_digest(files: Iterable[PackedFile]) -> str:
    """The name of this content: sha256 over the canonical manifest.

    One line a file, `<sha256> <644 or 755> <size> <path>`, each ended by a newline, sorted by the UTF-8 bytes
    of the path. Equal folders have equal digests, whatever archive brought them and whenever.
    """
    manifest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path.encode()):
        mode = "755" if file.executable else "644"
        manifest.update(f"{file.sha256} {mode} {file.size} {file.path}\n".encode())
    return manifest.hexdigest()


def shown(name: str) -> str:
    """A name as an error may show it: short, with invisible characters written out."""
    text = spelled_out(name[:200])
    return f"“{text}…”" if len(name) > 200 else f"“{text}”"


def check_name(name: str) -> str:
    """The name as a clean relative path with `/`, or InvalidSnapshot that says what is wrong with it.

    Any Unicode is fine; what is refused could lead out of the folder, or be two things to two systems.
    """
    path = name[2:] if name.startswith("./") else name
    path = path[:-1] if path.endswith("/") and len(path) > 1 else path
    wrong = wrong_with(path)
    if wrong:
        raise InvalidSnapshot(
            f"The name {shown(name)} {wrong}.", field="source", hint="Rename the file, or leave it out."
        )
    return path


def wrong_with(path: str) -> str:
    """What is wrong with it, to be read after “The name …”; "" for a clean relative path."""
    if any(unicodedata.category(c) in _FORBIDDEN_KINDS for c in path):
        return "has a control character in it"
    if "\\" in path:
        return "has a backslash in it; folders are separated by /"
    if path.startswith("/"):
        return "is an absolute path"
    if _DRIVE.match(path):
        return f"begins as a drive of Windows does ({path[:2]})"
    segments = path.split("/")
    if ".." in segments:
        return "leads out of its folder (..)"
    if "" in segments or "." in segments:
        return "has an empty part"
    if len(path.encode()) > PATH_MAX_BYTES:
        return f"is longer than {PATH_MAX_BYTES:,} bytes"
    if any(len(segment.encode()) > SEGMENT_MAX_BYTES for segment in segments):
        return f"has a part longer than {SEGMENT_MAX_BYTES} bytes"
    return ""


def file_entries(files: Iterable[tuple[str, BinaryIO]]) -> list[Entry]:
    """Uploaded files by their paths. They have to be seekable; they are read, and left open."""
    entries = []
    for name, file in files:
        size = file.seek(0, os.SEEK_END)
        entries.append(Entry(name=name, size=size, open=partial(_from_start, file)))
        _refuse_endless(entries)
    return entries


def _from_start(file: BinaryIO) -> AbstractContextManager[IO[bytes]]:
    file.seek(0)
    return nullcontext(file)


def folder_entries(folder: Path) -> list[Entry]:
    """The files below a folder of this machine. Links are a problem unless left out."""
    entries: list[Entry] = []
    for here, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if name not in ignores.ALWAYS_LEFT_OUT]
        linked = [name for name in folders if os.path.islink(os.path.join(here, name))]
        for name in (*files, *linked):
            path = Path(here, name)
            status = path.lstat()
            entries.append(
                Entry(
                    name=path.relative_to(folder).as_posix(),
                    size=status.st_size,
                    open=partial(_open_unlinked, path),
                    executable=bool(status.st_mode & stat.S_IXUSR),
                    problem=problem_of_mode(status.st_mode),
                )
            )
            _refuse_endless(entries)
    return entries


def problem_of_mode(mode: int) -> str:
    """Why a member of this file mode cannot be taken; "" for a regular file or an unknown mode."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    return "" if kind in (0, stat.S_IFREG) else "is not a regular file"


def _open_unlinked(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _unreadable(error: OSError) -> None:
    raise InvalidSnapshot(f"{error.filename} cannot be read: {error.strerror}.", field="source") from error


def _refuse_endless(entries: list[Entry]) -> None:
    if len(entries) > LISTED_MAX:
        raise SnapshotTooBig(
            f"The source lists more than {LISTED_MAX:,} files.",
            field="source",
            hint="Take only the folder with your code, without environments and data.",
        )


def pack(
    entries: list[Entry],
    *,
    limits: Limits,
    archive_bytes: int | None = None,
    unwrap: bool = False,
    whole: bool = False,
) -> Packed:
    """The source as a zip in a temporary file, with what is in it; deflated but for what does not shrink.

    Leaves out what the root `.amlignore` (else `.gitignore`) says, and always `.git`, `__pycache__` and the
    like; nothing if `whole`. `unwrap` drops a single top folder. `archive_bytes` is the size of the archive
    that the entries come from; it bounds the ratio. Reads every kept byte once; memory stays flat. Raises
    InvalidSnapshot and SnapshotTooBig, and has written nothing but the temporary file then.
    """
    named = [(check_name(entry.name), entry) for entry in entries]
    every = {path: entry for path, entry in _without_duplicates(named).items() if not entry.is_folder}
    members = {p: entry for p, entry in every.items() if whole or not ignores.always_left_out(p)}
    if unwrap:
        members = _unwrapped(members)
    rules_name, ignored = ("", set()) if whole else _ignored(members)
    kept = {path: members[path] for path in sorted(members, key=str.encode) if path not in ignored}
    _check_announced(kept, limits=limits, rules_name=rules_name, left_out=len(every) - len(kept))
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 (the caller closes it)
    try:
        files = _write(kept, spool, limits=limits, archive_bytes=archive_bytes)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return Packed(file=spool, files=files, left_out=len(every) - len(kept))


def _without_duplicates(named: list[tuple[str, Entry]]) -> dict[str, Entry]:
    """By path; two that a file system could take for one, or a file that is also a folder, are refused."""
    # NUL sorts first and is in no name, so what lies below a path comes right after it.
    keys = sorted(
        ((_identity(path).replace("/", "\0"), path, entry) for path, entry in named), key=itemgetter(0, 1)
    )
    for (key, path, entry), (next_key, next_path, next_entry) in pairwise(keys):
        if entry.is_folder:
            clash = key == next_key and not next_entry.is_folder
        else:
            clash = key == next_key or next_key.startswith(key + "\0")
        if clash:
            # Of what lies below, the part that is the folder's own name.
            clashing = "/".join(next_path.split("/")[: path.count("/") + 1])
            is_mixed = entry.is_folder or next_entry.is_folder or key != next_key
            raise _there_twice(path, clashing, is_mixed=is_mixed)
    return dict(named)


def _there_twice(path: str, other: str, *, is_mixed: bool) -> InvalidSnapshot:
    spelled = "" if path == other else f" (as {shown(path)} and as {shown(other)})"
    said = "is the name of a file and of a folder" if is_mixed else "is there twice"
    hint = "Names that differ only by case, or by how accents are encoded, count as one." if spelled else ""
    return InvalidSnapshot(
        f"{shown(path)} {said}{spelled}.", field="source", hint=hint or "Rename one of them, or leave it out."
    )


def _identity(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _unwrapped(members: dict[str, Entry]) -> dict[str, Entry]:
    tops = {path.split("/", 1)[0] for path in members}
    if len(tops) != 1 or not all("/" in path for path in members):
        return members
    # Checked again: what is harmless in a folder may be absolute without it, such as a:b.py.
    return {check_name(path.split("/", 1)[1]): entry for path, entry in members.items()}


def _ignored(members: Mapping[str, Entry]) -> tuple[str, set[str]]:
    """The ignore file in force ("" for none) and the paths that it leaves out."""
    for name in ignores.IGNORE_FILES:
        entry = members.get(name)
        if entry is not None and not entry.problem:
            with closing(_chunks(name, entry, ignores.IGNORE_FILE_MAX_BYTES + 1)) as chunks:
                head = next(chunks, b"")
            if len(head) > ignores.IGNORE_FILE_MAX_BYTES:
                limit = limit_text(ignores.IGNORE_FILE_MAX_BYTES)
                raise InvalidSnapshot(f"{name} is larger than {limit}.", field="source")
            return name, ignores.left_out(members, rules=head.decode("utf-8-sig", "replace"), rules_name=name)
    return "", set()


def _check_announced(kept: dict[str, Entry], *, limits: Limits, rules_name: str, left_out: int) -> None:
    """Refuse what cannot be taken, before a byte is unpacked."""
    for path, entry in kept.items():
        if entry.problem:
            raise InvalidSnapshot(
                f"{shown(path)} {entry.problem}.",
                field="source",
                hint=f"Leave it out with the line `/{path}` in `{rules_name or ignores.IGNORE_FILES[0]}`.",
            )
    if not kept:
        hint = f"All {left_out:,} were left out, see `{rules_name}`." if left_out and rules_name else ""
        raise InvalidSnapshot("The source has no file in it.", field="source", hint=hint)
    sizes = {path: entry.size for path, entry in kept.items()}
    if len(sizes) > limits.max_files:
        reason = f"The source has {len(sizes):,} files; the limit is {limits.max_files:,}."
        raise too_big(reason, sizes, limits=limits, rules_name=rules_name)
    if sum(sizes.values()) > limits.max_bytes:
        most = limit_text(limits.max_bytes)
        reason = f"The source has {bytes_text(sum(sizes.values()))}; the limit is {most}."
        raise too_big(reason, sizes, limits=limits, rules_name=rules_name)


def too_big(reason: str, sizes: Mapping[str, int], *, limits: Limits, rules_name: str = "") -> SnapshotTooBig:
    """The error that explains itself: the limit, the largest files, and the ignore line that would help."""
    largest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST_SHOWN]
    listed = ", ".join(f"{shown(path)} {bytes_text(size)}" for path, size in largest)
    line = ignores.line_that_helps(sizes, max_files=limits.max_files, max_bytes=limits.max_bytes)
    where = f"`{rules_name}`" if rules_name else f"a file `{ignores.IGNORE_FILES[0]}` at its root"
    help_line = f"The line `{line}` in {where} would help. " if line else ""
    setting = "FILES" if len(sizes) > limits.max_files else "BYTES"
    hint = f"{help_line}Who runs Studio sets the limit: STUDIO_SNAPSHOT_MAX_{setting}."
    largest_words = f" Largest: {listed}." if largest[0][1] else ""
    return SnapshotTooBig(f"{reason}{largest_words}", field="source", hint=hint)


def limit_text(size: int) -> str:
    """A limit as it was set: whole MiB or KiB where it is one."""
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if size and size % factor == 0:
            return f"{size // factor:,} {unit}"
    return bytes_text(size)


def copy(source: IO[bytes], target: IO[bytes], should_stop: Callable[[], bool]) -> bool:
    """Copy to the end; False if it was left off because `should_stop`, asked before each portion, said so."""
    while not should_stop():
        portion = source.read(CHUNK_BYTES)
        if not portion:
            return True
        target.write(portion)
    return False


def _chunks(path: str, entry: Entry, size: int = CHUNK_BYTES) -> Generator[bytes, None, None]:
    try:
        with entry.open() as file:
            while chunk := file.read(size):
                yield chunk
    except DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:
            raise InvalidSnapshot(
                f"{shown(path)} cannot be read: {error.strerror}.", field="source"
            ) from error
        raise InvalidSnapshot(
            f"{shown(path)} cannot be read: the archive is damaged there.",
            field="source",
            hint="Make the archive again, and open it elsewhere to see that it is whole.",
        ) from error


def _write(
    kept: dict[str, Entry], target: IO[bytes], *, limits: Limits, archive_bytes: int | None
) -> list[PackedFile]:
    files: list[PackedFile] = []
    total = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, entry in kept.items():
            packed = _write_one(archive, path, entry, room=_room(total, limits, archive_bytes))
            if packed is None:
                raise _past_limit(path, kept, limits=limits, archive_bytes=archive_bytes)
            files.append(packed)
            total += packed.size
    return files


def _room(total: int, limits: Limits, archive_bytes: int | None) -> int:
    """How many bytes may still come."""
    most = limits.max_bytes
    if archive_bytes is not None:
        most = min(most, max(_RATIO_COUNTS_FROM_BYTES, limits.max_ratio * archive_bytes))
    return most - total


def _past_limit(
    path: str, kept: dict[str, Entry], *, limits: Limits, archive_bytes: int | None
) -> InvalidSnapshot:
    if _room(0, limits, archive_bytes) < limits.max_bytes:
        return InvalidSnapshot(
            f"At {shown(path)} the archive unpacks to more than {limits.max_ratio} times its size.",
            field="source",
            hint="That is what a zip bomb does. Leave out files that hold little but zeros.",
        )
    sizes = {name: entry.size for name, entry in kept.items()}
    reason = f"With {shown(path)} the source passes the limit of {limit_text(limits.max_bytes)}."
    return too_big(reason, sizes, limits=limits)


def _write_one(archive: zipfile.ZipFile, path: str, entry: Entry, *, room: int) -> PackedFile | None:
    """Copy one member; None when more than `room` bytes come."""
    info = zipfile.ZipInfo(path)  # dated 1980: what it says depends on the content alone
    chunks = _chunks(path, entry)
    start = next(chunks, b"")
    info.compress_type = zipfile.ZIP_DEFLATED if _shrinks(start) else zipfile.ZIP_STORED
    executable, size, sha256 = entry.executable, 0, hashlib.sha256()
    with archive.open(info, "w", force_zip64=room >= 2**31) as target:
        for chunk in chain((start,), chunks):
            if not size and executable is None:
                executable = chunk.startswith(b"#!")
            size += len(chunk)
            if size > room:
                return None
            sha256.update(chunk)
            target.write(chunk)
    if size != entry.size:
        raise InvalidSnapshot(
            f"{shown(path)} has {size:,} bytes where {entry.size:,} were announced.", field="source"
        )
    info.external_attr = (_EXECUTABLE if executable else _PLAIN) << 16
    return PackedFile(path, size, sha256.hexdigest(), bool(executable))


def _shrinks(start: bytes) -> bool:
    """Whether deflating a file that begins so is worth its time: what is compressed already never is."""
    return len(zlib.compress(start, 1)) < _WORTH_DEFLATING * len(start)
