"""YAML as Azure ML's files have it, read safely and written in the order of their keys."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from studio_client.errors import ConfigError


def load(path: str | os.PathLike[str]) -> Any:
    """What a YAML file says. Raises ConfigError naming the file."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return loads(file.read())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{os.fspath(path)} cannot be read: {reason}.") from None


def loads(text: str) -> Any:
    """What a YAML text says. Raises ValueError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(str(error)) from None


def dumps(content: Any, *, is_ascii: bool = False) -> str:
    """The YAML text of dictionaries, lists and plain values; with `is_ascii` other letters are escaped."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = not is_ascii
    yaml.width = sys.maxsize  # a value stays on the line of its name
    target = io.StringIO()
    yaml.dump(content, target)
    return target.getvalue()
