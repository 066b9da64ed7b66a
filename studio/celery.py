"""The Celery app: it carries wake-up calls, never a run itself (docs/architecture.md, "Execution")."""

import os

from celery import Celery

from studio import filesystem

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")

filesystem.install()

app = Celery("studio")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["runs"])
