"""Tags, which change, and properties, which never do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from runs.errors import InvalidTag, PropertyIsSet
from runs.folding import clean, control_in
from runs.models import Property, Run, Tag
from runs.models.label import KEY_LENGTH, VALUE_LENGTH
from runs.services.runs import hold_unarchived, record_changes, refresh_search_texts
from studio.accounts.models import User

Labels = Mapping[str, str | None]


def parse_tag(text: str) -> tuple[str, str | None]:
    """`key` or `key=value` as people type it; a value in double quotes loses them. Raises InvalidTag."""
    key, equals, value = text.partition("=")
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return check_label(key, value if equals else None)


def check_label(key: str, value: str | None, *, field: str = "tags") -> tuple[str, str | None]:
    """Key and value as they are stored, white space as plain blanks. Raises InvalidTag naming what is wrong.

    `field` is "properties" for a property.
    """
    control = control_in(key) or control_in(value or "")
    key, value = clean(key).strip(), None if value is None else clean(value).strip()
    if not key:
        kind, hint = "tag", "Type key or key=value, such as quality=good."
        if field == "properties":
            kind, hint = "property", "Name what the value says, such as author."
        raise InvalidTag(f"A {kind} needs a key.", field=field, hint=hint)
    if len(key) > KEY_LENGTH:
        raise InvalidTag(
            f"A key of {len(key):,} characters is too long.",
            field=field,
            hint=f"At most {KEY_LENGTH} characters.",
        )
    if control:
        raise InvalidTag(
            f"{key} has the control character {control} in it.", field=field, hint="Leave it out."
        )
    if value is not None and len(value) > VALUE_LENGTH:
        raise InvalidTag(
            f"The value of {key} has {len(value):,} characters.",
            field=field,
            hint=f"At most {VALUE_LENGTH:,} characters.",
        )
    return key, value


def check_labels(labels: Labels) -> dict[str, str | None]:
    """The same for many tags. Raises InvalidTag for the first that is wrong."""
    return dict(check_label(key, value) for key, value in labels.items())


def check_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """The same for properties."""
    checked = (check_label(key, value, field="properties") for key, value in properties.items())
    return {key: str(value or "") for key, value in checked}


def set_tag(run: Run, key: str, value: str | None = None, *, by: User | None) -> None:
    """Add a tag or replace its value; works on ended runs too. Raises InvalidTag, RunFinished if archived."""
    add_tags([run], {key: value}, by=by)


def add_tags(runs: Iterable[Run], labels: Labels, *, by: User | None) -> int:
    """Add or replace these tags on each run; how many runs. All or nothing.

    Two people who edit at the same time do not undo each other: only the named keys are written.
    """
    checked = check_labels(labels)
    chosen = _once(runs)
    tags = [Tag(run=run, key=key, value=value) for run in chosen for key, value in checked.items()]
    words = ", ".join(str(Tag(key=key, value=value)) for key, value in checked.items())
    with transaction.atomic():
        hold_unarchived(chosen, "tags", field="tags")
        Tag.objects.bulk_create(
            tags, update_conflicts=True, unique_fields=["run", "key"], update_fields=["value", "folded"]
        )
        record_changes(chosen, f"tagged {words}", by=by)
        refresh_search_texts(chosen)
    return len(chosen)


def remove_tag(run: Run, key: str, *, by: User | None) -> bool:
    """Take a tag away; False when it was not there any more. Raises RunFinished if the run is archived."""
    return bool(remove_tags([run], [key], by=by))


def remove_tags(runs: Iterable[Run], keys: Collection[str], *, by: User | None) -> int:
    """Take these tags away from each run; how many there were. All or nothing.

    Raises RunFinished if one of the runs is archived.
    """
    chosen = _once(runs)
    with transaction.atomic():
        hold_unarchived(chosen, "tags", field="tags")
        tags = Tag.objects.filter(run__in=chosen, key__in=keys)
        had = set(tags.values_list("run_id", flat=True))
        removed, _ = tags.delete()
        changed = [run for run in chosen if run.pk in had]
        if changed:
            record_changes(changed, f"took the tag {', '.join(keys)} away", by=by)
            refresh_search_texts(changed)
    return removed


def _once(runs: Iterable[Run]) -> list[Run]:
    """Each run once, however often it was named."""
    return list({run.pk: run for run in runs}.values())


def add_properties(run: Run, properties: Mapping[str, str], *, by: User | None) -> None:
    """Add properties, all or none; the same key and value again changes nothing.

    Raises PropertyIsSet naming key, kept and refused value when one has another value already; InvalidTag;
    RunFinished if the run is archived.
    """
    checked = check_properties(properties)
    try:
        with transaction.atomic():
            hold_unarchived([run], "properties", field="properties")
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
