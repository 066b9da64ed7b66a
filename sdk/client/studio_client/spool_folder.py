"""The folder of one writer's spool: segments that wait, and a file that says how far they are sent.

    <spool>/<id>/state.json        whose it is, who logged it and when, and which entries are batch `seq`
    <spool>/<id>/00000001.entries  segments, oldest first; deleted once they are sent
    <spool>/<id>/<image>.image     an image that an entry names (`studio_client.images`); deleted after it

`state.json` is locked as long as the process that logs lives, so nobody else sends what it is sending. The
folder is locked by whoever sends what it has left, so neither that nor a look is taken for a process that
lives. What a batch holds is written down before it is sent: sent again, also by another process, it is the
same one, and the server stores it once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from studio_client import config
from studio_client.batches import Batch
from studio_client.images import SUFFIX as IMAGE_SUFFIX
from studio_client.images import Image, Images
from studio_client.segments import NAME, SLOT_BYTES, Label, Segment

try:
    import fcntl
except ImportError:  # not on Windows, where entries wait in memory
    fcntl = None  # type: ignore[assignment]

#: The first segment of a writer, and the largest; each is twice as large as the one before.
FIRST_BYTES, LARGEST_BYTES = 1 << 16, 1 << 20
#: What may wait on disk and, where that is full, in memory.
DISK_BYTES, MEMORY_BYTES = 1 << 30, 64 << 20
STATE = "state.json"
SUFFIX = ".entries"
_STATE_BYTES = 2048


def spool_folder() -> Path:
    """Where entries wait; `STUDIO_SPOOL_DIR` names another place."""
    return Path(os.environ.get("STUDIO_SPOOL_DIR") or config.config_folder() / "spool")


class Spool:
    """What one writer has logged and not sent yet. Adding and sending each need a lock of the caller's."""

    def __init__(self, state: dict[str, Any], folder: Path | None, *locks: int) -> None:
        self.url, self.run_id = str(state["url"]), str(state["run_id"])
        self.writer, self.seq = str(state["writer"]), int(state["seq"])
        self.by, self.made = str(state.get("by") or ""), state.get("made", 0.0)
        self.folder, self._locks = folder, locks  # the first is the descriptor of its state
        self._segments: list[Segment] = []
        self.images = Images()
        self._next_number, self._next_size = 1, FIRST_BYTES
        self._batch: Batch | None = None
        self._noted = 0, 0, 0
        self.added = self.sent = 0
        self.trouble: OSError | None = None  # why entries lie in memory only
        self.lost: OSError | None = None  # why entries cannot be sent any more
        self.has_grown = False  # a segment has become full, so sending need not wait for more

    @classmethod
    def create(cls, url: str, run_id: str, writer: str, seq: int, *, by: str) -> Spool:
        """A new one, on disk if that is possible; its next batch has the number after `seq`.

        `by` stands for who logs, as `Api.written_by` says it.
        """
        state = {
            "url": url,
            "run_id": run_id,
            "writer": writer,
            "seq": seq,
            "by": by,
            "made": time.time(),
        }
        spool = cls(state, None)
        place = spool_folder()
        fresh = place / f".{uuid.uuid4()}"  # nobody looks there before it is locked
        try:
            if fcntl is None:
                raise OSError(errno.ENOTSUP, "files cannot be locked on this system")
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.mkdir(mode=0o700)
            spool.folder, spool._locks = fresh, (_open(fresh / STATE, os.O_CREAT | os.O_EXCL),)
            _lock(spool._locks[0])
            spool._note(0, 0, 0)
            spool.folder = fresh.rename(place / fresh.name[1:])
        except OSError as error:
            spool.trouble = error
            spool._forget_folder(fresh)
        return spool

    @classmethod
    def take(cls, folder: Path) -> Spool | None:
        """What a process that is gone has left; None if a process has it or sends it, or it is sent.

        Raises ValueError if it is damaged.
        """
        with contextlib.ExitStack() as unless_taken:
            try:
                lock = _open(folder / STATE)
                unless_taken.callback(os.close, lock)
                turn = os.open(folder, os.O_RDONLY)
                unless_taken.callback(os.close, turn)
                if not (_share(lock) and _lock(turn) and _is_still(lock, folder / STATE)):
                    return None
                state = json.loads(os.read(lock, _STATE_BYTES))
                spool = cls(state, folder, lock, turn)
                spool._load(state)
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError, OSError) as error:
                raise ValueError(f"{folder} cannot be read: {error}") from error
            unless_taken.pop_all()
        return spool

    @property
    def waiting(self) -> int:
        """How many entries are not sent."""
        return self.added - self.sent

    @property
    def is_on_disk(self) -> bool:
        """Whether whoever comes after this process finds all that waits."""
        waiting = [one for one in list(self._segments) if one.sent < one.end]
        is_there = all(one.path is not None and one.path.exists() for one in waiting)
        return is_there and self.images.are_on_disk

    def sign(self, by: str) -> None:
        """Write down who logs, if more of that is known by now."""
        if by != self.by:
            self.by = by
            self._note(*self._noted)

    def add_image(self, image: Image) -> bool:
        """Keep the image that the next entry names; False if there is no room left anywhere."""
        is_kept = self.images.keep(image, self.folder)
        self.trouble = self.trouble or image.trouble
        return is_kept

    def add(self, label: Label, value: float | bytes, step: int, at: float) -> bool:
        """Keep what a segment keeps; False if there is no room left anywhere."""
        segments = self._segments
        if not segments or not segments[-1].add(label, value, step, at):
            segment = self._new_segment(_bytes_of(label) + (len(value) if isinstance(value, bytes) else 0))
            if segment is None or not segment.add(label, value, step, at):
                return False
        self.added += 1
        return True

    # Sending

    @property
    def has_image_next(self) -> bool:
        """Whether an image goes before the batch that was begun."""
        return self._batch is not None and any("file" in one for one in self._batch.images.values())

    def next_batch(self) -> Batch | None:
        """The batch to send now: the one that was not confirmed, else a new one. None if nothing waits.

        Raises OSError if it cannot be read now, as when the process has too many files open.
        """
        while self._batch is None:
            segment = next((one for one in self._segments if one.sent < one.end), None)
            if segment is None:
                return None
            try:
                batch = Batch(segment, segment.sent, segment.end)
            except FileNotFoundError as error:  # somebody has deleted it
                self.lost = error
                self.sent += segment.count - segment.sent_count
                self._segments.remove(segment)
                continue
            if batch.start == batch.end:
                return None
            if batch.count:
                self._begin(segment, batch)
            else:
                segment.sent = batch.end
        return self._batch

    def confirm(self) -> None:
        """The batch is with the server, or will never be: go on behind it."""
        batch, segment = self._batch, self._segments[0]
        assert batch is not None
        self._batch = None
        if batch.images:  # whoever comes after a kill must not look for images that are deleted
            self._note(_number(segment), batch.end, batch.end)
        for name in batch.images:
            self.images.drop(name, self.folder)
        segment.sent = batch.end
        segment.sent_count += batch.count
        self.sent += batch.count
        while len(self._segments) > 1 and self._segments[0].sent >= self._segments[0].end:
            self._segments.pop(0).delete()

    def shorten(self) -> bool:
        """Take half of the batch under the same number; False if it has one entry only."""
        batch, segment = self._batch, self._segments[0]
        assert batch is not None
        if batch.count < 2:
            return False
        slots = (batch.end - batch.start) // SLOT_BYTES
        half = Batch(segment, batch.start, batch.start + slots // 2 * SLOT_BYTES)
        if not half.count:  # names only
            segment.sent = half.end
            half = Batch(segment, half.end, batch.end)
        self.seq -= 1
        self._begin(segment, half)
        return True

    def skip(self) -> None:
        """Give the batch up; the next one takes its number."""
        self.seq -= 1
        self.confirm()

    def change_writer(self) -> None:
        """Go on as another writer, whose first batch this one is: the server has lost what came before."""
        assert self._batch is not None
        self.writer, self.seq = str(uuid.uuid4()), 0
        self._begin(self._segments[0], self._batch)

    def _begin(self, segment: Segment, batch: Batch) -> None:
        while self._segments[0] is not segment:
            self._segments.pop(0).delete()
        self.seq += 1
        self._batch = batch
        self._note(_number(segment), batch.start, batch.end)

    # Files

    def close(self) -> None:
        """Let go of it; whoever comes next sends what is left."""
        for segment in self._segments:
            segment.park()
        self._unlock()

    def delete(self) -> None:
        """Delete all of it."""
        for segment in self._segments:
            segment.delete()
        self._segments = []
        self.images.delete_all(self.folder)
        self._forget_folder(self.folder)

    def forget(self) -> None:
        """In the child of a fork: it is the parent's, whose lock ends with the parent alone."""
        self._segments = []
        self.images.forget()
        self._unlock()

    def _load(self, state: dict[str, Any]) -> None:
        assert self.folder is not None
        self._noted = state["segment"], state["start"], state["end"]
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            segment = Segment.found(path)
            self._segments.append(segment)
            if _number(segment) == state["segment"]:
                segment.sent = state["start"]
                sent = segment.read(0, segment.sent)
                segment.sent_count = sum(word >> 32 != NAME for word in sent.words)
                if self.seq and state["start"] < state["end"]:
                    self._batch = Batch(segment, state["start"], state["end"])
            self.added += segment.count - segment.sent_count
            segment.park()
        if self._batch is not None:
            self._drop_before(int(state["segment"]))

    def _drop_before(self, number: int) -> None:
        while self._segments and _number(self._segments[0]) < number:
            self._segments.pop(0).delete()

    def _new_segment(self, needed: int) -> Segment | None:
        size = max(self._next_size, (needed // SLOT_BYTES + 4) * SLOT_BYTES)
        segment = self._on_disk(size) or self._in_memory(size)
        if segment is not None:
            self.has_grown = bool(self._segments)
            full = self._segments[-1] if len(self._segments) > 1 else None
            self._segments.append(segment)
            if full is not None:
                full.park()
            self._next_size = min(LARGEST_BYTES, self._next_size * 2)
        return segment

    def _on_disk(self, size: int) -> Segment | None:
        if self.folder is None or self._bytes(on_disk=True) + size > DISK_BYTES:
            return None
        path = self.folder / f"{self._next_number:08}{SUFFIX}"
        self._next_number += 1
        try:
            return Segment.create(path, size)
        except OSError as error:
            self.trouble = error
            return None

    def _in_memory(self, size: int) -> Segment | None:
        if self._bytes(on_disk=False) + size > MEMORY_BYTES:
            return None
        try:
            return Segment(size)
        except OSError:
            return None

    def _bytes(self, *, on_disk: bool) -> int:
        return sum(one.size for one in self._segments if (one.path is not None) == on_disk)

    def _note(self, segment: int, start: int, end: int) -> None:
        """Write down what the batch `seq` holds, in one piece."""
        self._noted = segment, start, end
        if not self._locks:
            return
        state = {
            "url": self.url,
            "run_id": self.run_id,
            "writer": self.writer,
            "seq": self.seq,
            "by": self.by,
            "made": self.made,
            "segment": segment,
            "start": start,
            "end": end,
        }
        with contextlib.suppress(OSError):
            os.pwrite(self._locks[0], json.dumps(state).ljust(_STATE_BYTES - 1).encode() + b"\n", 0)

    def _forget_folder(self, folder: Path | None) -> None:
        self.folder = None
        if folder is not None:
            with contextlib.suppress(OSError):
                (folder / STATE).unlink()
            self._unlock()
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _unlock(self) -> None:
        locks, self._locks = self._locks, ()
        for lock in locks:
            os.close(lock)


def left_behind() -> list[tuple[Path, dict[str, Any]]]:
    """The spools of this person on this machine, with what their state says ({} if it is damaged).

    The oldest come first, so what several processes have left of one run keeps its order.
    """
    found = []
    with contextlib.suppress(FileNotFoundError):
        for folder in spool_folder().iterdir():
            if folder.name.startswith("."):
                _remove_if_stale(folder)
                continue
            try:
                state = json.loads((folder / STATE).read_bytes())
            except FileNotFoundError:
                continue
            except (ValueError, OSError):
                state = {}
            found.append((folder, state if isinstance(state, dict) else {}))
    return sorted(found, key=_age)


def is_abandoned(folder: Path) -> bool:
    """Whether this is what a process that is gone has left, and it is not all sent. Disturbs nobody."""
    try:
        lock = _open(folder / STATE)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    try:
        return _share(lock) and _is_still(lock, folder / STATE)
    finally:
        os.close(lock)


def _age(one: tuple[Path, dict[str, Any]]) -> tuple[float, str]:
    folder, state = one
    made = state.get("made")
    return (made if isinstance(made, (int, float)) else 0.0), folder.name


def _remove_if_stale(folder: Path) -> None:
    """A spool whose process was killed before it was one, or an image before it was in one."""
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime <= 3600:
            return
        if folder.name.endswith(IMAGE_SUFFIX):
            folder.unlink()
        else:
            (folder / STATE).unlink()
            folder.rmdir()


def _number(segment: Segment) -> int:
    return int(segment.path.name[: -len(SUFFIX)]) if segment.path else 0


def _bytes_of(label: Label) -> int:
    """The most that a label takes, each letter being escaped."""
    return SLOT_BYTES + 12 * sum(map(len, label)) + 16


def _open(path: Path, flags: int = 0) -> int:
    return os.open(path, os.O_RDWR | flags | getattr(os, "O_CLOEXEC", 0), 0o600)


def _lock(descriptor: int) -> bool:
    """Whether it is ours now, and ours alone."""
    return fcntl is None or _flock(descriptor, fcntl.LOCK_EX)


def _share(descriptor: int) -> bool:
    """Whether nobody has it alone; others may share it with us."""
    return fcntl is None or _flock(descriptor, fcntl.LOCK_SH)


def _flock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file has not been deleted by whoever had the lock before."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
