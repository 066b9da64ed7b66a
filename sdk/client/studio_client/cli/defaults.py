"""What `studio configure --defaults` keeps: group, workspace and subscription where none is given."""

from __future__ import annotations

import json
import os
from pathlib import Path

from studio_client import config
from studio_client.errors import ConfigError

#: The names that `az configure` knows, and ours.
NAMES = {
    "group": "group",
    "workspace": "workspace",
    "aml_workspace": "workspace",
    "subscription": "subscription",
}


def _file() -> Path:
    return config.config_folder() / "defaults.json"


def load() -> dict[str, str]:
    """Those that are set. Raises ConfigError."""
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_file()} cannot be read: {error}.", hint="Delete it.") from None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def save(changes: dict[str, str]) -> dict[str, str]:
    """Set these, an empty value takes one away; all of them then."""
    kept = {name: value for name, value in {**load(), **changes}.items() if value}
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = file.with_name(f".{file.name}-{os.getpid()}")
    beside.write_text(json.dumps(kept, indent=2), encoding="utf-8")
    os.replace(beside, file)
    return kept
