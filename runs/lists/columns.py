"""The columns of a table of runs, and which of them a person has chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from studio.accounts.models import User
from studio.accounts.services import remember_choice


@dataclass(frozen=True)
class Column:
    """One column. `sort` is what it is sorted by ("" for not at all), `width` and `css` are classes."""

    key: str
    title: str
    width: str
    sort: str = ""
    css: str = ""
    place: str = ""  # where its cell stands on narrow screens

    @property
    def is_metric(self) -> bool:
        """Whether it shows a metric, which a person chooses for each experiment."""
        return self.key.startswith("metric:")

    @property
    def least_window(self) -> int:
        """The width in pixels below which a window does not show it; 0 if every window does."""
        return max((int(word[5:]) for word in self.css.split() if word.startswith("from-")), default=0)

    @property
    def hidden(self) -> str:
        """Those of its classes that take it away where there is no room for it."""
        return " ".join(word for word in self.css.split() if word.startswith(("from", "beside")))


_ALL = (
    Column("experiment", "Experiment", "w-172", "experiment", "cut"),
    Column("status", "Status", "w-118", "status"),
    Column("duration", "Duration", "w-86", "duration", "num", "end"),
    Column("submitter", "Submitter", "w-90", "submitter", "cut from-1280 beside"),
    Column("target", "Target", "w-108", "target", "cut from-1280 beside beside-1600"),
    Column("node", "Node", "w-108", "", "cut from-1100"),
    Column("kind", "Kind", "w-90", "", "from-1100"),
    Column("tags", "Tags", "w-252", "", "from-1400"),
    Column("command", "Command", "w-252", "", "cut mono from-1400"),
    Column("error", "Error", "w-208", "", "cut from-1400"),
    Column("run_id", "Run id", "w-208", "", "cut mono from-1400"),
    Column("started", "Started", "w-108", "", "num from-1100"),
    Column("ended", "Ended", "w-108", "", "num from-1100"),
    Column("created", "Submitted", "w-108", "created", "num", "second-end"),
)
COLUMNS = {column.key: column for column in _ALL}

_KEY = "columns"

#: Pixels of box, number and a readable name.
_BESIDE = 312
#: Windows: their least width, and what a table may need in them that is not scrolled sideways.
_WINDOWS = {"wide": (1400, 1350), "mid": (1280, 1150), "slim": (1100, 980)}

#: What each list shows until a person chooses otherwise.
DEFAULTS: dict[str, tuple[str, ...]] = {
    "experiment": ("status", "duration", "submitter", "target", "tags", "created"),
    "runs": ("experiment", "status", "duration", "submitter", "target", "tags", "created"),
    "pipelines": ("experiment", "status", "duration", "submitter", "tags", "created"),
}


def offered(place: str) -> list[Column]:
    """The columns that a list can show, in their order."""
    return [column for column in _ALL if not (place == "experiment" and column.key == "experiment")]


def chosen(person: User, place: str) -> list[Column]:
    """The columns that this person's list shows."""
    kept = person.preferences.get(_KEY, {}).get(place)
    keys = kept if isinstance(kept, list) else DEFAULTS[place]
    return [column for column in offered(place) if column.key in keys]


def with_metrics(columns: list[Column], metrics: list[Column]) -> list[Column]:
    """The columns of a list with those of metrics before the one that ends it; tags make room for them."""
    if metrics:
        columns = [replace(one, width="w-172") if one.key == "tags" else one for one in columns]
    at = next((i for i, column in enumerate(columns) if column.key == "created"), len(columns))
    return [*columns[:at], *metrics, *columns[at:]]


def choose(person: User, place: str, keys: Iterable[str]) -> None:
    """Keep a person's choice; unknown keys are dropped."""
    wanted = set(keys)
    known = [column.key for column in offered(place) if column.key in wanted]
    remember_choice(person, _KEY, place, known)


def scrolls_in(columns: Sequence[Column]) -> str:
    """Classes of the kinds of windows where a table of these columns is wider than its place.

    Such as "mid-scrolls slim-scrolls"; "" if there is room in any.
    """
    narrow = (name for name, (window, room) in _WINDOWS.items() if _pixels(columns, window) > room)
    return " ".join(f"{name}-scrolls" for name in narrow)


def _pixels(columns: Sequence[Column], window: int) -> int:
    shown = [column for column in columns if column.least_window <= window]
    return _BESIDE + sum(int(column.width.removeprefix("w-")) + 12 for column in shown)


def fingerprint(columns: Iterable[Column]) -> str:
    """A short word for a choice of columns: part of the version of what a page shows."""
    return f"{crc32(','.join(column.key for column in columns).encode()):x}"
