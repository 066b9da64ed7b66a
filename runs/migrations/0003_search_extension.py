"""PostgreSQL's pg_trgm, for the search index. Where the database does not allow it, search works without."""

from django.db import migrations

from runs.search.index import create_extension


def create(apps, schema_editor):
    create_extension(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("runs", "0002_property_triggers")]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
