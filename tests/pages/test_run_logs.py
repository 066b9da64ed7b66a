"""The Logs tab: what it opens at, what a poll costs, who may see it, and that nothing in a log can act."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from runs.models import LogChunk, Run
from runs.services import log_pages, log_search, logs
from runs.services.log_pages import Log
from runs.status import ErrorClass, Kind, Status
from studio.accounts.models import User
from tests.factories import make_pipeline, make_run

CountQueries = Callable[..., Any]


@pytest.fixture
def run(ana: User) -> Run:
    return make_run(status=Status.RUNNING)


@pytest.fixture
def client(ana: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(ana)


def grow(run: Run, data: bytes, name: str = logs.STD_LOG) -> int:
    """Append to a log; returns its size."""
    at = logs.log_size(run, run.attempt, name)
    for start in range(0, len(data), 4 << 20):
        logs.append_log(run, run.attempt, name, at + start, data[start : start + (4 << 20)])
    return at + len(data)


def numbered(count: int, text: str = "line") -> bytes:
    return b"".join(f"{text} {number}\n".encode() for number in range(1, count + 1))


def url_of(run: Run, part: str = "", **query: Any) -> str:
    pairs = "&".join(f"{key}={value}" for key, value in query.items())
    return f"/experiments/{run.experiment.name}/runs/{run.number}/logs/{part}?{pairs}"


def numbers_in(response: Any) -> list[int]:
    return [int(number) for number in re.findall(r'<div id="L(\d+)"', response.content.decode())]


def facts_of(response: Any) -> dict[str, str]:
    """The data- attributes of the lines' root."""
    root = re.search(r'<div class="log-lines"[^>]*>', response.content.decode())
    assert root
    return dict(re.findall(r'data-([a-z]+)="([^"]*)"', root[0]))


class TestPage:
    def test_it_opens_at_the_end(self, run: Run, client: Client) -> None:
        grow(run, numbered(2500))
        response = client.get(url_of(run))
        assert numbers_in(response) == list(range(1501, 2501))
        assert b"Earlier lines" in response.content

    @pytest.mark.parametrize(
        ("status", "query", "said"),
        [
            (Status.COMPLETED, {"file": "logs/<b>.txt"}, "has no log “logs/&lt;b&gt;.txt”."),
            (Status.RUNNING, {"file": "logs/later.txt"}, "has no log “logs/later.txt” so far."),
            (Status.COMPLETED, {"file": "x" * 9_000}, f"has no log “{'x' * 120}”."),
        ],
    )
    def test_an_unknown_log_is_not_found_and_names_those_there_are(
        self, client: Client, status: Status, query: dict[str, str], said: str
    ) -> None:
        run = make_run(status=status)
        grow(run, b"one\n")
        response = client.get(url_of(run), query_params=query)
        assert response.status_code == 404
        text = response.content.decode()
        assert said in text
        empty = text.split('id="log-empty"', 1)[1].split("</div>", 1)[0]
        assert re.findall(r'<a href="[^"]*file=([^"]*)">', empty) == [logs.STD_LOG]

    @pytest.mark.parametrize("attempt", [99, 10**12])
    def test_an_unknown_attempt_leads_to_the_logs_there_are(
        self, run: Run, client: Client, attempt: int
    ) -> None:
        grow(run, b"one\n")
        response = client.get(url_of(run, attempt=attempt))
        assert response.status_code == 404
        assert "See the logs of this run" in response.content.decode()

    def test_a_log_that_is_still_to_come_is_found(self, run: Run, client: Client) -> None:
        assert client.get(url_of(run, file=logs.STD_LOG)).status_code == 200
        assert client.get(url_of(run, file="system_logs/launch.log")).status_code == 200
        waits = client.get(
            url_of(run, file="logs/later.txt"),
            headers={"HX-Request": "true", "HX-Target": "log-empty"},
        )
        assert waits.status_code == 200
        assert "so far" in waits.content.decode()

    def test_it_costs_the_same_however_long_the_log_is(
        self, run: Run, client: Client, django_assert_num_queries: CountQueries
    ) -> None:
        client.get(url_of(run))
        for size in (5_000, 200_000):
            grow(run, numbered(size))
            # session, run, children, shell; files; bytes of the page; number of its first line
            with django_assert_num_queries(7):
                client.get(url_of(run))

    def test_it_costs_one_query_more_with_children_however_many(
        self, run: Run, client: Client, django_assert_num_queries: CountQueries
    ) -> None:
        grow(run, b"one\n")
        for _ in range(2):
            for _ in range(3):
                grow(make_run(parent=run, status=Status.RUNNING, experiment=run.experiment), b"child\n")
            # session, run, children by status, shell; children, files; bytes
            with django_assert_num_queries(7):
                client.get(url_of(run))

    def test_a_line_or_a_byte_can_be_opened(self, run: Run, client: Client) -> None:
        grow(run, numbered(9000))
        by_line = client.get(url_of(run, line=4711))
        assert 4711 in numbers_in(by_line)
        assert b'id="L4711" class="log-line is-chosen"' in by_line.content
        offset = logs.offset_of_line(run, logs.STD_LOG, 123)
        assert 123 in numbers_in(client.get(url_of(run, at=offset + 2)))

    @pytest.mark.parametrize(
        "query",
        [
            {"line": 10**9},
            {"line": "x"},
            {"at": "-3"},
            {"at": 10**14},
            {"before": 0},
            {"file": "%00"},
        ],
    )
    def test_impossible_places_open_the_page(self, run: Run, client: Client, query: dict[str, Any]) -> None:
        grow(run, numbered(10))
        assert client.get(url_of(run, **query)).status_code == 200

    def test_nothing_in_it_can_act(self, run: Run, client: Client) -> None:
        grow(run, b"<script>alert(1)</script> \x1b[31m<img src=x onerror=alert(1)>\x1b[0m javascript://x\n")
        text = client.get(url_of(run)).content.decode()
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert '<span class="ansi-red">&lt;img' in text
        assert 'style="' not in text

    def test_a_name_that_is_markup_stays_a_name(self, run: Run, client: Client) -> None:
        grow(run, b"x\n", name='logs/"><script>.log')
        assert b"<script>.log" not in client.get(url_of(run)).content

    def test_strangers_and_the_signed_out_see_nothing(
        self, run: Run, dan: User, client_of: Callable[[User], Client]
    ) -> None:
        grow(run, b"secret\n")
        for part in ("", "files/", "lines/", "search/", "raw/"):
            assert client_of(dan).get(url_of(run, part, q="secret")).status_code == 404
            assert Client().get(url_of(run, part)).status_code == 302

    def test_the_attempts_can_be_chosen(self, run: Run, client: Client) -> None:
        grow(run, b"first try\n")
        Run.objects.filter(pk=run.pk).update(attempt=2)
        run.refresh_from_db()
        grow(run, b"second try\n")
        assert b"second try" in client.get(url_of(run)).content
        old = client.get(url_of(run, attempt=1))
        assert b"first try" in old.content
        assert b'<option value="1" selected>1 of 2</option>' in old.content


