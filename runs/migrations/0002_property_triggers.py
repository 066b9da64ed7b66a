"""Properties refuse UPDATE and DELETE in the database itself, whoever asks."""

from django.db import migrations

SQLITE = """
CREATE TRIGGER property_never_{event} BEFORE {event} ON runs_property
BEGIN SELECT RAISE(ABORT, 'properties never change'); END
"""

POSTGRESQL = """
CREATE OR REPLACE FUNCTION property_never_changes() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'properties never change' USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER property_never_changes BEFORE UPDATE OR DELETE ON runs_property
FOR EACH ROW EXECUTE FUNCTION property_never_changes();
"""


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for event in ("update", "delete"):
            schema_editor.execute(SQLITE.format(event=event))
    else:
        schema_editor.execute(POSTGRESQL)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for event in ("update", "delete"):
            schema_editor.execute(f"DROP TRIGGER property_never_{event}")
    else:
        schema_editor.execute("DROP TRIGGER property_never_changes ON runs_property")
        schema_editor.execute("DROP FUNCTION property_never_changes()")


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial")]

    operations = [migrations.RunPython(create, drop)]
