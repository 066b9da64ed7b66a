"""Indexes of lists that also say what is archived, so that counting reads no row of the table."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

LISTED = [
    models.Index(fields=["workspace", "-id", "archived_at"], name="run_workspace_listed"),
    models.Index(
        fields=["workspace", "-id", "archived_at"],
        name="run_workspace_roots_listed",
        condition=Q(parent=None),
    ),
    models.Index(
        fields=["experiment", "-id", "archived_at"],
        name="run_experiment_roots_listed",
        condition=Q(parent=None),
    ),
    models.Index(
        fields=["workspace", "-id", "archived_at"],
        name="run_pipelines_listed",
        condition=Q(kind="pipeline"),
    ),
]
REPLACED = (
    "run_workspace_newest",
    "run_workspace_roots",
    "run_experiment_roots",
    "run_workspace_pipelines",
)


class _PlainOnSQLite:
    """Concurrently, so that nobody waits who writes runs; SQLite knows only one writer and builds it plainly."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        self._kind(schema_editor).database_forwards(self, app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        self._kind(schema_editor).database_backwards(self, app_label, schema_editor, from_state, to_state)

    def _kind(self, schema_editor):
        return self.concurrent if schema_editor.connection.vendor == "postgresql" else self.plain


class AddIndex(_PlainOnSQLite, AddIndexConcurrently):
    concurrent, plain = AddIndexConcurrently, migrations.AddIndex


class RemoveIndex(_PlainOnSQLite, RemoveIndexConcurrently):
    concurrent, plain = RemoveIndexConcurrently, migrations.RemoveIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("runs", "0004_search_index")]

    operations = [
        *(AddIndex("run", index) for index in LISTED),
        *(RemoveIndex("run", name) for name in REPLACED),
    ]
