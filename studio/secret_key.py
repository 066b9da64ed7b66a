"""The key that a first start makes, and keeps for the next ones."""

from __future__ import annotations

import os
from contextlib import suppress

from django.conf import settings

from studio.env import env_str


def keep_secret_key() -> None:
    """Write the key of these settings into the data folder, unless there is one, which counts then.

    Raises OSError.
    """
    if env_str("STUDIO_SECRET_KEY"):
        return
    path = settings.SECRET_KEY_FILE
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(settings.SECRET_KEY)
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    settings.SECRET_KEY = path.read_text().strip()
