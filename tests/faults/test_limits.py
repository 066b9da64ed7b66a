"""What the system allows a process: few open files."""

from __future__ import annotations

import resource
from collections.abc import Callable

import psutil
import pytest

from tests.faults.test_up import node_of
from tests.fixtures.processes import StudioProcess
from tests.web_kit import Visitor

pytestmark = [pytest.mark.worker, pytest.mark.own_servers]

#: What a process may usually open.
FILES = 1_024
PRINT_LIMIT = "import resource\nprint('files', *resource.getrlimit(resource.RLIMIT_NOFILE))\n"


def test_a_folder_of_more_files_than_may_be_open(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    studio.start()
    psutil.Process(studio.pid).rlimit(psutil.RLIMIT_NOFILE, (FILES, FILES))
    files = {f"proj/part{number}.py": b"x = %d\n" % number for number in range(1_900)}
    answer = Visitor(studio).upload_folder(files)
    assert (answer.status, "1900 files" in answer.text) == (200, True), answer.text
    assert psutil.Process(studio.pid).num_fds() < 200


def test_the_web_server_opens_as_many_files_as_it_may_and_scripts_as_before(
    make_studio: Callable[..., StudioProcess],
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    usual = min(FILES, before[1] // 2), before[1]
    studio = make_studio()
    resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    try:
        studio.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert psutil.Process(studio.pid).rlimit(psutil.RLIMIT_NOFILE) == (before[1], before[1])
    assert node_of(studio).rlimit(psutil.RLIMIT_NOFILE) == usual
    visitor = Visitor(studio)
    run = visitor.submit(PRINT_LIMIT).location
    assert visitor.ended(run) == "Completed"
    assert visitor.log(run) == f"files {usual[0]} {usual[1]}\n"
