"""Every setting of Studio, read from the environment, with a default that works when nothing is set.

`docs/operations.md` has the table of the variables; a test holds the two together.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from studio.database import parse_database_url, sqlite_database
from studio.env import env_address, env_bool, env_broker, env_int, env_list, env_path, env_str, env_url
from studio.hosts import address_of, bracketed

BASE_DIR = Path(__file__).resolve().parent.parent

# Where things are -----------------------------------------------------------------------------------
DATA_DIR = env_path("STUDIO_DATA", BASE_DIR / "var")
WORK_DIR = env_path("STUDIO_WORK", DATA_DIR / "work")
STUDIO_HOST = env_str("STUDIO_HOST", "127.0.0.1")
STUDIO_PORT = env_int("STUDIO_PORT", 8000, least=1, most=65535)
#: Where people reach Studio, if whoever runs it said so; "" leaves it to each request.
PUBLIC_URL = env_url("STUDIO_URL")
STUDIO_URL = PUBLIC_URL or address_of(STUDIO_HOST, STUDIO_PORT)
TRUSTED_PROXY = env_address("STUDIO_TRUSTED_PROXY")

WEB_THREADS = env_int("STUDIO_WEB_THREADS", 24, least=3, most=512)

# What this machine offers ---------------------------------------------------------------------------
NODE_NAME = env_str("STUDIO_NODE", socket.gethostname())
NODE_SLOTS = env_int("STUDIO_SLOTS", max(2, os.cpu_count() or 2), least=1, most=1024)
NODE_TARGETS = env_list("STUDIO_TARGETS", "local", least=1)

# Limits ---------------------------------------------------------------------------------------------
SNAPSHOT_MAX_BYTES = env_int("STUDIO_SNAPSHOT_MAX_BYTES", 300 * 2**20, least=1)
SNAPSHOT_MAX_FILES = env_int("STUDIO_SNAPSHOT_MAX_FILES", 2_000, least=1)
OUTPUTS_MAX_BYTES = env_int("STUDIO_OUTPUTS_MAX_BYTES", 20 * 2**30, least=1)
OUTPUTS_MAX_FILES = env_int("STUDIO_OUTPUTS_MAX_FILES", 10_000, least=1)
LOG_CAP_BYTES = env_int("STUDIO_LOG_CAP_BYTES", 4 * 2**30, least=1024)
GRACE_SECONDS = env_int("STUDIO_GRACE", 10, least=0)
NOT_RESPONDING_AFTER_SECONDS = env_int("STUDIO_NOT_RESPONDING_AFTER", 30, least=2)
LOST_AFTER_SECONDS = env_int("STUDIO_LOST_AFTER", 300, least=3)
#: Their heartbeats come through the web server, from machines that people close and open again.
INTERACTIVE_LOST_AFTER_SECONDS = env_int("STUDIO_INTERACTIVE_LOST_AFTER", 3600, least=3)


SECRET_KEY_FILE = DATA_DIR / "secret_key"


def _secret_key() -> str:
    """The key from the environment or the data folder, else a new one, which a start keeps there."""
    try:
        kept = SECRET_KEY_FILE.read_text().strip() if SECRET_KEY_FILE.exists() else ""
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {DATA_DIR} cannot be used: {error.strerror}. "
            "Choose one that you may write to with STUDIO_DATA or --data."
        ) from None
    return env_str("STUDIO_SECRET_KEY") or kept or secrets.token_urlsafe(50)


SECRET_KEY = _secret_key()
DEBUG = env_bool("STUDIO_DEBUG", False)
_OUR_HOSTS = f"127.0.0.1,localhost,[::1],{bracketed(STUDIO_HOST)},{NODE_NAME}"
ALLOWED_HOSTS = env_list("STUDIO_ALLOWED_HOSTS", _OUR_HOSTS)
CSRF_TRUSTED_ORIGINS = [STUDIO_URL] if STUDIO_URL.startswith("https://") else []

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_filters",
    "studio.accounts",
    "runs",
]

MIDDLEWARE = [
    "runs.middleware.HeadMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "studio.accounts.middleware.SecureHeadersMiddleware",
    "runs.api.middleware.ApiMiddleware",
    "studio.accounts.browsers.BrowserSessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "studio.accounts.middleware.PersonMiddleware",
    "studio.accounts.browsers.BrowserMessages",
    "runs.toasts.ToastMiddleware",
    "runs.middleware.ErrorMiddleware",
]

ROOT_URLCONF = "studio.urls"
WSGI_APPLICATION = "studio.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "runs.context.shell",
            ],
            "builtins": ["django.templatetags.static", "runs.templatetags.studio"],
            "libraries": {"studio": "runs.templatetags.studio"},
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader"],
                )
            ]
            if not DEBUG
            else ["django.template.loaders.filesystem.Loader"],
        },
    }
]

_DATABASE_URL = env_str("STUDIO_DATABASE_URL")
DATABASES: dict[str, dict[str, Any]] = {
    "default": parse_database_url(_DATABASE_URL)
    if _DATABASE_URL
    else sqlite_database(str(DATA_DIR / "db.sqlite3"))
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "experiment-list"
SESSION_ENGINE = "studio.accounts.sessions"
SESSION_COOKIE_NAME = "studio_session"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = STUDIO_URL.startswith("https://")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "studio_csrf"
CSRF_FAILURE_VIEW = "studio.accounts.views.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 3600

STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": env_path("STUDIO_STORAGE", DATA_DIR / "storage")},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
FILE_UPLOAD_TEMP_DIR = None
FILE_UPLOAD_HANDLERS = ["studio.uploads.OneFileUploadHandler"]
# The limits on uploads are ours (SNAPSHOT_MAX_*): Django's own would answer before they can explain.
DATA_UPLOAD_MAX_NUMBER_FILES = SNAPSHOT_MAX_FILES * 4
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 2**20

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# Celery: wake-up calls only. Threads pool, early acknowledgement, no result backend, JSON only. --------
BROKER_DIR = DATA_DIR / "broker"
CELERY_BROKER_URL = env_broker("STUDIO_BROKER_URL")
if CELERY_BROKER_URL.startswith("filesystem:"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "control_folder": str(BROKER_DIR / "control"),
        "polling_interval": 0.05,
        "message_life_s": 30,
    }
else:
    # A wake-up call to a broker that is away fails at once; by default it holds up whoever submits for 6 s.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    if "redis" in CELERY_BROKER_URL.partition("://")[0]:
        # One that hangs neither answers nor refuses. Nodes wait for news for a second, so not below that.
        CELERY_BROKER_TRANSPORT_OPTIONS |= {"socket_connect_timeout": 3, "socket_timeout": 3}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 4
# True changes nothing for tasks that are acknowledged early; False is warned of at every loss.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # by default a node gives up when its broker is away for an hour
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_TIMEZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "filters": {"one line a minute": {"()": "studio.log_filters.OneLineAMinute"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env_str("STUDIO_LOG_LEVEL", "WARNING").upper()},
    # The filesystem broker has no host, and kombu says so at every connection.
    # Answers 4xx are for who asked, and an expired session that polls would fill the log with them.
    # What hinders beat it says in eighty lines every two seconds.
    "loggers": {
        "kombu.connection": {"level": "ERROR"},
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # runs.middleware says it in a line
        "django.security.RequestDataTooBig": {"level": "CRITICAL"},
        "django.security.TooManyFieldsSent": {"level": "CRITICAL"},
        "django.security.TooManyFilesSent": {"level": "CRITICAL"},
        "celery.beat": {"filters": ["one line a minute"]},
        "waitress": {"level": "ERROR"},  # it warns of requests that wait, for a thread or at the end
    },
}
