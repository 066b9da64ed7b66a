"""Images on their way to a real server: they wait as metrics do, and go before the entries that name them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from azureml.core import Experiment, Run, ScriptRunConfig, Workspace
from studio_client import images, spool_folder
from studio_client.api import Api

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell
from tests.sdk.live import Signed, environment_of
from tests.sdk.plots import Plot, png
from tests.sdk.spooling import spools, values
from tests.sdk.test_away import in_its_place
from tests.sdk.wire import Wire

START = "aml://artifactId/ExperimentRun/dcid."
#: Of a process of its own that logs to the run of its first argument.
HEAD = """
import os, sys, time
from azureml.core import Run, Workspace
from studio_client import spool
from tests.sdk.plots import Plot
run = Workspace.from_config().get_run(sys.argv[1])
"""


@pytest.fixture
def run(attached: Path, wire: Wire, signed_in: Signed, monkeypatch: pytest.MonkeyPatch) -> Run:
    """An interactive run, over the wire, in a folder with two pictures."""
    for shade, name in enumerate(("a.png", "b.png")):
        (attached / name).write_bytes(png(shade))
    monkeypatch.setenv("STUDIO_URL", wire.url)
    return Experiment(Workspace.from_config(), "images").start_logging(snapshot_directory=None, outputs=None)


def logged_from(run: Run, signed_in: Signed, code: str, url: str = "") -> subprocess.Popen[str]:
    """A process that logs to the run, over the wire if its address is given."""
    repository = str(Path(__file__).parents[2])
    env = environment_of(signed_in)
    env |= {"PYTHONPATH": f"{env['PYTHONPATH']}:{repository}", "STUDIO_URL": url or signed_in.url}
    words = [sys.executable, "-c", HEAD + code, run.id]
    return subprocess.Popen(
        words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def names_in(run: Run, name: str) -> list[str]:
    """The files that a metric of images names."""
    found = run.get_metrics(name)[name]
    return [one.removeprefix(f"{START}{run.id}/") for one in ([found] if isinstance(found, str) else found)]


def test_a_server_that_is_away_slows_nobody_and_loses_nothing(
    run: Run, wire: Wire, attached: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.cut()
    for number in range(3):
        run.log("n", number)
        began = time.monotonic()
        run.log_image("plot", plot=Plot(number))
        run.log_image("file", path="ab"[number % 2] + ".png")
        assert time.monotonic() - began < 1
    (attached / "a.png").write_bytes(b"gone meanwhile")
    run.log("n", 3)
    assert not run._sender.flush(1)
    wire.mend()
    run.complete()
    assert run.get_metrics("n") == {"n": [0, 1, 2, 3]}
    assert names_in(run, "file") == ["a.png", "b.png", "a.png"]
    plots = names_in(run, "plot")
    assert len(set(plots)) == 3
    assert set(run.get_file_names()) == {"a.png", "b.png", *plots}
    for number, name in enumerate([*plots, "a.png"]):
        run.download_file(name, "got.png")
        assert (attached / "got.png").read_bytes() == png(number % 3)
    assert spools(home) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert f"10 metrics of run {run.id} are not sent yet" in line


def test_an_image_is_among_the_files_at_once(run: Run, attached: Path) -> None:
    run.log_image("file", path="a.png")
    assert run.get_file_names() == ["a.png"]
    run.log_image("file", path="b.png")
    run.download_file("b.png", "got.png")
    assert (attached / "got.png").read_bytes() == png(1)


@pytest.mark.parametrize("is_sent_before", [False, True])
def test_what_differs_from_a_file_of_that_name_gets_another_one(
    run: Run, attached: Path, is_sent_before: bool
) -> None:
    for shade in (0, 1, 0, 2):
        (attached / "a.png").write_bytes(png(shade))
        run.log_image("file", path="a.png")
        if is_sent_before:
            run.flush()
    first, second, again, third = names_in(run, "file")
    assert (first, again) == ("a.png", "a.png")
    assert second.startswith("a_")
    assert third.startswith("a_")
    assert len({first, second, third}) == 3
    run.download_file(third, "got.png")
    assert (attached / "got.png").read_bytes() == png(2)


def test_as_many_as_differ_get_a_path_each_however_quickly_they_come(
    run: Run, wire: Wire, attached: Path
) -> None:
    pictures = [png() + str(number).encode() for number in range(30)]
    wire.cut()
    for picture in pictures:
        (attached / "a.png").write_bytes(picture)
        run.log_image("file", path="a.png")
    wire.mend()
    assert run._sender.flush(60)
    assert len(set(names_in(run, "file"))) == len(run.get_file_names()) == 30
    assert bytes(wire.seen).count(b"PUT /") <= 3 * 30
    for number in (0, 1, 29):
        run.download_file(names_in(run, "file")[number], "got.png")
        assert (attached / "got.png").read_bytes() == pictures[number]


ODD_NAMES = ["y: residuals", "two\nlines", "back\\slash", "/root", "像" * 85, "a/" + "x" * 250, "12:30"]


def test_a_name_that_is_no_path_costs_no_image(
    run: Run, attached: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longest = "像" * 83 + "a.png"
    for name in ODD_NAMES:
        run.log_image(name, plot=Plot(1))
        run.log_image(name, plot=Plot(2))
        run.log_image(name, plot=Plot(3))
    for file in ("y: 1.png", "two\nlines.png", "back\\slash.png", "plain: 2.png", longest):
        for shade in (1, 2):
            (attached / file).write_bytes(png(shade))
            run.log_image("file", path=file)
    run.flush()
    assert capsys.readouterr().err == ""
    files = names_in(run, "file")
    assert files[::2] == ["y_ 1.png", "two_lines.png", "back_slash.png", "plain: 2.png", longest]
    named = [*files, *(path for name in ODD_NAMES for path in names_in(run, name))]
    assert sorted(set(named)) == sorted(named) == sorted(run.get_file_names())
    assert len(named) == 10 + 3 * len(ODD_NAMES)
    assert {os.path.splitext(path)[1] for path in named} == {".png"}


def test_studio_sync_sends_those_of_a_killed_process(
    run: Run, signed_in: Signed, api: Api, home: Path, shell: Shell, wire: Wire
) -> None:
    code = "for n in range(3):\n    run.log('n', n)\n    run.log_image('plot', plot=Plot(n))\nos._exit(0)\n"
    code = "run.get_status()\nprint(flush=True)\nsys.stdin.readline()\n" + code
    process = logged_from(run, signed_in, code, wire.url)
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    wire.cut()
    _, said = process.communicate("\n", timeout=60)
    assert (process.returncode, said) == (0, "")
    (left,) = spools(home)
    assert len(list(left.glob("*.image"))) == 3
    (left / "unnamed.image").write_bytes(b"of a process that was killed before it could add its entry")
    wire.mend()
    assert shell("studio sync").json["sent"] == 6
    assert values(api, run.id)["n"] == [0, 1, 2]
    assert sorted(names_in(run, "plot")) == run.get_file_names()
    assert spools(home) == []


def test_one_that_is_never_taken_is_given_up_and_the_rest_arrives(
    run: Run, wire: Wire, attached: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.log_image("good", path="a.png")
    run.flush()
    wire.cut()
    for number in range(4):
        run.log_image("good", plot=Plot(number))
        run.log("n", number)
    run._sender.log_image("outside", io.BytesIO(png(1)), "../b.png", "..")
    run.log("n", 4)
    (attached / "c.bmp").write_bytes(b"BM of no use")
    run.log_image("gone", path="c.bmp")
    (spool,) = spools(home)
    (gone,) = (one for one in spool.glob("*.image") if one.read_bytes() == b"BM of no use")
    gone.unlink()
    run.log("n", 5)
    wire.mend()
    run.flush()
    refused, lost = capsys.readouterr().err.splitlines()
    assert refused.startswith(f"studio: run {run.id}: the server does not take an entry of 'outside': ")
    assert lost.endswith("an entry of 'gone': the image that waited on disk is gone.")
    assert run.get_metrics("n") == {"n": list(range(6))}
    assert run.get_file_names() == sorted(names_in(run, "good"))
    assert spools(home) == []


@pytest.mark.parametrize("status", [413, 429, 500, 502])
def test_what_answers_in_the_place_of_the_server_stops_no_script(
    run: Run, wire: Wire, signed_in: Signed, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    run.log("before", 1)
    run.flush()
    with in_its_place(status) as port:
        wire.lead_to(port)
        run.log_image("image", path="a.png")
        is_sent = run._sender.flush(1)
        wire.lead_to(signed_in.studio.port)
    lines = capsys.readouterr().err.splitlines()
    if status == 413:  # a proxy that takes no file of that size
        assert is_sent
        assert lines == [
            f"studio: run {run.id}: the server does not take an entry of 'image': "
            f"The server at {wire.url} answered 413."
        ]
    else:
        assert names_in(run, "image") == ["a.png"]


def test_an_answer_that_is_lost_makes_no_second_one(run: Run, wire: Wire) -> None:
    wire.cut()
    run.log_image("file", path="a.png")
    run.log_image("plot", plot=Plot(1))
    wire.mend()
    wire.lose_answers(3)
    assert run._sender.flush(60)
    assert wire.lost == 3
    assert sorted(names_in(run, "file") + names_in(run, "plot")) == run.get_file_names()


def test_a_flush_ends_in_time_in_the_midst_of_an_image(
    run: Run, wire: Wire, attached: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.log("before", 1)
    run.flush()
    wire.cut()
    (attached / "large.png").write_bytes(png() + bytes(32 << 20))
    run.log_image("file", path="large.png")
    wire.mend()
    wire.pause_s = 0.05  # some 25 seconds for all of it
    began = time.monotonic()
    assert not run._sender.flush(1)
    assert time.monotonic() - began < 5
    assert "the server takes too long." in capsys.readouterr().err
    wire.pause_s = 0.0
    assert run._sender.flush(60)
    assert names_in(run, "file") == run.get_file_names() == ["large.png"]


def test_a_fork_leaves_them_to_its_parent(run: Run, signed_in: Signed, wire: Wire) -> None:
    code = (
        "run.get_status()\nprint(flush=True)\nsys.stdin.readline()\nrun.log_image('plot', plot=Plot(1))\n"
        "pid = os.fork()\nrun.log_image('plot', plot=Plot(2 if pid else 3))\n"
        "if not pid:\n    os._exit(0)\nos.waitpid(pid, 0)\nprint(flush=True)\n"
        "sys.stdin.readline()\nassert run._sender.flush(60)\n"
    )
    process = logged_from(run, signed_in, code, wire.url)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    wire.cut()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "\n"
    wire.mend()
    _, said = process.communicate("\n", timeout=60)
    assert (process.returncode, said) == (0, "")
    assert len(set(names_in(run, "plot"))) == 3
    for name in names_in(run, "plot"):
        run.download_file(name, "got.png")
    assert sorted(names_in(run, "plot")) == run.get_file_names()


def test_a_full_disk_is_said_and_nothing_else_is_lost(run: Run, signed_in: Signed, wire: Wire) -> None:
    code = (
        "import resource\nfrom studio_client import images\nimages.MEMORY_BYTES = 300_000\n"
        "class Large(Plot):\n"
        "    def savefig(self, target, format):\n"
        "        super().savefig(target, format)\n        target.write(bytes(200_000))\n"
        "run.log('n', 0)\nassert run._sender.flush(60)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
        "spool.EVERY_S = 3600.0\n"
        "for n in (1, 2):\n    run.log('n', n)\n    run.log_image(f'p{n}', plot=Large(n))\n"
    )
    process = logged_from(run, signed_in, code)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    why = "File too large"
    assert said.splitlines() == [
        f"studio: run {run.id}: its metrics wait in memory, because they cannot be kept on disk: {why}",
        f"studio: run {run.id}: the image 'p2' is lost, because there is no room for it: {why}.",
    ]
    assert run.get_metrics("n") == {"n": [0, 1, 2]}
    assert names_in(run, "p1") == run.get_file_names()


def test_an_image_whose_entry_has_no_room_takes_none_either(
    run: Run, wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    wire.cut()
    run.log("n", 1)
    with monkeypatch.context() as full:
        for limit in ("DISK_BYTES", "MEMORY_BYTES"):
            full.setattr(spool_folder, limit, 0)
        run.log_image("p", plot=Plot(1), description="x" * 100_000)
    (spool,) = spools(home)
    assert not list(spool.glob("*.image"))
    assert "than there is room for" in capsys.readouterr().err
    monkeypatch.setattr(images, "DISK_BYTES", len(png(1)))
    run.log_image("q", plot=Plot(1))
    assert len(list(spool.glob("*.image"))) == 1


def test_they_leave_room_on_the_disk(
    run: Run, wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    size = len(png(1))
    monkeypatch.setattr(images, "DISK_BYTES", 2 * size + 5)
    monkeypatch.setattr(images, "MEMORY_BYTES", size + 5)
    wire.cut()
    for number in range(4):
        run.log_image(f"p{number}", plot=Plot(1))
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"studio: run {run.id}: the image 'p3' is lost, because there is no room for it."
    (spool,) = spools(home)
    assert len(list(spool.glob("*.image"))) == 2
    assert not run._sender._spool.is_on_disk  # type: ignore[union-attr]
    wire.mend()
    run.log("after", 1)
    wait_until(lambda: not run._sender.waiting())
    run.log_image("p4", plot=Plot(1))
    assert sorted(run.get_metrics()) == ["after", "p0", "p1", "p2", "p4"]


SUBMITTED = """
import os, struct, time
os.environ["STUDIO_URL"] = "http://127.0.0.1:9"
from azureml.core import Run
with open("a.bmp", "wb") as file:
    file.write(b"BM" + struct.pack("d", 0.5))
run = Run.get_context()
began = time.monotonic()
for number in range(2):
    run.log_image(f"p{number}", path="a.bmp")
    run.log("n", number)
print("slow" if time.monotonic() - began > 1 else "quick")
"""


def test_the_node_stores_those_of_a_submitted_script_whose_server_is_away(run: Run, attached: Path) -> None:
    (attached / "source").mkdir()
    (attached / "source" / "log.py").write_text(SUBMITTED)
    source = ScriptRunConfig(str(attached / "source"), "log.py", compute_target="local")
    submitted = run.experiment.submit(source)
    submitted.wait_for_completion()
    logs = submitted.get_details_with_logs()["logFiles"]
    assert "quick\n" in logs["user_logs/std_log.txt"]
    assert "4 metrics that the script had left were sent." in logs["system_logs/launch.log"]
    assert submitted.get_metrics("n") == {"n": [0, 1]}
    assert names_in(submitted, "p0") == names_in(submitted, "p1") == ["a.bmp"]
    assert "a.bmp" in submitted.get_file_names()
