"""Foreign keys that most runs lack are indexed for those that have one; what another index serves has none.

A new interactive run then writes seven entries fewer. Only indexes are dropped: SQLite copies a table for what
Django does to alter a field, and the triggers of `runs.guards` would be lost with it.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

#: Name, table, column.
DROPPED = [
    ("runs_experiment_workspace_id_21df0cda", "runs_experiment", "workspace_id"),
    ("runs_runevent_run_id_8bd13aa7", "runs_runevent", "run_id"),
    ("runs_run_root_id_7bba9043", "runs_run", "root_id"),
    ("runs_run_parent_id_8594b290", "runs_run", "parent_id"),
    ("runs_run_target_id_d3f3dc2e", "runs_run", "target_id"),
    ("runs_run_snapshot_id_9f67c138", "runs_run", "snapshot_id"),
    ("runs_run_resubmitted_from_id_9cc062c9", "runs_run", "resubmitted_from_id"),
    ("runs_run_cancel_requested_by_id_524f2ee4", "runs_run", "cancel_requested_by_id"),
]
SPARSE = ["parent", "root", "target", "snapshot", "resubmitted_from", "cancel_requested_by"]


def _key(to, on_delete, **more):
    return models.ForeignKey(to, on_delete=on_delete, db_index=False, **more)


_PROTECT, _SET_NULL = django.db.models.deletion.PROTECT, django.db.models.deletion.SET_NULL
FIELDS = [
    ("experiment", "workspace", _key("accounts.workspace", _PROTECT, related_name="experiments")),
    (
        "runevent",
        "run",
        _key("runs.run", django.db.models.deletion.CASCADE, related_name="events"),
    ),
    ("run", "root", _key("runs.run", _PROTECT, null=True, related_name="descendants")),
    ("run", "parent", _key("runs.run", _PROTECT, null=True, related_name="children")),
    ("run", "target", _key("runs.computetarget", _PROTECT, null=True, related_name="runs")),
    ("run", "snapshot", _key("runs.snapshot", _PROTECT, null=True, related_name="runs")),
    ("run", "resubmitted_from", _key("runs.run", _SET_NULL, null=True, related_name="resubmissions")),
    ("run", "cancel_requested_by", _key(settings.AUTH_USER_MODEL, _SET_NULL, null=True, related_name="+")),
]


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_links_bound_to_owners"),
        ("runs", "0013_request_digest"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *(
            migrations.AddIndex(
                model_name="run",
                index=models.Index(
                    fields=[name], name=f"run_{name}", condition=Q(**{f"{name}__isnull": False})
                ),
            )
            for name in SPARSE
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(model_name=model, name=name, field=field)
                for model, name, field in FIELDS
            ],
            database_operations=[
                migrations.RunSQL(
                    f"DROP INDEX IF EXISTS {index}", f"CREATE INDEX {index} ON {table} ({column})"
                )
                for index, table, column in DROPPED
            ],
        ),
    ]
