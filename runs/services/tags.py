"""Tags, which change, and properties, which never do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from runs.errors import InvalidTag, PropertyIsSet
from runs.folding import clean
from runs.models import Property, Run, Tag
from runs.models.label import KEY_LENGTH, VALUE_LENGTH
from runs.services.runs import hold_unarchived, record_changes, refresh_search_text
from studio.accounts.models import User

Labels = Mapping[str, str | None]


def parse_tag(text: str) -> tuple[str, str | None]:
    """`key` or `key=value` as people type it; a value in double quotes loses them. Raises InvalidTag."""
    key, equals, value = text.partition("=")
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return check_label(key, value if equals else None)


def check_label(key: str, value: str | None) -> tuple[str, str | None]:
    """Key and value as they are stored: cleaned of control characters. Raises InvalidTag naming the limit."""
    key, value = clean(key).strip(), None if value is None else clean(value).strip()
    if not key:
        raise InvalidTag(
            "A tag needs a key.", field="tag", hint="Type key or key=value, such as quality=good."
        )
    if len(key) > KEY_LENGTH:
        raise InvalidTag(
            f"A key of {len(key):,} characters is too long.",
            field="tag",
            hint=f"At most {KEY_LENGTH} characters.",
        )
    if value is not None and len(value) > VALUE_LENGTH:
        raise InvalidTag(
            f"The value of {key} has {len(value):,} characters.",
            field="tag",
            hint=f"At most {VALUE_LENGTH:,} characters.",
        )
    return key, value


def check_labels(labels: Labels) -> dict[str, str | None]:
    """The same for many. Raises InvalidTag for the first that is wrong."""
    return dict(check_label(key, value) for key, value in labels.items())


def set_tag(run: Run, key: str, value: str | None = None, *, by: User | None) -> None:
    """Add a tag or replace its value; works on ended runs too. Raises InvalidTag, RunFinished if archived."""
    add_tags([run], {key: value}, by=by)


def add_tags(runs: Iterable[Run], labels: Labels, *, by: User | None) -> int:
    """Add or replace these tags on each run; how many runs. All or nothing.

    Two people who edit at the same time do not undo each other: only the named keys are written.
    """
    checked = check_labels(labels)
    chosen = list(runs)
    with transaction.atomic():
        hold_unarchived(chosen, "tags", field="tag")
        for run in chosen:
            for key, value in checked.items():
                Tag.objects.update_or_create(run=run, key=key, defaults={"value": value})
            refresh_search_text(run)
        words = ", ".join(str(Tag(key=key, value=value)) for key, value in checked.items())
        record_changes(chosen, f"tagged {words}", by=by)
    return len(chosen)


def remove_tag(run: Run, key: str, *, by: User | None) -> bool:
    """Take a tag away; False when it was not there any more. Raises RunFinished if the run is archived."""
    return bool(remove_tags(run, [key], by=by))


def remove_tags(run: Run, keys: Collection[str], *, by: User | None) -> int:
    """Take these tags away; how many there were. Raises RunFinished if the run is archived."""
    with transaction.atomic():
        hold_unarchived([run], "tags", field="tag")
        removed, _ = Tag.objects.filter(run=run, key__in=keys).delete()
        if removed:
            refresh_search_text(run)
            record_changes([run], f"took the tag {', '.join(keys)} away", by=by)
    return removed


def add_properties(run: Run, properties: Mapping[str, str], *, by: User | None) -> None:
    """Add properties, all or none; the same key and value again changes nothing.

    Raises PropertyIsSet naming key, kept and refused value when one has another value already; InvalidTag.
    """
    checked = {key: str(value or "") for key, value in check_labels(properties).items()}
    try:
        with transaction.atomic():
            known = dict(Property.objects.filter(run=run, key__in=checked).values_list("key", "value"))
            for key, kept in known.items():
                if kept != checked[key]:
                    raise PropertyIsSet(
                        f"The property {key} is “{kept}” and never changes; “{checked[key]}” was refused.",
                        field=key,
                        hint="Use a tag for what may change.",
                    )
            new = [
                Property(run=run, key=key, value=value) for key, value in checked.items() if key not in known
            ]
            Property.objects.bulk_create(new)
            Run.objects.filter(pk=run.pk).update(updated_at=Now())
    except IntegrityError:  # somebody added one of them just now: compare again
        add_properties(run, properties, by=by)