class TestFirstFile:
    def test_what_the_script_printed_comes_first(self, run: Run, client: Client) -> None:
        for name in ("logs/a.log", "system_logs/launch.log", logs.STD_LOG):
            grow(run, name.encode(), name=name)
        assert b"<bdi>user_logs/std_log.txt</bdi></div>" in client.get(url_of(run)).content

    def test_a_run_that_has_not_printed_yet_does_not_show_its_launch(self, run: Run, client: Client) -> None:
        grow(run, b"launched\n", name="system_logs/launch.log")
        assert b"Nothing printed yet" in client.get(url_of(run)).content

    def test_a_failed_launch_shows_why(self, ana: User, client: Client) -> None:
        run = make_run(status=Status.FAILED, error_class=ErrorClass.LAUNCH)
        grow(run, b"no such script\n", name="system_logs/launch.log")
        assert b"no such script" in client.get(url_of(run)).content

    def test_the_select_of_small_windows_leads_to_childrens_logs(self, run: Run, client: Client) -> None:
        child = make_run(parent=run, experiment=run.experiment)
        grow(child, b"x\n", name="logs/a.log")
        response = client.get(url_of(run, open=f"{child.run_id}:logs/a.log"))
        assert response.headers["Location"] == url_of(child, file="logs/a.log")


