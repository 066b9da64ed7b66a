"""Freezing a folder: which files, their canonical digest, and handing them over if the server lacks them."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from studio_client.api import Api
from studio_client.errors import InvalidSource, NotFound, SourceEmpty, SourceTooBig, TooBig
from studio_client.ignore import IGNORE_FILES, Rules, always_left_out, ways_to
from studio_client.progress import Progress

MAX_BYTES = 300 * 2**20
MAX_FILES = 2000
#: Lifts the limit on the number of files, as it did for Azure ML.
NO_FILE_LIMIT = "AML_SNAPSHOT_NO_FILE_LIMIT"

_CHUNK = 1 << 20
_SPOOL_BYTES = 8 << 20
_LARGEST_SHOWN = 5
#: The part of either limit that an ignore line has to save for it to be proposed.
_WORTH_A_LINE = 0.01
_EPOCH = (1980, 1, 1, 0, 0, 0)
#: The server packs what it keeps anew, so that here only the way there counts.
_LEVEL = 1
#: What shrinks to no less than this part of its size is sent as it is.
_WORTH_DEFLATING = 0.95


class SourceFile:
    """One file of a folder, with what the digest needs."""

    __slots__ = ("executable", "path", "place", "sha256", "size")

    def __init__(self, path: str, place: str, size: int, sha256: str, executable: bool) -> None:
        self.path = path
        self.place = place
        self.size = size
        self.sha256 = sha256
        self.executable = executable


def take(
    api: Api, workspace: str, folder: str | os.PathLike[str], *, script: str = "", quiet: bool = False
) -> str:
    """The digest of the folder's snapshot on the server, which is sent only what it lacks.

    At a terminal it says how far it is with a large one, unless `quiet`. Raises InvalidSource and
    SourceTooBig, whose advice spares the script, before anything is sent, SourceTooBig also if the server, or
    a proxy before it, takes no more, and what `Api` raises.
    """
    with Progress(api.transport, quiet=quiet) as progress:
        files = read(folder, script=script, progress=progress)
        digest = manifest_digest(files)
        try:
            api.snapshot(workspace, digest)
        except NotFound:
            with packed(files, progress=progress) as archive:
                sent = progress.reading("Uploading the snapshot", archive)
                try:
                    digest = str(api.put_snapshot(workspace, sent)["digest"])
                except TooBig as error:
                    raise SourceTooBig(error.message, hint=error.hint) from error
                progress.end("Uploaded the snapshot.")
    return digest


def read(
    folder: str | os.PathLike[str],
    *,
    script: str = "",
    environ: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> list[SourceFile]:
    """The files that a snapshot of this folder (or of this one file) has, sorted by path, each read once."""
    root = os.path.abspath(os.fspath(folder))
    if os.path.isfile(root):
        found = [(os.path.basename(root), root, os.stat(root))]
        rules_name = ""
    elif os.path.isdir(root):
        rules, rules_name = _rules(root)
        found = list(_walk(root, "", rules, ()))
    else:
        raise InvalidSource(f"There is no folder {root}.")
    _check_limits(root, found, rules_name, script, os.environ if environ is None else environ)
    if not found:
        if rules_name:
            raise InvalidSource(f"The folder {root} has no file in it, or all are left out by {rules_name}.")
        raise SourceEmpty(f"The folder {root} has no file in it, but for .git and caches, if any.")
    if progress:
        progress.begin("Reading the folder", sum(status.st_size for _, _, status in found))
    passed = progress.add if progress else _nobody
    return [_read_one(*one, passed) for one in sorted(found, key=lambda one: one[0].encode())]


def left_out_by(folder: str, path: str) -> str:
    """The ignore file that keeps this path, with slashes, out of the folder's snapshot; "" if it travels.

    For what never travels it is a word for that.
    """
    rules, name = _rules(folder)
    if any(always_left_out(above) for above, _ in ways_to(path)):
        return "a rule of Studio"
    return name if rules.leave_out_file(path) else ""


def manifest_digest(files: list[SourceFile]) -> str:
    """The name of this content: sha256 over one line `<sha256> <644 or 755> <size> <path>` a file, sorted by
    path.
    """
    manifest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path.encode()):
        mode = "755" if file.executable else "644"
        manifest.update(f"{file.sha256} {mode} {file.size} {file.path}\n".encode())
    return manifest.hexdigest()


def packed(files: list[SourceFile], *, progress: Progress | None = None) -> IO[bytes]:
    """The files as a zip, to be closed by the caller.

    Raises InvalidSource if one changed since it was read.
    """
    if progress:
        progress.begin("Packing the snapshot", sum(file.size for file in files))
    target: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 (given to the caller)
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
            for file in files:
                _add(archive, file, progress.add if progress else _nobody)
        target.seek(0)
    except BaseException:
        target.close()
        raise
    return target


def _rules(root: str) -> tuple[Rules, str]:
    for name in IGNORE_FILES:
        try:
            with open(os.path.join(root, name), encoding="utf-8-sig", errors="replace") as file:
                return Rules(file.read().splitlines()), name
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InvalidSource(f"{os.path.join(root, name)} cannot be read: {error.strerror}.") from None
    return Rules(), ""


def _walk(
    root: str, below: str, rules: Rules, above: tuple[str, ...]
) -> Iterator[tuple[str, str, os.stat_result]]:
    """What lies below one folder, as (path, place, status);
    links are followed, unless they lead in a circle.
    """
    place = os.path.join(root, *below.split("/")) if below else root
    real = os.path.realpath(place)
    if real in above:
        raise InvalidSource(
            f"{place} is a link that leads back into itself.", hint=f"Leave it out with the line `/{below}`."
        )
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidSource(f"{place} cannot be read: {error.strerror}.") from None
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        is_folder = entry.is_dir()
        if always_left_out(path) or rules.leaves_out(path, is_folder=is_folder):
            continue
        _check_name(entry.name, place, path)
        if is_folder:
            yield from _walk(root, path, rules, (*above, real))
            continue
        yield path, entry.path, _status(entry, path)


def _check_name(name: str, folder: str, path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        line = "".join("?" if "\ud800" <= letter <= "\udfff" else letter for letter in path)
        raise InvalidSource(
            f"The name of {os.fsencode(name)!r} in {folder} is not UTF-8.",
            hint=f"Rename it, or leave it out with the line `/{line}` in .amlignore.",
        ) from None


def _status(entry: os.DirEntry[str], path: str) -> os.stat_result:
    help_line = f"Leave it out with the line `/{path}` in .amlignore."
    try:
        status = entry.stat()
    except OSError as error:
        raise InvalidSource(f"{entry.path} cannot be read: {error.strerror}.", hint=help_line) from None
    if not stat.S_ISREG(status.st_mode):
        raise InvalidSource(f"{entry.path} is not a regular file.", hint=help_line)
    return status


def _check_limits(
    root: str,
    found: list[tuple[str, str, os.stat_result]],
    rules_name: str,
    script: str,
    environ: Mapping[str, str],
) -> None:
    total = sum(status.st_size for _, _, status in found)
    unlimited = environ.get(NO_FILE_LIMIT, "").strip().lower() not in ("", "0", "false")
    lifted = ""
    if total > MAX_BYTES:
        size, most = f"{total / 2**20:,.0f} MB", f"{MAX_BYTES // 2**20} MB"
        reason = f"The folder {root} has {size}; the limit of a snapshot is {most}."
    elif len(found) > MAX_FILES and not unlimited:
        reason = (
            f"The folder {root} has {len(found):,} files; the limit of a snapshot is {MAX_FILES:,} files."
        )
        lifted = (
            f" {NO_FILE_LIMIT}=True lifts this limit; that of the server is raised by who runs it, with "
            "STUDIO_SNAPSHOT_MAX_FILES."
        )
    else:
        return
    largest = sorted(found, key=lambda one: -one[2].st_size)[:_LARGEST_SHOWN]
    listed = ", ".join(f"{path} ({status.st_size / 2**20:,.1f} MB)" for path, _, status in largest)
    rules = os.path.join(root, rules_name or ".amlignore")
    line = _suggestion([(path, status.st_size) for path, _, status in found], script)
    example = f", such as `{line}`" if line else ""
    raise SourceTooBig(
        f"{reason} Largest: {listed}.",
        hint=f"Name what need not travel in {rules}, one line each{example}.{lifted}",
    )


def _suggestion(found: list[tuple[str, int]], script: str) -> str:
    """The line that leaves out most and spares the script: a folder, else a file or all files of an ending.

    "" if there is none.
    """
    weight: dict[str, float] = {}
    for path, size in found:
        parts = path.split("/")
        lines = [f"/{'/'.join(parts[:depth])}/" for depth in range(1, len(parts))]
        ending = os.path.splitext(parts[-1])[1]
        for line in (*lines, f"/{path}", *([f"*{ending}"] if ending else [])):
            weight[line] = weight.get(line, 0) + size / MAX_BYTES + 1 / MAX_FILES
    for line in sorted(weight, key=lambda line: (-round(weight[line], 6), line.startswith("*"), len(line))):
        if weight[line] < _WORTH_A_LINE:
            break
        if not Rules([line]).leave_out_file(script):
            return line
    return ""


def _nobody(size: int) -> None:
    """Nobody is told."""


def _read_one(path: str, place: str, status: os.stat_result, passed: Callable[[int], None]) -> SourceFile:
    content, size, start = hashlib.sha256(), 0, b""
    try:
        with open(place, "rb") as file:
            while chunk := file.read(_CHUNK):
                start = start or chunk[:2]
                size += len(chunk)
                content.update(chunk)
                passed(len(chunk))
    except OSError as error:
        raise InvalidSource(f"{place} cannot be read: {error.strerror}.") from None
    executable = start == b"#!" if os.name == "nt" else bool(status.st_mode & stat.S_IXUSR)
    return SourceFile(path, place, size, content.hexdigest(), executable)


def _add(archive: zipfile.ZipFile, file: SourceFile, passed: Callable[[int], None]) -> None:
    written = hashlib.sha256()
    with open(file.place, "rb") as source:
        chunk = source.read(_CHUNK)
        # A name alone is deflated as the archive says; a ZipInfo not at all, unless it says so itself.
        member = file.path if _shrinks(chunk) else zipfile.ZipInfo(file.path, _EPOCH)
        with archive.open(member, "w", force_zip64=file.size >= 2**31) as target:
            while chunk:
                written.update(chunk)
                target.write(chunk)
                passed(len(chunk))
                chunk = source.read(_CHUNK)
    info = archive.infolist()[-1]
    info.create_system = 3  # Unix, so that the mode counts
    info.external_attr = (stat.S_IFREG | (0o755 if file.executable else 0o644)) << 16
    if written.hexdigest() != file.sha256:
        raise InvalidSource(f"{file.place} changed while it was read.", hint="Try again.")


def _shrinks(start: bytes) -> bool:
    """Whether deflating a file that begins so is worth its time: what is compressed already never is."""
    return len(zlib.compress(start, _LEVEL)) < _WORTH_DEFLATING * len(start)
