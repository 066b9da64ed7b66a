"""The letters i of Turkish are one in searches: what was folded before is folded again where it holds them."""

from django.db import migrations
from django.db.models import F, Q, Value
from django.db.models.functions import Replace

from runs.folding import fold_label
from runs.guards import create_guards

DOTTED, DOTLESS = "i\u0307", "ı"


def holding(rows, column):
    return rows.filter(Q(**{f"{column}__contains": DOTTED}) | Q(**{f"{column}__contains": DOTLESS}))


def fold_labels(rows):
    found = list(holding(rows, "folded"))
    for label in found:
        label.folded = fold_label(label.key, label.value)
    rows.bulk_update(found, ["folded"], batch_size=200)


def fold_properties(rows, schema_editor):
    """As the triggers that keep properties allow it: without them."""
    if not holding(rows, "folded").exists():
        return
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS property_never_update")
        fold_labels(rows)
        create_guards(schema_editor.connection)
        return
    schema_editor.execute("ALTER TABLE runs_property DISABLE TRIGGER property_never_changes")
    fold_labels(rows)
    schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    schema_editor.execute("ALTER TABLE runs_property ENABLE TRIGGER property_never_changes")


def fold(apps, schema_editor):
    using = schema_editor.connection.alias
    runs = apps.get_model("runs", "Run").objects.using(using)
    with_dots = Replace(F("search_text"), Value(DOTLESS), Value("i"))
    holding(runs, "search_text").update(search_text=Replace(with_dots, Value(DOTTED), Value("i")))
    fold_labels(apps.get_model("runs", "Tag").objects.using(using))
    fold_properties(apps.get_model("runs", "Property").objects.using(using), schema_editor)


class Migration(migrations.Migration):
    dependencies = [("runs", "0011_guards")]

    operations = [migrations.RunPython(fold, migrations.RunPython.noop)]
