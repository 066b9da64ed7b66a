"""Runs keep the digest of the request that made them; it may be null, so that SQLite adds it in place."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0012_fold_i")]

    operations = [
        migrations.AddField(model_name="run", name="request_digest", field=models.UUIDField(null=True)),
    ]
