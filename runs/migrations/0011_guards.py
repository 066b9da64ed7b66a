"""The database refuses what undoes an end, a run's identity, an event or a property, and events out of order."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from runs.guards import create_guards, drop_guards

KNOWN = [
    "NotStarted",
    "Queued",
    "Preparing",
    "Starting",
    "Running",
    "Finalizing",
    "CancelRequested",
    "NotResponding",
    "Completed",
    "Failed",
    "Canceled",
]


def lock(apps, schema_editor):
    """In the order of whoever changes a run, so that neither waits for the other for ever.

    Who adds properties goes the other way round: PostgreSQL then ends one of the two, and nothing is half done.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("LOCK TABLE runs_run, runs_runevent, runs_property IN SHARE ROW EXCLUSIVE MODE")


def create(apps, schema_editor):
    create_guards(schema_editor.connection)


def drop(apps, schema_editor):
    drop_guards(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0010_unused_snapshots"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(lock, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="runevent",
            name="by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddConstraint(
            model_name="runevent",
            constraint=models.CheckConstraint(
                condition=models.Q(to_status__in=KNOWN), name="run_event_status_known"
            ),
        ),
        migrations.RunPython(create, drop),
    ]
