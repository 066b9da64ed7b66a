"""What a Studio costs that nobody uses: its start, its memory, and the first load of a page."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import Response, sync_playwright

from bench.processes import environment, manage, studio
from bench.table import Figure
from tests.chromium import find_chromium

SECTION = "Embedded, idle"
STARTS = 5
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def measure() -> list[Figure]:
    """Starts on a data folder that exists, memory after ten quiet seconds, one load in a fresh browser."""
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        env = environment(Path(folder))
        with studio(env):
            pass  # the first start makes the database
        starts = sorted(_start(env) for _ in range(STARTS))
        begin = time.perf_counter()
        manage(env, "version")
        floor = time.perf_counter() - begin
        with studio(env) as (url, process, _):
            time.sleep(10)
            memory = _pss_mib(process)
            link = manage({**env, "STUDIO_URL": url}, "link", "--user", "admin").strip().splitlines()[-1]
            requests, size = _first_load(link, url)
    return [
        Figure(SECTION, "start until the first answer, median", starts[STARTS // 2], "s", 2.0, floor,
               "manage.py that does nothing"),
        Figure(SECTION, "memory (PSS of all processes)", memory, "MiB", 200.0),
        Figure(SECTION, "first load of Runs, bytes", size / 1000, "kB", 250.0),
        Figure(SECTION, "first load of Runs, requests", requests, "", 12.0),
    ]  # fmt: skip


def _start(env: dict[str, str]) -> float:
    with studio(env) as (_, _, seconds):
        return seconds


def _pss_mib(process: psutil.Process) -> float:
    """Memory of a process and its children, what they share counted once."""
    family = [process, *process.children(recursive=True)]
    return sum(one.memory_full_info().pss for one in family) / 2**20


def _first_load(link: str, url: str) -> tuple[int, int]:
    """Requests and bytes on the wire of the Runs page with an empty cache."""
    got: list[Response] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=_FLAGS)
        signed_in = browser.new_context()
        page = signed_in.new_page()
        page.goto(link)
        if page.get_by_role("button", name="Sign in").count():
            page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{url}/**")
        fresh = browser.new_context(storage_state=signed_in.storage_state()).new_page()
        fresh.on("response", lambda response: got.append(response))
        fresh.goto(f"{url}/runs/", wait_until="networkidle")
        sizes = [response.request.sizes() for response in got]
        browser.close()
    return len(got), sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
