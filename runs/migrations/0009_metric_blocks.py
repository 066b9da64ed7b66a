"""Points of metrics in blocks, who wrote them, and what pages ask of all metrics of a run."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0008_runs_over_the_api'),
    ]

    operations = [
        migrations.AddField(
            model_name='metric',
            name='columns',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='metric',
            name='description',
            field=models.TextField(db_default='', default=''),
        ),
        migrations.AddField(
            model_name='metric',
            name='last_text',
            field=models.CharField(db_default='', default='', max_length=255),
        ),
        migrations.AddField(
            model_name='metric',
            name='tail_start',
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name='MetricBlock',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start', models.PositiveBigIntegerField()),
                ('count', models.PositiveIntegerField()),
                ('is_open', models.BooleanField()),
                ('data', models.BinaryField()),
                ('metric', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='blocks', to='runs.metric')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('metric', 'start'), name='metric_block_once'), models.CheckConstraint(condition=models.Q(('count__gte', 1)), name='metric_block_not_empty')],
            },
        ),
        migrations.CreateModel(
            name='MetricLedger',
            fields=[
                ('run', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='metric_ledger', serialize=False, to='runs.run')),
                ('names', models.PositiveIntegerField(default=0)),
                ('images', models.PositiveIntegerField(default=0)),
                ('written_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('experiment', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='runs.experiment')),
            ],
            options={
                'indexes': [models.Index(fields=['experiment', 'written_at'], name='metric_ledger_version')],
            },
        ),
        migrations.CreateModel(
            name='MetricWriter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('writer', models.CharField(max_length=64)),
                ('seq', models.PositiveBigIntegerField()),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='runs.run')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('run', 'writer'), name='metric_writer_once')],
            },
        ),
    ]
