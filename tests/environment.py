"""The environment that tests run in; loaded before Django reads its settings (see addopts in pyproject.toml).

Everything that Studio keeps goes to a temporary folder of the process. The database is SQLite, in a file,
because several connections have to see it; STUDIO_DATABASE_URL and STUDIO_BROKER_URL choose others.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_CHOSEN = ("STUDIO_DATABASE_URL", "STUDIO_BROKER_URL")
_FOLDER_OF_ALL = "STUDIO_TESTS_FOLDER"

for name in [name for name in os.environ if name.startswith("STUDIO_") and name not in _CHOSEN]:
    if name != _FOLDER_OF_ALL:
        del os.environ[name]

#: The data folder of this test process. Those of parallel processes are inside that of the first.
FOLDER = Path(tempfile.mkdtemp(prefix="studio-tests-", dir=os.environ.get(_FOLDER_OF_ALL)))
os.environ.setdefault(_FOLDER_OF_ALL, str(FOLDER))
#: What parallel processes share, and in a run of the whole suite also those of its steps.
FOLDER_OF_ALL = Path(os.environ[_FOLDER_OF_ALL])
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

os.environ["STUDIO_DATA"] = str(FOLDER)
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if _worker and os.environ.get("STUDIO_BROKER_URL", "").startswith("redis:"):
    # Parallel test processes must not take each other's messages: each has a Redis database.
    os.environ["STUDIO_BROKER_URL"] = os.environ["STUDIO_BROKER_URL"].rpartition("/")[0] + f"/{_worker[2:]}"
os.environ["STUDIO_SECRET_KEY"] = "only-for-tests"
os.environ["STUDIO_NODE"] = "test-node"
os.environ["PYTHONUNBUFFERED"] = "1"
# Playwright keeps an event loop in the thread of the test, which Django would take for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