class TestEmpty:
    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            ({"status": Status.QUEUED}, b"No node serves local."),
            ({"status": Status.PREPARING}, b"the run is being prepared"),
            ({"status": Status.RUNNING}, b"Nothing printed yet"),
            ({"status": Status.COMPLETED}, b"The script printed nothing."),
            ({"status": Status.FAILED, "error_message": "Lost it."}, b"Lost it."),
            ({"status": Status.CANCELED, "started_at": None}, b"canceled before it started"),
            ({"status": Status.RUNNING, "kind": Kind.INTERACTIVE}, b"An interactive run keeps"),
        ],
    )
    def test_it_says_why(self, client: Client, columns: dict[str, Any], said: bytes) -> None:
        assert said in client.get(url_of(make_run(**columns))).content

    def test_a_step_says_what_it_waits_for(self, ana: User, client: Client) -> None:
        pipeline = make_pipeline(
            status=Status.RUNNING, statuses={"train": Status.NOT_STARTED, "evaluate": Status.NOT_STARTED}
        )
        response = client.get(url_of(pipeline.children.get(step_name="train")))
        assert b"It starts when prepare has Completed." in response.content

    def test_a_pipeline_shows_its_steps_and_what_failed(self, ana: User, client: Client) -> None:
        pipeline = make_pipeline(status=Status.FAILED, statuses={"prepare": Status.COMPLETED})
        train = pipeline.children.get(step_name="train")
        grow(train, b"x\n")
        text = client.get(url_of(pipeline)).content.decode()
        assert "The script ended with exit code 1." in text
        assert url_of(train, file=logs.STD_LOG) in text
        assert text.index(">train</a>") < text.index(">prepare</a>")

    def test_the_part_alone_is_given(self, run: Run, client: Client) -> None:
        headers = {"HX-Request": "true", "HX-Target": "div#log-empty"}
        response = client.get(url_of(run), headers=headers)
        assert response.content.lstrip().startswith(b'<div class="log-empty"')


class TestPolling:
    def test_without_news_it_costs_two_queries_and_renders_nothing(
        self, run: Run, client: Client, django_assert_num_queries: CountQueries
    ) -> None:
        size = grow(run, numbered(3000))
        with django_assert_num_queries(2):  # session, run with the log's size
            response = client.get(url_of(run, "lines/", after=size, number=3001, seen=size, state="1:"))
        assert response.status_code == 204

    def test_new_lines_come_from_where_the_page_is(
        self, run: Run, client: Client, django_assert_num_queries: CountQueries
    ) -> None:
        seen = grow(run, numbered(3000))
        size = grow(run, b"news\n")
        with django_assert_num_queries(3):  # session, run, bytes
            response = client.get(url_of(run, "lines/", after=seen, number=3001, seen=seen, state="1:"))
        assert numbers_in(response) == [3001]
        assert facts_of(response)["next"] == str(size)
        assert facts_of(response)["number"] == "3002"

    def test_an_open_line_comes_again(self, run: Run, client: Client) -> None:
        start = grow(run, b"done\n")
        seen = grow(run, b"\r 10%")
        first = client.get(url_of(run))
        assert facts_of(first)["next"] == str(start)
        assert facts_of(first)["number"] == "2"
        grow(run, b"\r 20%")
        again = client.get(url_of(run, "lines/", after=start, number=2, seen=seen, state="1:"))
        assert numbers_in(again) == [2]
        assert b"20%" in again.content
        assert b"10%" not in again.content

    def test_ten_thousand_updates_stay_one_small_line(self, run: Run, client: Client) -> None:
        start = grow(run, b"begin\n")
        bar = b"".join(
            b"\r %5d/10000 [00:11<00:06, 16.6it/s, loss=0.139, and so on and on]" % n for n in range(10_000)
        )
        size = grow(run, bar)
        response = client.get(url_of(run, "lines/", after=start, number=2, seen=start, state="1:"))
        assert numbers_in(response) == [2]
        assert len(response.content) < 2000
        later = client.get(
            url_of(run, "lines/", after=facts_of(response)["next"], number=2, seen=size - 1, state="1:")
        )
        assert numbers_in(later) == [2]

    def test_a_flood_shows_the_end(self, run: Run, client: Client) -> None:
        grow(run, numbered(10))
        grow(run, numbered(100_000))
        response = client.get(url_of(run, "lines/", after=0, number=1, seen=5, state="1:"))
        assert numbers_in(response)[-1] == 100_010
        assert len(numbers_in(response)) <= 1000
        assert b"data-reset" in response.content

    def test_somebody_who_reads_elsewhere_is_told_the_count_alone(self, run: Run, client: Client) -> None:
        grow(run, numbered(3000))
        response = client.get(url_of(run, "lines/", after=10, number=3, seen=10, state="1:", count=1))
        assert numbers_in(response) == []
        assert facts_of(response)["total"] == "3000"

    def test_the_end_of_the_run_is_news(self, run: Run, client: Client) -> None:
        size = grow(run, b"one\n")
        Run.objects.filter(pk=run.pk).update(
            status=Status.COMPLETED, ended_at=run.created_at, started_at=None, holds_slot=False
        )
        query = {"after": size, "number": 2, "seen": size}
        told = client.get(url_of(run, "lines/", **query, state="1:"))
        assert facts_of(told)["status"] == "Completed"
        assert client.get(url_of(run, "lines/", **query, state="1:Completed")).status_code == 204

    def test_pages_join_without_gap_or_repeat(self, run: Run, client: Client) -> None:
        size = grow(run, numbered(4500))
        numbers: list[int] = []
        before = size
        while before:
            page = client.get(url_of(run, "lines/", before=before))
            numbers = numbers_in(page) + numbers
            before = int(facts_of(page)["start"])
        assert numbers == list(range(1, 4501))
        forward: list[int] = []
        at = 0
        while at < size:
            page = client.get(url_of(run, "lines/", **{"from": at}))
            forward += numbers_in(page)
            at = int(facts_of(page)["end"])
        assert forward == numbers

    def test_the_files_cost_two_queries_without_news(
        self, run: Run, client: Client, django_assert_num_queries: CountQueries
    ) -> None:
        size = grow(run, b"one\n")
        with django_assert_num_queries(2):  # session, sizes
            assert client.get(url_of(run, "files/", seen=size)).status_code == 204
        assert b"std_log.txt" in client.get(url_of(run, "files/", seen=0)).content


