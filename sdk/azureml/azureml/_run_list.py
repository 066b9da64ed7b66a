"""Lists of runs: filters as users write them, and the sequence that is asked for page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Callable

from studio_client.records import STATUSES

from azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from studio_client.records import RunRecord

    from azureml.core.run import Run

#: The run types of Azure ML by what a run is in Studio. Interactive runs have none.
TYPES = {"script": "azureml.scriptrun", "pipeline": "azureml.PipelineRun", "step": "azureml.StepRun"}
_KINDS = {name: kind for kind, name in TYPES.items()}
#: The statuses that only Azure ML's runs have.
_NEVER = ("Provisioning", "Unapproved", "Pausing", "Paused")
SUBMITTED = frozenset({"script", "step"})


def filters(tags: Any, properties: Any, run_type: str | None, status: str | None) -> list[tuple[str, Any]]:
    """The filters as the API names them. Raises UserErrorException for what is none."""
    if not (run_type is None or isinstance(run_type, str)):
        raise UserErrorException(f"The type of runs is a text, such as azureml.scriptrun, not {run_type!r}.")
    pairs = [*_labels("tag", tags), *_labels("property", properties)]
    if run_type in _KINDS:
        pairs.append(("kind", _KINDS[run_type]))
    if status is not None:
        pairs.append(("status", _known(status)))
    return pairs


def _known(status: Any) -> str:
    if status in STATUSES or status in _NEVER:
        return str(status)
    near = next((known for known in STATUSES if known.lower() == str(status).lower()), "")
    guess = f" Did you mean {near}?" if near else ""
    raise UserErrorException(f"No run has the status {status!r}.{guess} Known: {', '.join(STATUSES)}.")


def _labels(word: str, wanted: Any) -> Iterator[tuple[str, str]]:
    """A text asks for a key, a list of texts for all of these, a dict for keys with values."""
    if wanted is None:
        return
    if isinstance(wanted, Mapping):
        pairs = [
            (str(key), (f"{word}_null", str(key)) if value is None else (word, f"{key}={value}"))
            for key, value in wanted.items()
        ]
    elif isinstance(wanted, (str, list, tuple, set, frozenset)):
        keys = [wanted] if isinstance(wanted, str) else map(str, wanted)
        pairs = [(key, (word, key)) for key in keys]
    else:
        raise UserErrorException(f"A filter is a text or a dict, not {wanted!r}.")
    yield from (asked for key, asked in pairs if "=" not in key)  # of the others `passes` takes care


def fits_nothing(run_type: Any, properties: Any, status: Any) -> bool:
    """Whether no run can be of this type, have these properties, which are text, or this status."""
    no_text = isinstance(properties, Mapping) and None in properties.values()
    return no_text or status in _NEVER or (run_type is not None and run_type not in _KINDS)


def passes(record: RunRecord, tags: Any, properties: Any) -> bool:
    """Whether a run has what the filters ask for; names that hold a `=` only this can tell."""
    return _has(record["tags"], tags) and _has(record["properties"], properties)


def _has(labels: Mapping[str, Any], wanted: Any) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return wanted in labels
    if isinstance(wanted, Mapping):
        return all(
            key in labels and labels[key] == (None if value is None else str(value))
            for key, value in wanted.items()
        )
    return all(key in labels for key in wanted)


class RunList:
    """Runs, asked for as they are looked at. Prints as a list, can be gone through again and again, and
    `next()` works.
    """

    def __init__(self, fetch: Callable[[], Iterator[Run]]) -> None:
        self._rest: Iterator[Run] | None = None
        self._fetch = fetch
        self._known: list[Run] = []
        self._done = False
        self._at = 0

    def _have(self, count: int) -> bool:
        """Whether there are so many, after fetching what that takes."""
        if self._rest is None:
            self._rest = self._fetch()
        while len(self._known) < count and not self._done:
            try:
                self._known.append(next(self._rest))
            except StopIteration:
                self._done = True
        return len(self._known) >= count

    def _all(self) -> list[Run]:
        while self._have(len(self._known) + 1):
            pass
        return self._known

    def __iter__(self) -> Iterator[Run]:
        place = 0
        while self._have(place + 1):
            yield self._known[place]
            place += 1

    def __next__(self) -> Run:
        if not self._have(self._at + 1):
            raise StopIteration
        self._at += 1
        return self._known[self._at - 1]

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return self._have(1)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, int) and place >= 0:
            if not self._have(place + 1):
                raise IndexError(f"There are {len(self._known)} runs.")
            return self._known[place]
        return self._all()[place]

    def __repr__(self) -> str:
        return repr(self._all())
