"""The Compute page in a browser: every look of it, its dialogs, and how it changes by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from runs.models import ComputeTarget, Node
from runs.status import Status
from studio.accounts.models import User
from tests.factories import make_node, make_run, make_target
from tests.fixtures.browser import LOOKS

pytestmark = pytest.mark.browser

BOX = {"cpus": 16, "memory_bytes": 64 * 2**30, "gpus": ["NVIDIA RTX A4000"] * 2, "python": "3.12.1"}


def fill(chi: User) -> None:
    """Three targets: one that idles, one in full use, one without nodes."""
    now = datetime.now(UTC)
    make_target("local", is_default=True)
    make_target("edge-lab")
    gpu = make_target("gpu-compute", description="Four boxes in the lab")
    mother = make_node("studio-host", slots=4)
    make_run(status=Status.RUNNING, node=mother, holds_slot=False, display_name="sweep")
    for number in (1, 2):
        node = make_node(f"gpu-box-{number}", target=gpu, facts=BOX)
        make_run(status=Status.RUNNING, node=node, target=gpu, display_name="train-xgb")
        make_run(status=Status.RUNNING, node=node, target=gpu, display_name="lr 0.3")
    make_node("gpu-box-3", target=gpu, facts=BOX, drained_at=now - timedelta(hours=1), drained_by=chi)
    make_node("gpu-box-4", target=gpu, facts=BOX, last_seen_at=now - timedelta(minutes=26))
    make_run(status=Status.QUEUED, target=gpu)


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_the_page_and_its_dialogs_have_no_barriers(
    open_page: Callable[..., Page], axe: Callable[[Page], list[str]], chi: User, width: int, theme: str
) -> None:
    fill(chi)
    page = open_page("/compute/", user=chi, width=width, theme=theme)
    expect(page.locator("#target-gpu-compute")).to_contain_text("gpu-box-4")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name="New target").click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.mouse.move(0, 0)
    assert axe(page) == []


def test_an_owner_makes_a_target_after_correcting_its_name(open_page: Callable[..., Page], chi: User) -> None:
    page = open_page("/compute/", user=chi)
    page.get_by_role("link", name="New target").first.click()
    page.get_by_label("Name", exact=True).fill("1gpu")
    page.get_by_label("Description").fill("four A4000")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("cannot be a compute target's name")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("gpu")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#target-gpu")).to_contain_text("No node serves gpu")
    assert ComputeTarget.objects.get(name="gpu").description == "four A4000"


def test_a_node_is_drained_and_a_new_one_appears_by_itself(open_page: Callable[..., Page], chi: User) -> None:
    fill(chi)
    page = open_page("/compute/", user=chi)
    row = page.locator("#node-gpu-compute-gpu-box-1")
    row.get_by_role("button", name="Drain").click()
    expect(row).to_contain_text("takes nothing new")
    assert Node.objects.get(name="gpu-box-1").drained_by == chi
    make_node("edge-1", target=ComputeTarget.objects.get(name="edge-lab"))
    expect(page.locator("#node-edge-lab-edge-1")).to_contain_text("Alive")


def test_folded_targets_stay_folded_when_news_come(open_page: Callable[..., Page], chi: User) -> None:
    fill(chi)
    page = open_page("/compute/", user=chi)
    page.get_by_label("Show the nodes of gpu-compute").uncheck(force=True)
    expect(page.locator("#node-gpu-compute-gpu-box-1")).to_be_hidden()
    make_node("edge-1", target=ComputeTarget.objects.get(name="edge-lab"))
    expect(page.locator("#node-edge-lab-edge-1")).to_be_visible()
    expect(page.locator("#node-gpu-compute-gpu-box-1")).to_be_hidden()
