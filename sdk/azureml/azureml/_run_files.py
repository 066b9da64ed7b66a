"""Files of a run: to the server and back. Logs count as files, too."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Callable

from studio_client.downloads import log_bytes, written_whole
from studio_client.image_entries import MARK_LETTERS

from azureml._translate import translated
from azureml.exceptions import (
    AzureMLAggregatedException,
    AzureMLException,
    UserErrorException,
)

if TYPE_CHECKING:
    from studio_client.api import Api
    from studio_client.sender import MetricSender

_SPOOL_BYTES = 8 << 20
#: How PNG, JPEG, GIF, BMP and TIFF begin; WebP is not told by its first bytes alone.
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
#: The most bytes of a part of a path on the server, and what letters are never in one.
_PART_BYTES, _REFUSED_KINDS = 255, ("Cc", "Cs", "Zl", "Zp")
_MARK_BYTES = len("_") + MARK_LETTERS


def _spooled() -> Any:
    """A file that stays in memory while it is small."""
    import tempfile

    return tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)


def clean_name(name: str) -> str:
    """The path of a file in a run, with slashes. Raises UserErrorException for one that leads elsewhere."""
    text = name.replace("\\", "/") if os.name == "nt" else name
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise UserErrorException(
            f"{name!r} is no name for a file of a run; take one such as outputs/model.pkl."
        )
    return "/".join(parts)


def upload(api: Api, run_id: str, name: str, source: Any, *, overwrite: bool = False) -> str:
    """Keep a file, by its path or from a binary stream, with a run; the name that it has there."""
    name = clean_name(name)
    check_source(source)
    with _readable(source) as file, translated:
        api.put_artifact(run_id, name, file, overwrite=overwrite)
    return name


def check_source(source: Any) -> None:
    """Raises FileNotFoundError for a path without a file, UserErrorException for what is no stream either."""
    if isinstance(source, (str, os.PathLike)):
        if not os.path.isfile(source):
            raise FileNotFoundError(f"There is no file {os.fspath(source)}.")
    elif not hasattr(source, "read"):
        raise UserErrorException(
            f"A file is given by its path or as a binary stream, not as {type(source).__name__}."
        )


@contextmanager
def _readable(source: Any) -> Iterator[IO[bytes]]:
    """The source as a binary file that can be read twice."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield file
        return
    first = source.read(1 << 20)
    if not isinstance(first, bytes):
        raise UserErrorException("A stream has to be binary: open the file with mode 'rb'.")
    with _spooled() as copy:
        while first:
            copy.write(first)
            first = source.read(1 << 20)
        copy.seek(0)
        yield copy


def upload_all(files: Iterable[tuple[str, str]], keep: Callable[[str, str], str]) -> list[str]:
    """Keep files, given as (name, path), each by `keep`; their names.

    Tries all, and raises AzureMLAggregatedException for several.
    """
    names: list[str] = []
    problems: list[BaseException] = []
    for name, place in files:
        try:
            names.append(keep(name, place))
        except (AzureMLException, OSError) as error:
            problems.append(error)
    _raise_all(problems)
    return names


def files_below(prefix: str, folder: str) -> Iterator[tuple[str, str]]:
    """The files below a folder, as (name with the prefix, path)."""
    for here, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            place = os.path.join(here, file)
            inside = os.path.relpath(place, folder).replace(os.sep, "/")
            yield (f"{prefix}/{inside}" if prefix else inside), place


def file_names(api: Api, run_id: str) -> list[str]:
    """The names of all files kept with a run, logs too."""
    with translated:
        kept = [artifact["path"] for artifact in api.artifacts(run_id)]
        logs = [log["name"] for log in api.logs(run_id)]
    return sorted({*kept, *logs})


def place_for(name: str, output_file_path: str | None) -> str:
    """Where a file of a run goes: here, to this path or into this folder."""
    base = os.path.basename(name.rstrip("/"))
    place = os.fspath(output_file_path) if output_file_path else base
    if os.path.isdir(place) or place.endswith(("/", os.sep)):
        place = os.path.join(place, base)
    return place


def download(api: Api, run_id: str, name: str, place: str) -> None:
    """Write a file of a run. Parent folders are made; nothing half is ever seen under its name."""
    with written_whole(place) as target:
        _fetch(api, run_id, name, target)


def download_log(api: Api, run_id: str, name: str, place: str) -> str:
    """Write a log of a run; where it is."""
    with written_whole(place) as target, translated:
        for data in log_bytes(api, run_id, name):
            target.write(data)
    return os.path.abspath(place)


def download_snapshot(api: Api, run_id: str, place: str) -> str:
    """Write the zip of a run's snapshot; where it is."""
    with written_whole(place) as target, translated:
        api.get_snapshot(run_id, target)
    return os.path.abspath(place)


