"""The index behind free text: pg_trgm on PostgreSQL; on SQLite an FTS5 table, kept by triggers on runs_run."""

from django.db import migrations

from runs.search.index import create_index, drop_index


def create(apps, schema_editor):
    create_index(schema_editor.connection)


def drop(apps, schema_editor):
    drop_index(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_search_extension")]

    operations = [migrations.RunPython(create, drop)]
