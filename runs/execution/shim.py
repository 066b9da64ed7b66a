"""The process that watches one run's script: starts it, obeys the stop file and writes down how it ended.

`launch.start` runs this file as `python -I -S -E shim.py <folder> <lock fd>` in a session of its own, with
the order on standard input and launch.log as its output. It imports little of the standard library and
nothing of Studio, because every run waits for it, and because it has to outlive upgrades of everything else.
It is the subreaper of all that the script starts: whatever a descendant does (fork twice, setsid), it stays
below the shim, so "no child is left" is the proof that the run's processes are gone. What the worker has to
know, too, is kept here for that reason.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import os
import signal
import sys
import time

STD_LOG = "user_logs/std_log.txt"
OUTPUT = "output"  # the pipe with that name by which the script's output comes
LAUNCH_LOG, CODE = "system_logs/launch.log", "code"
STATE, ENDED, STOP = "state.json", "ended.json", "stop"
ROOM = "ended.room"  # becomes ended.json, which so needs no room on a disk that the run has filled
ROOM_BYTES = PUMP_BYTES = 64 << 10
PUMP_LIMIT_S = 1.0  # nothing more comes for so long from whoever holds the output open after the end
POLL_S = 0.1  # how often the stop file is looked for
LEFTOVER_GRACE_S = 2.0  # what a script left running gets this long after SIGTERM
KILL_LIMIT_S = 30.0  # a process that SIGKILL does not end by then sits in the kernel, or is not ours to kill
WRITE_PATIENCE_S = 7 * 86_400.0  # how long a full disk may keep back the result, which only we know
MEMORY_LOOK_S = 30.0  # SIGKILL is for want of memory if the kernel counted one at most twice this long before
ALWAYS = float("inf")
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

_libc = ctypes.CDLL(None, use_errno=True)


class Process:
    """One line of /proc/<pid>/stat. (pid, started) names a process for good; a pid alone does not."""

    __slots__ = ("group", "name", "parent", "pid", "session", "started", "state")

    def __init__(self, pid: int, stat: bytes) -> None:
        head, _, tail = stat.rpartition(b") ")  # the name may itself hold ") "
        fields = tail.split()
        self.pid = pid
        name = head.partition(b"(")[2].decode("utf-8", "replace")
        self.name = "".join(letter if letter.isprintable() else "?" for letter in name)
        self.state = fields[0].decode()
        self.parent, self.group, self.session = map(int, fields[1:4])
        self.started = int(fields[19])  # clock ticks since boot

    @property
    def is_alive(self) -> bool:
        return self.state not in "ZX"

    def __str__(self) -> str:
        return f"{self.pid} ({self.name})"


def read_process(pid: int) -> Process | None:
    """The process that has this pid now, zombies included, or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return Process(pid, file.read())
    except OSError:
        return None


def all_processes() -> list[Process]:
    """Every process that can be seen. Costs about 20 µs for each."""
    found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None]


def below(pid: int, processes: list[Process]) -> list[Process]:
    """Those of the processes that descend from pid, parents before children, without pid itself."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    waiting = [pid]
    while waiting:
        offspring = children.pop(waiting.pop(), [])
        found += offspring
        waiting += [process.pid for process in offspring]
    return found


def send(process: Process, number: int) -> bool:
    """Signal this very process; False when it is gone, its pid another's now, or it may not be signalled."""
    try:  # the pidfd first, the start time after it: so the pid cannot change hands in between
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = read_process(process.pid)
        if now is None or now.started != process.started or not now.is_alive:
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def boot_id() -> str:
    """What tells one boot of this machine from another."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it, however little the system takes at once."""
    while content:
        content = content[os.write(descriptor, content) :]


def write_whole(path: str, content: bytes, *, fresh: str = "") -> None:
    """Put a file in place, all of it or none, also at a power cut; `fresh` becomes it, and may have room."""
    fresh = fresh or f"{path}.{os.getpid()}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, content)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(fresh, path)


def log_line(text: str) -> bytes:
    """A line as launch.log has it: when, in UTC, and what."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{stamp}.{int(now % 1 * 1000):03d}Z {text}\n".encode("utf-8", "surrogateescape")


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory, in whatever control group."""
    try:
        with open("/proc/vmstat") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, ValueError):
        return 0


