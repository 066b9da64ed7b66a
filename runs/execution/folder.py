"""The folder in which one attempt of a run lives on a node, and the files through which its parts speak.

<work>/<run_id>/<attempt>/
    code/             the unpacked snapshot and the script's working folder, with ./outputs and ./logs in it
    user_logs/        std_log.txt: what the script prints
    system_logs/      launch.log: what Studio did to start and stop it
    spool/            metrics that the script has logged and that are not sent yet
    launch.json       what was to be run          written once, by launch.start
    state.json        the processes, and the boot they belong to      by the shim
    ended.json        how it ended                                    by the shim, made of ended.room
    output            the pipe from the script to the shim; whoever reads it takes from the log
    stop              asks the shim to stop the run; its being there is the message
    lock              held by the shim as long as it lives
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from runs.errors import Conflict
from runs.execution import shim
from runs.execution.removal import empty_but, remove_tree

Facts = dict[str, Any]

#: A disk with less room is full: a database and its log may need so much at once.
FULL_BYTES = 64 << 20


class RunFolder:
    """One attempt's folder below the node's work folder `root`; making the object touches no disk."""

    def __init__(self, root: Path, run_id: str, attempt: int) -> None:
        if not run_id or run_id.startswith(".") or "/" in run_id or "\0" in run_id:
            raise ValueError(f"not a run id: {run_id!r}")
        self.root = Path(os.path.abspath(root))
        self.run_id = run_id
        self.attempt = attempt

    def __repr__(self) -> str:
        return f"<RunFolder {self.run_id}/{self.attempt}>"

    @property
    def path(self) -> Path:
        return self.root / self.run_id / str(self.attempt)

    @property
    def code(self) -> Path:
        return self.path / shim.CODE

    @property
    def outputs(self) -> Path:
        return self.code / "outputs"

    @property
    def script_logs(self) -> Path:
        """Where the script may write logs of its own."""
        return self.code / "logs"

    @property
    def outputs_of_script(self) -> tuple[Path, Path]:
        """What only processes of the run print to: the pipe, and the log where the shim is an older one."""
        return self.path / shim.OUTPUT, self.std_log

    @property
    def std_log(self) -> Path:
        return self.path / shim.STD_LOG

    @property
    def launch_log(self) -> Path:
        return self.path / shim.LAUNCH_LOG

    @property
    def spool(self) -> Path:
        """Where the SDK keeps metrics until they are sent; it need not exist."""
        return self.path / "spool"

    @property
    def launch_file(self) -> Path:
        return self.path / "launch.json"

    @property
    def state_file(self) -> Path:
        return self.path / shim.STATE

    @property
    def ended_file(self) -> Path:
        return self.path / shim.ENDED

    @property
    def stop_file(self) -> Path:
        return self.path / shim.STOP

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def holds_metrics(self) -> bool:
        """Whether there are metrics that are not stored yet; what is hidden there never got any.

        True for a folder that a script has made unreadable.
        """
        try:
            return any(not name.startswith(".") for name in os.listdir(self.spool))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def create(self) -> None:
        """Make the folder and those in it; what is there already stays."""
        for folder in (self.code, self.std_log.parent, self.launch_log.parent):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileNotFoundError:  # in that moment the run's folder went with an earlier attempt
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create_kept(self) -> None:
        """Make the folders whose files are kept, for the script to write to; what the source has stays."""
        for folder in (self.outputs, self.script_logs):
            with suppress(FileExistsError):  # also when it is a file
                folder.mkdir()

    def remove(self) -> None:
        """Delete the attempt with everything in it, and the run's folder with its last attempt.

        Metrics that are not stored yet are set aside instead, as `set_aside_spool` says.
        Raises Conflict while the attempt's process is watched. A folder that is not there is no error.
        """
        if self.is_watched():
            raise Conflict(f"Run {self.run_id} is still being executed, so its folder stays.")
        if self.path.exists():
            if self.holds_metrics:
                self.set_aside_spool.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not self.spool.is_symlink():
                    self.spool.chmod(0o700)  # what may not be written is not moved
                self.spool.rename(self.set_aside_spool)
            remove_tree(self.path)
        with suppress(OSError):  # while there are other attempts
            self.path.parent.rmdir()

    def make_room(self) -> None:
        """Delete what the script has left besides `outputs` and `logs`, if the disk of the folder is full."""
        with suppress(OSError):
            disk = os.statvfs(self.path)
            if disk.f_bavail * disk.f_frsize < FULL_BYTES:
                empty_but(self.code, (self.outputs.name, self.script_logs.name))

    @property
    def set_aside_path(self) -> Path:
        """Where `set_aside` moves the folder to; no attempt is looked for there."""
        return self.root / ".set-aside" / f"{self.run_id}-{self.attempt}"

    @property
    def set_aside_spool(self) -> Path:
        """Where metrics are in the end that could not be stored."""
        return self.set_aside_path / self.spool.name

    def set_aside(self) -> None:
        """Keep the folder for people, out of the way of everything that cleans up. Can be repeated."""
        self.set_aside_path.parent.mkdir(mode=0o700, exist_ok=True)
        if self.path.exists():
            self.path.rename(self.set_aside_path)

    def is_of_this_boot(self) -> bool:
        """Whether its processes belong to this machine since it was started; a copied folder's do not."""
        state = self.read_state()
        return self.is_watched() or (state is not None and state.get("boot_id") == shim.boot_id())

    def is_watched(self) -> bool:
        """Whether the shim lives, or is just being started.

        The lock belongs to the open file that `launch.start` hands to the shim, so the kernel gives it back
        when the shim ends in whatever way: unlike a pid it cannot be mistaken for a later process.
        """
        try:
            descriptor = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def read_launch(self) -> Facts | None:
        return _read(self.launch_file)

    def write_launch(self, facts: Facts) -> None:
        """Also safe from a power cut: a folder without this file is proof that nothing was started."""
        _write(self.launch_file, facts)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read_state(self) -> Facts | None:
        return _read(self.state_file)

    def write_state(self, facts: Facts) -> None:
        _write(self.state_file, facts)

    def read_ended(self) -> Facts | None:
        """How it ended, once it has; whoever reads this finds the logs complete."""
        return _read(self.ended_file)

    def write_ended(self, facts: Facts) -> None:
        _write(self.ended_file, facts)

    def request_stop(self) -> None:
        """Ask for a stop; asking again changes nothing. No error when the folder is gone."""
        try:
            self.stop_file.touch(mode=0o600)
        except FileNotFoundError:
            return

    @property
    def stop_requested(self) -> bool:
        return self.stop_file.exists()

    def note(self, text: str) -> None:
        """Add a line to launch.log, which people read."""
        try:
            with self.launch_log.open("ab", buffering=0) as file:
                file.write(shim.log_line(text))
        except FileNotFoundError:
            return


def run_folders(root: Path) -> Iterator[RunFolder]:
    """Every attempt that has a folder on this node, in no particular order."""
    for entry in root.glob("*/*"):
        if entry.name.isdigit() and entry.is_dir() and not entry.parent.name.startswith("."):
            yield RunFolder(root, entry.parent.name, int(entry.name))


def _read(path: Path) -> Facts | None:
    """The object in a JSON file; None when there is no file, or a crash of the machine has emptied it."""
    try:
        facts = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _write(path: Path, facts: Facts) -> None:
    shim.write_whole(str(path), json.dumps(facts, indent=1).encode())
