"""Names of Azure ML's SDK that can be imported and not be used: the first use says what is not there."""

from __future__ import annotations

from typing import Any, Callable

from azureml.exceptions import UnsupportedException

_NOT_THERE = (
    "it runs scripts on compute of your own and has no data store, model registry, deployment or AutoML "
    "service."
)


def unsupported(name: str, why: str = _NOT_THERE) -> UnsupportedException:
    """The error for one use of something that Studio does not have, or has elsewhere, as `why` says then."""
    return UnsupportedException(f"{name} is not supported by Studio: {why}")


class _Refusing(type):
    """The type of classes whose every use raises; only what tools ask of any class is answered."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise unsupported(cls.__qualname__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise unsupported(f"{cls.__qualname__}.{name}")


def placeholder(module: str, name: str) -> Any:
    """A class of this name that can be imported, named in annotations, and asked about with isinstance."""
    doc = f"{name} of Azure ML's SDK, which Studio does not have. Using it raises UnsupportedException."
    return _Refusing(name, (), {"__module__": module, "__qualname__": name, "__doc__": doc})


def placeholders(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module in which every public name is a placeholder, always the same one."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return made.setdefault(name, placeholder(module, name))

    return get