class TestSearch:
    def find(self, client: Client, run: Run, term: str, **query: object) -> dict[str, Any]:
        return json.loads(client.get(url_of(run, "search/", q=term, **query)).content)

    def test_the_whole_file_is_searched(self, run: Run, client: Client) -> None:
        grow(run, numbered(3000) + b"a Needle and a needle\n" + numbered(3000))
        offset = logs.offset_of_line(run, logs.STD_LOG, 3001)
        found = self.find(client, run, "NEEDLE")
        assert found["hits"] == [[3001, offset, 2]]
        assert found["next"] is None

    def test_colours_and_overwritten_text_do_not_deceive_it(self, run: Run, client: Client) -> None:
        grow(run, b"val_\x1b[1mloss\x1b[0m\nval_loss\rgone now\nZ\xc3\x9cRICH\n")
        assert [hit[0] for hit in self.find(client, run, "val_loss")["hits"]] == [1]
        assert [hit[0] for hit in self.find(client, run, "zürich")["hits"]] == [3]

    @pytest.mark.parametrize("term", ["", "%00", "[", "\\", "a" * 600, "🚂"])
    def test_any_term_is_taken(self, run: Run, client: Client, term: str) -> None:
        grow(run, numbered(10))
        assert self.find(client, run, term)["hits"] == []

    def test_it_stops_and_goes_on(self, run: Run, client: Client) -> None:
        grow(run, numbered(2500))
        numbers: list[int] = []
        at: list[int] | None = [0, 1]
        while at:
            found = self.find(client, run, "line", offset=at[0], line=at[1])
            assert len(found["hits"]) <= log_search.MAX_HITS
            numbers += [hit[0] for hit in found["hits"]]
            at = found["next"]
        assert numbers == list(range(1, 2501))

    def test_when_the_log_has_grown_it_goes_on_at_the_open_line(self, run: Run, client: Client) -> None:
        start = grow(run, b"one\n")
        grow(run, b"nee")
        assert self.find(client, run, "needle")["end"] == [start, 2]
        grow(run, b"dle\n")
        assert self.find(client, run, "needle", offset=start, line=2)["hits"] == [[2, start, 1]]

    def test_each_portion_is_bounded_in_time_and_gets_further(self, run: Run) -> None:
        size = grow(run, numbered(900_000))
        log = Log(run, logs.STD_LOG, run.attempt, size)
        found = log_search.search_log(log, "nowhere", budget_s=0)
        assert 0 < found.offset < size


