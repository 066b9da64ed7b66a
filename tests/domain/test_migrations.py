"""Migrating a database that has runs in it keeps what the engines add behind the models' back."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import DatabaseError

from runs.models import Property, Run
from runs.search.index import index_exists
from runs.search.parser import parse
from runs.search.query import Search
from tests.factories import make_run

pytestmark = pytest.mark.django_db(transaction=True)


def found(text: str) -> list[int]:
    return [run.pk for run in Search(Run.objects.all(), parse(text), person=None).page().rows]


def test_free_text_and_unchangeable_properties_survive_a_change_of_the_tables():
    before = make_run(display_name="amber falcon")
    call_command("migrate", "runs", "0004", verbosity=0)
    call_command("migrate", "runs", verbosity=0)
    after = make_run(display_name="amber heron")
    assert index_exists()
    assert set(found("amber")) == {before.pk, after.pk}
    Run.objects.filter(pk=before.pk).update(search_text="cobalt")
    assert found("amber") == [after.pk]
    Property.objects.create(run=after, key="once", value="1")
    with pytest.raises(DatabaseError):
        Property.objects.filter(run=after).update(value="2")