def _fetch(api: Api, run_id: str, name: str, target: IO[bytes]) -> None:
    from studio_client.errors import NotFound

    with translated:
        try:
            api.get_artifact(run_id, name, target)
            return
        except NotFound as error:
            if error.code not in ("not_found", "unknown_address", "http_404"):
                raise
        names = file_names(api, run_id)
        if name not in names:
            raise not_found(name, names)
        for data in log_bytes(api, run_id, name):
            target.write(data)


def not_found(name: str, names: list[str]) -> UserErrorException:
    """The error for a file that a run does not have; it names those there are."""
    listed = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return UserErrorException(
        f"File with path {name} was not found, available files include: {listed or 'none'}."
    )


def log_text(api: Api, run_id: str, name: str) -> str:
    """A log as text."""
    text = io.BytesIO()
    with translated:
        for data in log_bytes(api, run_id, name):
            text.write(data)
    return text.getvalue().decode("utf-8", "replace")


def download_all(
    kept: list[str],
    write: Callable[[str, str], None],
    prefix: str | None,
    folder: str,
    paths: list[str] | None,
    append_prefix: bool,
) -> None:
    """Write those of the files kept with a run whose names begin so, each by `write`.

    Raises UserErrorException for names that leave the folder.
    """
    start = (prefix or "").strip("/")
    names = [name for name in kept if not start or name == start or name.startswith(f"{start}/")]
    if prefix and not names:
        names = [name for name in kept if name.startswith(prefix)]
    if paths is not None and len(paths) != len(names):
        raise UserErrorException(f"There are {len(names)} files and {len(paths)} output paths.")
    problems: list[BaseException] = []
    for number, name in enumerate(names):
        short = name if append_prefix or name == start else name[len(start) :].lstrip("/")
        try:
            write(name, place_for(name, _inside(folder, paths[number] if paths else short)))
        except (AzureMLException, OSError) as error:
            problems.append(error)
    _raise_all(problems)


def _inside(folder: str, path: str) -> str:
    place = os.path.abspath(os.path.join(folder, path))
    if os.path.commonpath([os.path.abspath(folder), place]) != os.path.abspath(folder):
        raise UserErrorException(f"{path!r} leads out of {folder!r}.")
    return place


def _raise_all(problems: list[BaseException]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise AzureMLAggregatedException(problems)


def log_image(sender: MetricSender, name: str, path: str | None, plot: Any, description: str) -> None:
    """Log an image file under its own name, or a figure as `<name>_<unix seconds>.png`.

    What the server does not take in a path is replaced or cut; the metric keeps its name.
    """
    after = f"_{int(time.time())}"
    if path is not None:
        stem, ending = os.path.splitext(_storable(clean_name(os.path.basename(path))))
        spare = _cut(stem, after, _MARK_BYTES + len(ending.encode()))
        with open(path, "rb") as file:
            sender.log_image(name, file, _cut(stem, ending), spare, description)
        return
    stem, drawn = stem_of_plot(name), io.BytesIO()
    plot.savefig(drawn, format="png")
    sender.log_image(name, drawn, f"{stem}.png", stem, description)


def stem_of_plot(name: str) -> str:
    """What a plot that is logged now under this name is stored as, without its ending."""
    return _cut(_storable(clean_name(name)), f"_{int(time.time())}", _MARK_BYTES + len(".png"))


def _storable(name: str) -> str:
    """A clean name as the server takes it: what it refuses in a path becomes `_`."""
    import unicodedata  # rarely needed

    text = name.encode("utf-8", "replace").decode()
    text = "".join("_" if c == "\\" or unicodedata.category(c) in _REFUSED_KINDS else c for c in text)
    is_on_drive = text[1:2] == ":" and text[0].isascii() and text[0].isalpha()
    return f"{text[0]}_{text[2:]}" if is_on_drive else text


def _cut(stem: str, after: str, room: int = 0) -> str:
    """A path of this stem and what comes after it, where `room` more bytes may follow."""
    most = max(1, _PART_BYTES - len(after.encode()) - room)
    return "/".join(part.encode()[:most].decode(errors="ignore") for part in stem.split("/")) + after


def check_image(name: str, path: str | None, plot: Any) -> None:
    """Raises AzureMLException unless one is given, FileNotFoundError, and UserErrorException for a file
    that is none of the images that Studio shows, and for a plot that cannot be saved.
    """
    if (path is None) == (plot is None):
        raise AzureMLException(f"log_image takes a path or a plot for {name!r}, exactly one of them.")
    if path is None:
        if not callable(getattr(plot, "savefig", None)):
            raise UserErrorException(
                f"The plot of {name!r} is matplotlib.pyplot or a figure of it, with savefig, not "
                f"of type {type(plot).__name__}."
            )
        return
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path}.")
    with open(path, "rb") as file:
        head = file.read(12)
    if not head.startswith(_IMAGES) and not (head.startswith(b"RIFF") and head.endswith(b"WEBP")):
        raise UserErrorException(
            f"Malformed argument: {path} is no image. It takes PNG, JPEG, GIF, WebP, BMP or TIFF.",
            code="UserError",
            inner_error={"code": "BadArgument", "inner_error": {"code": "MalformedArgument"}},
        )
