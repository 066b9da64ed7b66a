"""Sections of a run configuration: fixed attributes with defaults, written and read under camelCase keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, ClassVar

from azureml.exceptions import UserErrorException


def camel(name: str) -> str:
    """`node_count` as `nodeCount`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


class Section:
    """Attributes that exist or do not: setting any other raises AttributeError, which catches slips of the
    pen. Where a section belongs, None stands for a new one, and all else raises UserErrorException.

    `_defaults` makes the value of each. A value that is a Section is written as a mapping of its own.
    """

    _defaults: ClassVar[dict[str, Callable[[], Any]]] = {}
    #: Of what other kind a section may be, too.
    _also: ClassVar[dict[str, type[Section]]] = {}

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Whatever `_defaults` names."""

    def __init__(self, *values: Any, **named: Any) -> None:
        """The attributes in their order, or by their names; None stands for the default."""
        for name, make in self._defaults.items():
            object.__setattr__(self, name, make())
        if len(values) > len(self._defaults):
            raise TypeError(f"{type(self).__name__} takes {len(self._defaults)} values, not {len(values)}.")
        placed = dict(zip(self._defaults, values))
        for name, value in (*placed.items(), *named.items()):
            if name not in self._defaults or (name in placed and name in named):
                twice = "was given twice" if name in placed else "is not known"
                raise TypeError(f"{type(self).__name__}: the argument {name!r} {twice}.{self._guess(name)}")
            if value is not None:
                setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        known = (
            name in self._defaults
            or name.startswith("_")
            or isinstance(getattr(type(self), name, None), property)
        )
        if not known:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{self._guess(name)}")
        kind = type(self._defaults[name]()) if name in self._defaults else object
        if issubclass(kind, Section) and not isinstance(value, (kind, self._also.get(name, kind))):
            if value is not None:
                raise UserErrorException(
                    f"{type(self).__name__}.{name} is of {kind.__name__}, not {value!r}."
                )
            value = self._defaults[name]()
        object.__setattr__(self, name, value)

    @classmethod
    def _guess(cls, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(name, cls._names(), n=1)
        return f" Did you mean {near[0]}?" if near and near[0] != name else ""

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in self._defaults)
        return f"{type(self).__name__}({', '.join(values)})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def _names(cls) -> list[str]:
        return [*cls._defaults, *(name for name in dir(cls) if isinstance(getattr(cls, name), property))]

    def to_dict(self) -> dict[str, Any]:
        """The section under camelCase keys, made of plain values."""
        return {camel(name): plain(getattr(self, name)) for name in self._defaults}

    def fill(self, content: Any) -> None:
        """Take over what a mapping says; keys that are not known are ignored, what is missing stays as it
        is.
        """
        if not isinstance(content, dict):
            return
        for name in self._defaults:
            key = next((key for key in (camel(name), name) if key in content), None)
            if key is None:
                continue
            here = getattr(self, name)
            if isinstance(here, Section):
                here.fill(content[key])
            elif content[key] is not None or here is None:
                object.__setattr__(self, name, content[key])


class SectionWithVariables(Section):
    """A section that also holds variables for the script's process, under `environmentVariables`."""

    def __init__(self) -> None:
        super().__init__()
        self._environment_variables: dict[str, str] = {}

    @property
    def environment_variables(self) -> dict[str, str]:
        """Variables for the script's process; those of a run configuration win over its environment's."""
        return self._environment_variables

    @environment_variables.setter
    def environment_variables(self, value: dict[str, str]) -> None:
        self._environment_variables = dict(value or {})

    def to_dict(self) -> dict[str, Any]:
        """The section under camelCase keys, made of plain values."""
        variables = {str(name): str(value) for name, value in self._environment_variables.items()}
        return {**super().to_dict(), "environmentVariables": variables}

    def fill(self, content: Any) -> None:
        """Take over what a mapping says."""
        super().fill(content)
        if isinstance(content, dict) and isinstance(content.get("environmentVariables"), dict):
            self._environment_variables = {k: str(v) for k, v in content["environmentVariables"].items()}


def plain(value: Any) -> Any:
    """A value of dictionaries, lists, texts, numbers and None."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def section(name: str, doc: str, /, **defaults: Any) -> type[Section]:
    """A section class whose attributes have these defaults;
    a list, a dict or a class makes a fresh one each time.
    """
    makers = {attribute: _maker(value) for attribute, value in defaults.items()}
    return type(
        name, (Section,), {"_defaults": makers, "__doc__": doc, "__module__": "azureml.core.runconfig"}
    )


def _maker(value: Any) -> Callable[[], Any]:
    if isinstance(value, type):
        return value
    if isinstance(value, (list, dict)):
        kind = type(value)
        return lambda: kind(value)
    return lambda: value


SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
