"""The web process's application object."""

import os

from django.core.wsgi import get_wsgi_application

from studio.secret_key import keep_secret_key

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")

application = get_wsgi_application()
keep_secret_key()