class TestRaw:
    def test_every_byte_comes_and_none_can_act(self, run: Run, client: Client) -> None:
        data = numbered(300_000) + b"\x00\xff\r <script>"
        grow(run, data)
        response = client.get(url_of(run, "raw/"))
        assert b"".join(response.streaming_content) == data  # type: ignore[attr-defined]
        assert (
            response.headers["Content-Disposition"] == 'attachment; filename="mnist-1-user_logs-std_log.txt"'
        )
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["Content-Length"] == str(len(data))
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"

    def test_a_log_with_a_part_that_is_gone_says_so(self, run: Run, client: Client, storage: Path) -> None:
        grow(run, b"x" * 200 + b"\n")
        for chunk in LogChunk.objects.filter(run=run):
            LogChunk.objects.filter(pk=chunk.pk).update(data=None, storage_name="logs/gone")
        page = client.get(url_of(run))
        assert page.status_code == 200
        assert "[201 bytes of this log are missing here, 1 line]" in page.content.decode()
        raw = b"".join(client.get(url_of(run, "raw/")).streaming_content)  # type: ignore[attr-defined]
        assert raw.split() == b"[201 bytes of this log are missing here, 1 line]".split()

    def test_no_log_is_no_file(self, run: Run, client: Client) -> None:
        assert client.get(url_of(run, "raw/")).status_code == 404


class TestProgressBars:
    def test_a_short_log_with_a_long_bar_is_shown_whole(self, run: Run, client: Client) -> None:
        bar = b"".join(b"\rstep %05d of 10000, and what a bar says more" % step for step in range(10_000))
        grow(run, numbered(5) + bar + b"\n" + numbered(5))
        assert numbers_in(client.get(url_of(run))) == list(range(1, 12))

    def test_a_line_after_a_long_bar_is_on_the_page_that_is_asked_for_it(
        self, run: Run, client: Client
    ) -> None:
        grow(run, numbered(5) + b"\rstep of a bar" * 100_000 + b"\n" + numbered(5) + b"y" * 300_000 + b"\n")
        assert 9 in numbers_in(client.get(url_of(run, line=9)))

    @pytest.mark.parametrize("start", [b"x", b"\rstep"])
    def test_every_line_is_on_the_page_that_is_asked_for_it(
        self, run: Run, client: Client, start: bytes
    ) -> None:
        grow(run, numbered(3) + start * 280_000 + b"\n" + numbered(3) + start * 280_000)
        for line in range(1, 9):
            assert line in numbers_in(client.get(url_of(run, line=line)))


class TestLongLines:
    @pytest.mark.parametrize("size", [300_000, 3_000_000, 12_000_000])
    def test_a_line_longer_than_a_page_is_shown_bounded(self, run: Run, client: Client, size: int) -> None:
        grow(run, numbered(5) + b"x" * size + b"\n" + numbered(5))
        response = client.get(url_of(run))
        assert len(response.content) < 400_000
        assert numbers_in(response)[-1] == 11
        assert client.get(url_of(run, line=6)).status_code == 200
        page = client.get(url_of(run, "lines/", **{"from": 0}))
        assert numbers_in(page)[0] == 1

    def test_pages_never_stand_still(self, run: Run) -> None:
        size = grow(run, b"y" * 10_000_000 + b"\nend\n")
        log = Log(run, logs.STD_LOG, run.attempt, size)
        at = steps = 0
        while at < size:
            page = log_pages.page_after(log, at)
            assert page.end > at
            at, steps = page.end, steps + 1
        before = size
        while before:
            page = log_pages.page_before(log, before)
            assert page.start < before
            before, steps = page.start, steps + 1
        assert steps < 30

    def test_without_script_the_page_names_the_lines_and_opens_at_the_first(
        self, run: Run, client: Client
    ) -> None:
        grow(run, numbered(3000) + b"a Needle and a needle\n" + numbered(3000) + b"<needle>\n")
        page = client.get(url_of(run, q="needle", find=1)).content.decode()
        assert "2 lines:" in page
        assert "q=needle&amp;find=1&amp;line=6002#L6002" in page
        assert 'id="L3001"' in page
        assert 'id="L6002"' not in page
        page = client.get(url_of(run, q="needle", find=1, line=6002)).content.decode()
        assert 'id="L6002"' in page
        assert "No line has “quagga”." in client.get(url_of(run, q="quagga", find=1)).content.decode()

    def test_without_script_it_goes_on_by_a_link(self, run: Run, client: Client) -> None:
        grow(run, numbered(250))
        url, pages, numbers = url_of(run, q="line", find=1), 0, []
        while url:
            found = client.get(url).context["found"]
            numbers += found.numbers
            url, pages = found.more_url, pages + 1
        assert (numbers, pages) == (list(range(1, 251)), 3)

    def test_with_script_the_page_does_not_search_itself(self, run: Run, client: Client) -> None:
        grow(run, numbered(10))
        assert client.get(url_of(run, q="line")).context["found"] is None
