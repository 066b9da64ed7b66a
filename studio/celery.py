"""The Celery app: it carries wake-up calls, never a run itself (docs/architecture.md, "Execution")."""

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")

app = Celery("studio")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["runs"])

if settings.CELERY_BROKER_URL.startswith("filesystem:"):
    for folder in ("messages", "control"):  # kombu expects them to be there
        (settings.BROKER_DIR / folder).mkdir(parents=True, exist_ok=True)