class Order:
    """What to run, as `launch.start` hands it over: fields parted by NUL, the first counts those after it.

    The environment comes this way, and not in a file, because it holds the run's token.
    """

    def __init__(self, data: bytes) -> None:
        count, *fields = data.split(b"\0")
        if len(fields) != int(count):
            raise ValueError("the order is not complete")
        self.grace_s = float(fields[0])
        self.time_limit_s = float(fields[1]) if fields[1] else None
        self.script, arguments = fields[2], int(fields[3])
        self.argv = fields[4 : 4 + arguments]
        pairs = (field.partition(b"=") for field in fields[4 + arguments :])
        self.env = {name: value for name, _, value in pairs}


class Watch:
    """One run from its start until nothing of it is left."""

    def __init__(self, folder: str, order: Order) -> None:
        self.folder, self.order = folder, order
        self.own_pid, self.pid = os.getpid(), 0
        self.status: int | None = None  # as waitpid gave it, once the script's own process has ended
        self.reason, self.phase = "exit", "watching"  # then "ending", then "killing"
        self.deadline = 0.0  # when the phase is over
        self.moment = ALWAYS  # what started later, in ticks, was not there when SIGTERM was sent
        self.terminated: dict[tuple[int, int], Process] = {}
        self.killed: dict[tuple[int, int], Process] = {}
        self.left: list[Process] = []
        self.kills_before = self.kills_lately = 0  # as of the last look but one, and of the last
        self.kills_seen = self.started_at = self.started = 0.0
        self.pumping, self.pumped = _thread.allocate_lock(), 0  # held while output may still come; its bytes

    def run(self) -> None:
        """Start the script, wait for its end, and write ended.json."""
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD})  # read with sigtimedwait
        self.kills_before = self.kills_lately = out_of_memory_kills()
        self.started_at, self.started = time.time(), time.monotonic()
        self.kills_seen = self.started
        self.reserve_room()
        stopped = os.path.exists(f"{self.folder}/{STOP}")
        problem = "" if stopped else self.start()
        # Studio stops a run by the stop file alone; a signal to all processes at shutdown is for the script.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if stopped:
            self.reason = "stopped"
            self.log("A stop was asked for before the start.")
        elif problem:
            self.reason = "launch"
            self.log(f"Could not start: {problem}")
        else:
            self.write_state()
            self.wait()
        self.write_ended(problem)

    def log(self, text: str) -> None:
        try:
            os.write(2, log_line(text))
        except OSError:  # the disk is full
            return

    def start(self) -> str:
        """Start the command; what hindered it, as a sentence, or ""."""
        if problem := self.script_problem():
            return problem
        try:
            output = os.open(f"{self.folder}/{STD_LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.mkfifo(f"{self.folder}/{OUTPUT}", 0o600)
            printed = os.open(f"{self.folder}/{OUTPUT}", os.O_RDONLY | os.O_NONBLOCK)
            printer = os.open(f"{self.folder}/{OUTPUT}", os.O_WRONLY)
            os.set_blocking(printed, True)
            reader, writer = os.pipe()
            self.pid = os.fork()
        except OSError as error:
            return f"{error.strerror}."
        if self.pid == 0:
            self.become_script(nothing, printer, writer)
        for descriptor in (printer, nothing, writer):
            os.close(descriptor)
        self.pumping.acquire()
        _thread.start_new_thread(self.pump, (printed, output))
        failure = os.read(reader, 32)  # closed by a successful exec
        os.close(reader)
        if not failure:
            return ""
        os.waitpid(self.pid, 0)
        return self.explain(int(failure))

    def pump(self, printed: int, output: int) -> None:
        """Copy what is printed into the log; a file itself would be emptied by `echo … > /dev/stderr`."""
        lost = 0  # on a full disk, as if the script had written it itself
        try:
            while data := os.read(printed, PUMP_BYTES):
                self.pumped += len(data)
                notice = f"\n[Studio] Disk full: up to {lost:,} bytes are missing here.\n" if lost else ""
                try:
                    write_all(output, notice.encode() + data)
                    lost = 0
                except OSError as error:
                    if not lost:
                        self.log(f"{STD_LOG} could not be written: {error.strerror}.")
                    lost += len(data)
        finally:
            self.pumping.release()

    def become_script(self, nothing: int, output: int, writer: int) -> None:
        """The child's way from fork to exec; never returns."""
        number = errno.EIO
        try:
            os.setsid()
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self.own_pid:  # the shim died before the line above
                os._exit(127)
            for valid in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(valid, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            take_default_priority()
            os.chdir(f"{self.folder}/{CODE}")
            for source, target in ((nothing, 0), (output, 1), (output, 2)):
                os.dup2(source, target)
            os.execvpe(self.order.argv[0], self.order.argv, self.order.env)  # noqa: S606  the user's command
        except OSError as error:
            number = error.errno or number
        finally:
            os.write(writer, str(number).encode())
            os._exit(127)

    def script_problem(self) -> str:
        """Why the script cannot be run, as far as looking at it tells; "" when it can, or there is none."""
        if not os.path.isdir(os.path.join(self.folder, CODE)):
            return "The folder with the snapshot is missing."
        if not self.order.script:
            return ""
        name = os.fsdecode(self.order.script)
        path = os.path.join(self.folder, CODE, name)
        if os.path.isdir(path):
            return f"{name} is a folder, not a script."
        if not os.path.exists(path):
            return f"There is no script {name} in the snapshot."
        if not os.access(path, os.R_OK):
            return f"Permission denied: the script {name} may not be read."
        return ""

    def explain(self, number: int) -> str:
        """The sentence for a failed exec."""
        name = os.fsdecode(self.order.argv[0])
        path = os.path.join(self.folder, CODE, name)
        if number == errno.ENOENT and "/" in name and os.access(path, os.R_OK):
            with open(path, "rb") as file:
                first = file.readline(200).decode("utf-8", "replace").strip()
            return f"The interpreter that the first line of {name} names is missing: {first}"
        return {
            errno.ENOENT: f"The interpreter or program {name} is missing on this node.",
            errno.EACCES: f"Permission denied: {name} may not be executed on this node.",
            errno.ENOEXEC: f"{name} is not a program, and its first line does not name an interpreter (#!).",
            errno.E2BIG: "The arguments and environment variables are too long for the system.",
        }.get(number, f"{name}: {os.strerror(number)}.")

    def wait(self) -> None:
        """Until no process of the run is left, or those left cannot be killed."""
        while self.reap() and self.decide(time.monotonic()):
            signal.sigtimedwait({signal.SIGCHLD}, self.nap_s())
        moves, seen = True, -1
        while moves and not self.pumping.acquire(timeout=PUMP_LIMIT_S):
            moves, seen = self.pumped > seen, self.pumped

    def reap(self) -> bool:
        """Take what has ended; whether any child, the script's or an orphan of its, is still there."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status = status
                self.moment = ALWAYS  # nobody is left who could need what it started
                code = os.waitstatus_to_exitcode(status)
                how = (
                    f"with exit code {code}"
                    if code >= 0
                    else f"by signal {-code} ({signal.strsignal(-code)})"
                )
                self.log(f"Process {pid} ended {how} after {time.monotonic() - self.started:.1f} s.")

    def decide(self, now: float) -> bool:
        """Move on from one phase to the next when it is time; False to give up."""
        if self.phase == "watching":
            self.leave_watching(now)
        elif self.phase == "ending":
            self.terminate()
            if now >= self.deadline:
                self.phase, self.deadline = "killing", now + KILL_LIMIT_S
        if self.phase == "killing":
            self.kill()
            return now < self.deadline or self.give_up()
        return True

    def leave_watching(self, now: float) -> None:
        limit = self.order.time_limit_s
        if self.status is not None:
            self.begin_ending("exit", now + LEFTOVER_GRACE_S, "The script left processes behind")
        elif os.path.exists(f"{self.folder}/{STOP}"):
            self.begin_ending("stopped", now + self.order.grace_s, "A stop was asked for")
        elif limit is not None and now >= self.started + limit:
            self.begin_ending("time_limit", now + self.order.grace_s, f"The limit of {limit:g} s is over")
        else:
            self.look_at_memory(now)

    def look_at_memory(self, now: float) -> None:
        """Forget the kills of long ago: in the days of a run the kernel may have killed something else."""
        if now >= self.kills_seen + MEMORY_LOOK_S:
            self.kills_before, self.kills_lately = self.kills_lately, out_of_memory_kills()
            self.kills_seen = now

    def begin_ending(self, reason: str, deadline: float, why: str) -> None:
        self.phase, self.reason, self.deadline = "ending", reason, deadline
        self.log(f"{why}.")
        moment = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))  # as of `started`
        self.terminate()
        if self.status is None:  # what a handler of SIGTERM starts from now on is left alone
            self.moment = moment

    def terminate(self) -> None:
        """SIGTERM, once, to each process that was there at the moment."""
        told = []
        for process in below(self.own_pid, all_processes()):
            key = process.pid, process.started
            if key in self.terminated or not process.is_alive or process.started >= self.moment:
                continue
            if send(process, signal.SIGTERM):
                send(process, signal.SIGCONT)  # a stopped process would never hear of it
                self.terminated[key] = process
                told.append(process)
        if told:
            self.log(f"SIGTERM to {', '.join(map(str, told))}.")

    def kill(self) -> None:
        new = []
        for process in below(self.own_pid, all_processes()):
            key = process.pid, process.started
            if process.is_alive and send(process, signal.SIGKILL) and key not in self.killed:
                self.killed[key] = process
                new.append(process)
        if new:
            self.log(f"SIGKILL to {', '.join(map(str, new))}.")

    def give_up(self) -> bool:
        self.left = [process for process in below(self.own_pid, all_processes()) if process.is_alive]
        self.log(f"Could not be killed: {', '.join(map(str, self.left))}.")
        return False

    def nap_s(self) -> float:
        if self.phase == "killing":
            return POLL_S / 4
        limit = self.order.time_limit_s
        end = (
            self.deadline if self.phase != "watching" else self.started + (ALWAYS if limit is None else limit)
        )
        return max(0.0, min(POLL_S, end - time.monotonic()))

    def reserve_room(self) -> None:
        """Take the room for ended.json while there is some: only the end of a run frees what it filled."""
        try:
            with open(f"{self.folder}/{ROOM}", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
        except OSError as error:
            self.log(f"No room could be kept for {ENDED}: {error.strerror}.")

    def write_state(self) -> None:
        script, own = read_process(self.pid), read_process(self.own_pid)
        self.log(f"Started process {self.pid}.")
        facts: dict[str, object] = {
            "boot_id": boot_id(),
            "shim_pid": self.own_pid,
            "shim_started": own.started if own else 0,
        }
        facts |= {"pid": self.pid, "started": script.started if script else 0, "started_at": self.started_at}
        self.write(STATE, facts, patience_s=0.0)

    def write_ended(self, problem: str) -> None:
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        if not problem and not self.left:
            self.log("No process of the run is left.")
        facts: dict[str, object] = {
            "reason": self.reason,
            "message": problem,
            "exit_code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "out_of_memory": self.died_of_memory(code),
            "time_limit_s": self.order.time_limit_s,
            "terminated": sorted(pid for pid, _ in self.terminated),
            "killed": sorted(pid for pid, _ in self.killed),
            "left": sorted(process.pid for process in self.left),
            "duration_s": round(time.monotonic() - self.started, 3),
            "ended_at": time.time(),
        }
        self.write(ENDED, facts, patience_s=WRITE_PATIENCE_S)

    def died_of_memory(self, code: int | None) -> bool:
        """SIGKILL that none of us sent, and the kernel counted one lately; 137 is how a shell hands it on."""
        by_us = any(pid == self.pid for pid, _ in self.killed)
        risen = out_of_memory_kills() > self.kills_before
        return code in (-signal.SIGKILL, 128 + signal.SIGKILL) and not by_us and risen

    def write(self, name: str, content: dict[str, object], *, patience_s: float) -> None:
        """Write a JSON file, waiting for room on a full disk; a folder that is gone needs none."""
        import json  # late: the script is running by now and need not wait for it

        data, pause_s = json.dumps(content, indent=1).encode(), 1.0
        fresh = f"{self.folder}/{ROOM}" if name == ENDED else ""
        while True:
            try:
                return write_whole(f"{self.folder}/{name}", data, fresh=fresh)
            except OSError as error:
                self.log(f"{name} could not be written: {error.strerror}.")
                if error.errno == errno.ENOENT or patience_s <= 0:
                    return None
            time.sleep(pause_s)
            patience_s, pause_s = patience_s - pause_s, min(2 * pause_s, 15.0)


def take_default_priority() -> None:
    """Undo what a node's manager may have set for the worker alone, as far as our rights go."""
    try:
        if os.getpriority(os.PRIO_PROCESS, 0):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        with open("/proc/self/oom_score_adj", "r+") as file:
            if file.read().strip() != "0":
                file.seek(0)
                file.write("0")
    except OSError:
        return


def main() -> None:
    """Watch one run to its end; the command line names its folder and the lock that is open."""
    folder, lock = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(lock, False)  # held, by being open, until the shim ends
    Watch(folder, Order(sys.stdin.buffer.read())).run()


if __name__ == "__main__":
    main()
