"""An index of what holds a slot: claims had read all runs that a machine ever had."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("runs", "0014_lean_indexes")]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["node"], name="run_slots", condition=Q(holds_slot=True) | Q(waits_until__isnull=False)
            ),
        ),
    ]
