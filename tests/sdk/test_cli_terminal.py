"""The command line on terminals of different widths, and what it says while the server is away."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell
from tests.sdk.screen import Screen, lines_of
from tests.sdk.wire import Wire

_RUN_ID = re.compile(r"widths_\d{10}_[0-9a-f]{8}")
HOLD = "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({!r}):\n    time.sleep(0.1)\n"
WAITING = "Waiting for the server at "


@pytest.fixture
def tagged(studio: Shell, train: Path) -> str:
    """A run in the experiment `widths` whose row is wide."""
    run_id = str(studio("studio run submit-script -e widths --async train.py").json["run_id"])
    labels = "--add-tag 'worth another look' --add-tag quality=good --display-name 'A name that is long'"
    assert studio(f"studio run update -r {run_id} {labels}").code == 0
    return run_id


@pytest.mark.parametrize("columns", [60, 80])
def test_a_list_of_runs_fits_the_terminal(studio: Shell, tagged: str, columns: int) -> None:
    shown = lines_of(Screen(studio, "studio run list -e widths -o table", columns).rest())
    assert max(map(len, shown)) <= columns
    assert shown[0].split()[0] == "Number"
    assert any(line.endswith(tagged) for line in shown[2:])
    piped = studio("studio run list -e widths -o table").out.splitlines()
    assert max(map(len, piped)) > 120
    assert "worth another look" in "\n".join(piped)


@pytest.mark.parametrize("columns", [30, 60, 80])
def test_a_live_table_fits_the_terminal(studio: Shell, tagged: str, columns: int) -> None:
    screen = Screen(studio, "studio run watch -e widths --interval 0.2", columns)
    screen.read_until(lambda shown: shown.count("Number") >= 3)
    screen.process.send_signal(signal.SIGINT)
    shown = lines_of(screen.rest())
    assert max(map(len, shown)) <= columns
    ids = [line.split()[-1] for line in shown if line[:1].isdigit()]
    assert tagged in ids or columns == 30
    for one in ids:
        assert _RUN_ID.fullmatch(one) or (columns == 30 and one.endswith("…")), shown


def test_no_color_takes_colours_and_leaves_the_live_table(studio: Shell, tagged: str) -> None:
    def shown(line: str) -> str:
        return Screen(studio, line, 120).rest()

    assert "\x1b[32mCompleted" in shown("studio run list -e widths -o table")
    assert "\x1b[34m" in shown(f"studio run show -r {tagged} -o jsonc")
    studio.env = {"NO_COLOR": "1"}
    assert "\x1b" not in shown("studio run list -e widths -o table")
    assert "\x1b" not in shown(f"studio run show -r {tagged} -o jsonc")
    screen = Screen(studio, "studio run watch -e widths --interval 0.2", 120)
    watched = screen.read_until(lambda shown: shown.count("Number") >= 3)
    screen.process.send_signal(signal.SIGINT)
    screen.rest()
    assert watched.count("F\x1b[J") >= 2
    assert "m" not in set(re.findall("\x1b\\[[?0-9;]*([A-Za-z])", watched))


def test_a_dumb_terminal_is_sent_text_alone(studio: Shell, tagged: str) -> None:
    studio.env = {"TERM": "dumb"}
    assert "\x1b" not in Screen(studio, "studio run list -e widths -o table", 120).rest()
    assert "\x1b" not in Screen(studio, f"studio run show -r {tagged} -o jsonc", 120).rest()
    watched = Screen(studio, "studio run watch -e widths --until-done", 120).rest()
    assert tagged in watched
    assert "\x1b" not in watched


def test_a_sentence_beside_a_live_table_wraps(studio: Shell, train: Path) -> None:
    assert studio("studio folder attach -w default -e none-so-far").code == 0
    shown = Screen(studio, "studio run watch --until-done", 40).rest()
    before, said, _ = shown.partition("of the attached folder has no runs yet.")
    assert said, shown
    assert before.rfind("\x1b[?7l") <= before.rfind("\x1b[?7h"), "the terminal does not wrap"


@pytest.fixture
def held(studio: Shell, folder: Path) -> Iterator[tuple[str, Path]]:
    """A run that ends once the file is there."""
    end = folder / "end"
    (folder / "hold.py").write_text(HOLD.format(str(end)))
    run_id = str(studio("studio run submit-script -e held --async hold.py").json["run_id"])
    wait_until(lambda: studio(f"studio run logs -r {run_id}").out == "begun\n")
    yield run_id, end
    end.touch()


@pytest.mark.parametrize(
    "line",
    [
        "studio run logs -r {} -f",
        "studio run monitor-logs -r {}",
        "studio run watch -e held --until-done --interval 0.2",
    ],
)
def test_whoever_follows_is_told_once_that_the_server_is_away(
    studio: Shell, held: tuple[str, Path], wire: Wire, line: str
) -> None:
    run_id, end = held
    studio.env = {"STUDIO_URL": wire.url}
    with studio.start(line.format(run_id)) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            begun = process.stderr if "monitor" in line else process.stdout
            while not re.search("begun|Running", begun.readline()):
                assert process.poll() is None
            wire.cut()
            while WAITING not in (said := process.stderr.readline()):
                assert process.poll() is None
            assert said == f"{WAITING}{wire.url} ...\n"
            end.touch()
            wire.mend()
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()  # if it has not ended
    assert process.returncode == 0, rest
    assert WAITING not in rest


def test_a_live_table_stands_below_the_word_that_the_server_is_away(
    studio: Shell, held: tuple[str, Path], wire: Wire
) -> None:
    _, end = held
    studio.env = {"STUDIO_URL": wire.url}
    screen = Screen(studio, "studio run watch -e held --until-done --interval 0.2", 80)
    screen.read_until(lambda shown: "Running" in shown)
    wire.cut()
    screen.read_until(lambda shown: f"{WAITING}{wire.url} ...\r\n" in shown)
    end.touch()
    wire.mend()
    after = screen.rest().partition(f"{WAITING}{wire.url} ...\r\n")[2]
    assert after.startswith("\x1b[J\x1b[?7lNumber"), after
    assert WAITING not in after
    assert screen.process.returncode == 0


@pytest.mark.parametrize("module", ["studio_client.errors", "click"])
def test_ctrl_c_while_the_program_loads_ends_it_without_a_word(studio: Shell, module: str) -> None:
    studio.env = {"PYTHONPROFILEIMPORTTIME": "1"}  # Python says on stderr what it has imported
    with studio.start("studio run list -w default --all-experiments") as process:
        assert process.stderr is not None
        while not process.stderr.readline().rstrip().endswith(module):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert out == ""
    assert [line for line in rest.splitlines() if not line.startswith("import time:")] == []
