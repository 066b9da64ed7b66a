"""Properties are set once."""

from __future__ import annotations

import pytest

from runs.errors import InvalidTag, PropertyIsSet
from runs.models import Property
from runs.services.tags import add_properties
from tests.factories import make_run
from tests.life_kit import at_once


@pytest.mark.django_db
def test_the_same_again_is_no_change(ana):
    run = make_run()
    add_properties(run, {"author": "ana", "seed": "1"}, by=ana)
    add_properties(run, {"author": "ana"}, by=ana)
    assert dict(run.properties.values_list("key", "value")) == {"author": "ana", "seed": "1"}


@pytest.mark.django_db
def test_another_value_is_refused_with_both_and_nothing_else_is_added(ana):
    run = make_run(properties={"author": "ana"})
    with pytest.raises(PropertyIsSet, match=r"“ana”.*“ben”") as caught:
        add_properties(run, {"new": "1", "author": "ben"}, by=ana)
    assert caught.value.field == "author"
    assert run.properties.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "k" * 101, "a\x1b"])
def test_a_bad_key_is_refused(ana, key):
    with pytest.raises(InvalidTag, match=r"A property needs a key|key of 101|U\+001B") as caught:
        add_properties(make_run(), {"good": "1", key: "2"}, by=ana)
    assert caught.value.field == "properties"
    assert not Property.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_eight_values_at_once_one_stays(workspace, ana):
    run = make_run()
    results = at_once([lambda n=n: add_properties(run, {"seed": str(n)}, by=ana) for n in range(8)])
    assert results.count(None) == 1
    assert all(isinstance(result, PropertyIsSet) for result in results if result is not None)
    assert run.properties.get().value == str(results.index(None))


@pytest.mark.django_db(transaction=True)
def test_the_same_value_at_once_is_no_conflict(workspace, ana):
    run = make_run()
    assert at_once([lambda: add_properties(run, {"seed": "1"}, by=ana)] * 6) == [None] * 6
