"""Tags: anybody may change them, together, and until the run is archived."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.errors import InvalidTag, RunFinished
from runs.models import Run, Tag
from runs.services.runs import about_run, archive_runs, edit_run
from runs.services.tags import add_properties, add_tags, parse_tag, remove_tag, remove_tags, set_tag
from runs.status import Status
from studio.accounts.changes import changes_of
from tests.factories import make_run
from tests.life_kit import at_once


def tags_of(run: Run) -> dict[str, str | None]:
    return dict(Tag.objects.filter(run=run).values_list("key", "value"))


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("quality", ("quality", None)),
        ("quality=", ("quality", "")),
        ("quality=good", ("quality", "good")),
        ('quality="fantastic run"', ("quality", "fantastic run")),
        ("a=b=c", ("a", "b=c")),
        ("  a  =  b  ", ("a", "b")),
        ("качество=да 🎉", ("качество", "да 🎉")),
        ('a="', ("a", '"')),
        ("a=one\ntwo\tthree\r\n", ("a", "one two three")),
    ],
)
def test_what_people_type(text, tag):
    assert parse_tag(text) == tag


@pytest.mark.parametrize(
    "text", ["", "  ", "=good", "k" * 101, "k=" + "v" * 5_001, "\0", "k=a\x01b", "k=\x1b[1m", "a\x7fb"]
)
def test_what_is_no_tag_is_refused(text):
    with pytest.raises(InvalidTag) as caught:
        parse_tag(text)
    assert caught.value.field == "tags"
    assert caught.value.hint


@pytest.mark.django_db
class TestOnePerson:
    def test_a_value_is_replaced_and_taken_away(self, ana):
        run = make_run(status=Status.COMPLETED)
        set_tag(run, "quality", "good", by=ana)
        set_tag(run, "quality", "fantastic", by=ana)
        assert tags_of(run) == {"quality": "fantastic"}
        assert remove_tag(run, "quality", by=ana)
        assert not remove_tag(run, "quality", by=ana)

    def test_many_runs_get_all_or_none(self, ana):
        runs = [make_run(), make_run()]
        archive_runs(Run.objects.filter(pk=runs[1].pk), by=ana)
        with pytest.raises(RunFinished):
            add_tags(runs, {"a": "1"}, by=ana)
        with pytest.raises(InvalidTag):
            add_tags(runs[:1], {"a": "1", "": "2"}, by=ana)
        assert not Tag.objects.exists()
        assert add_tags(runs[:1], {"a": "1", "b": None}, by=ana) == 1

    def test_a_run_that_is_named_twice_is_one(self, ana):
        run, other = make_run(), make_run()
        assert add_tags([run, other, Run.objects.get(pk=run.pk)], {"a": "1", "b": "2"}, by=ana) == 2
        assert tags_of(run) == tags_of(other) == {"a": "1", "b": "2"}
        assert remove_tags([run, run], ["a"], by=ana) == 1
        texts = changes_of(run.workspace, about_run(run.run_id)).values_list("text", flat=True)
        assert sorted(texts) == ["tagged a=1, b=2", "took the tag a away"]

    def test_a_hundred_runs_cost_as_many_queries_as_one(self, ana):
        """Whoever else writes waits that long."""
        runs = [make_run() for _ in range(100)]
        for count in (1, 100):
            with CaptureQueriesContext(connection) as asked:
                add_tags(runs[:count], {"a": "1", "b": None}, by=ana)
            queries = [q for q in asked if not q["sql"].startswith(("SAVEPOINT", "RELEASE"))]
            assert len(queries) == 6  # runs held, tags, changes, all tags, what they are found by, runs
        with CaptureQueriesContext(connection) as asked:
            assert remove_tags(runs, ["a", "b", "c"], by=ana) == 200
        assert len(asked) == 9  # the same and a look at who has them; two for the savepoint
        assert not Tag.objects.exists()

    def test_many_runs_change_in_one_moment_each_found_by_its_own_tags(self, ana):
        runs = [make_run(tags={"old": f"was{at}"}, description=f"text{at}") for at in range(3)]
        add_tags(runs, {"new": "is", "old": "not"}, by=ana)
        rows = Run.objects.order_by("pk")
        assert len({run.updated_at for run in rows}) == 1
        for at, run in enumerate(rows):
            assert tags_of(run) == {"old": "not", "new": "is"}
            assert all(word in run.search_text for word in (f"text{at}", "old=not", "new=is", run.run_id))
            assert f"was{at}" not in run.search_text

    def test_a_tag_goes_from_all_runs_or_from_none(self, ana):
        runs = [make_run(tags={"a": "1"}), make_run(tags={"a": "2"}), make_run()]
        before = runs[2].updated_at
        archive_runs(Run.objects.filter(pk=runs[1].pk), by=ana)
        with pytest.raises(RunFinished):
            remove_tags(runs, ["a"], by=ana)
        assert Tag.objects.count() == 2
        assert remove_tags([runs[0], runs[2]], ["a"], by=ana) == 1
        assert "a=1" not in Run.objects.get(pk=runs[0].pk).search_text
        assert Run.objects.get(pk=runs[2].pk).updated_at == before

    def test_an_archived_run_keeps_its_tags_and_name_even_if_the_page_is_old(self, ana):
        run = make_run(tags={"a": "1"}, display_name="baseline")
        archive_runs(Run.objects.filter(pk=run.pk), by=ana)
        for change in (
            lambda: set_tag(run, "a", "2", by=ana),
            lambda: remove_tag(run, "a", by=ana),
            lambda: edit_run(run, by=ana, display_name="other"),
            lambda: edit_run(run, by=ana, description="other"),
            lambda: add_properties(run, {"key": "value"}, by=ana),
        ):
            with pytest.raises(RunFinished, match="archived"):
                change()
        assert tags_of(run) == {"a": "1"}
        assert not run.properties.exists()
        run.refresh_from_db()
        assert (run.display_name, run.description) == ("baseline", "")

    def test_the_page_of_the_run_has_a_new_version(self, ana):
        run = make_run()
        set_tag(run, "a", "1", by=ana)
        assert Run.objects.get(pk=run.pk).updated_at > run.updated_at


@pytest.mark.django_db(transaction=True)
class TestSeveralPeople:
    def test_different_keys_do_not_undo_each_other(self, workspace, ana, chi):
        run = make_run()
        found = at_once([lambda n=n: set_tag(run, f"key{n}", f"value{n}", by=ana) for n in range(8)])
        assert found == [None] * 8
        assert tags_of(run) == {f"key{n}": f"value{n}" for n in range(8)}
        text = Run.objects.get(pk=run.pk).search_text
        assert all(f"value{n}" in text for n in range(8))

    def test_of_the_same_key_one_value_stays_and_is_found(self, workspace, ana, chi):
        run = make_run()
        found = at_once([lambda n=n: set_tag(run, "quality", f"value{n}", by=ana) for n in range(6)])
        assert found == [None] * 6
        [value] = tags_of(run).values()
        text = Run.objects.get(pk=run.pk).search_text
        assert [f"value{n}" for n in range(6) if f"value{n}" in text] == [value]

    def test_many_runs_in_whatever_order(self, workspace, ana, chi):
        runs = [make_run() for _ in range(4)]
        calls = [lambda: add_tags(runs, {"a": "1"}, by=ana), lambda: add_tags(runs[::-1], {"b": "2"}, by=chi)]
        assert at_once(calls * 3) == [4] * 6
        assert all(tags_of(run) == {"a": "1", "b": "2"} for run in runs)

    def test_name_description_and_tag_are_all_found(self, workspace, ana, chi):
        run = make_run()
        at_once(
            [
                lambda: edit_run(run, by=ana, display_name="alpha"),
                lambda: edit_run(run, by=chi, description="beta"),
                lambda: set_tag(run, "gamma", None, by=ana),
            ]
        )
        text = Run.objects.get(pk=run.pk).search_text
        assert all(word in text for word in ("alpha", "beta", "gamma"))
