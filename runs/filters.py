"""The filters of lists, declared once for the panel, the pages and the API.

The panel says nothing that the search bar cannot say: its fields become conditions of the same search, so
panel and bar end in one queryset, and `str(filter.query)` is the text of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import QueryDict

from runs.errors import SearchError
from runs.folding import clean
from runs.models import ComputeTarget, Experiment, Run
from runs.search.expressions import IsWord, LikeAnyCase
from runs.search.nodes import (
    And,
    Condition,
    Dated,
    Labelled,
    Lasting,
    Named,
    Node,
    OneOf,
    Pattern,
    Query,
    When,
    quote,
)
from runs.search.parser import parse
from runs.search.query import Search
from runs.search.text import like_pattern
from runs.status import ACTIVE, Kind, Status
from studio.accounts.models import Membership, User, Workspace
from studio.fields import TextField

#: Choices that the panel shows of a field; any other name can be written into the search bar.
SHOWN = 20
_NAME_LENGTH = 256
_NAMED = ("submitter", "experiment", "target")
_WORDS = ("status", "kind")


class SearchField(TextField):
    """The text of the search bar; its value is a Query."""

    def clean(self, value: Any) -> Query:
        """Parse it; what cannot be read is an error of this field."""
        try:
            return parse(super().clean(value) or "")
        except SearchError as error:
            params = {"message": str(error), "position": error.position}
            # What was typed may hold %, which means something in a message that has parameters.
            raise ValidationError("%(message)s", code=error.code, params=params) from error


class WordsField(forms.MultipleChoiceField):
    """Several of the choices; an empty one, as some forms send for "any", is none."""

    default_error_messages = {"invalid_choice": "“%(value)s” is none of these."}

    def to_python(self, value: Any) -> list[str]:
        """The words that are not empty."""
        return [word for word in super().to_python(value) if word]


class NamesField(WordsField):
    """Names that may be others than the choices that are shown."""

    default_error_messages = {"invalid_choice": f"A name has 1 to {_NAME_LENGTH} letters."}

    def valid_value(self, value: str) -> bool:
        """Anything that a name can be."""
        return bool(clean(value).strip()) and len(value) <= _NAME_LENGTH


class ConditionField(TextField):
    """A value of the search language; its value is the condition that a qualifier makes of it."""

    def __init__(self, *, qualifier: str, **options: Any) -> None:
        super().__init__(**options)
        self.qualifier = qualifier

    def clean(self, value: Any) -> Condition | None:
        """Read it as the search bar would."""
        text = clean(super().clean(value) or "").strip()
        if not text:
            return None
        if self.qualifier == "tag:" and '"' not in text:
            text = _quoted_label(text)
        try:
            read = parse(f"{self.qualifier}{text}").root
        except SearchError as error:
            message = error.message.partition(": ")[2]
            raise ValidationError(message[:1].upper() + message[1:], code=error.code) from error
        if isinstance(read, Dated | Lasting | Labelled):
            return read
        raise ValidationError("Write one value here; the search bar takes more.", code=SearchError.code)


def _quoted_label(text: str) -> str:
    """A key, or key=value, as people write it in a field of its own, where blanks need no quotes."""
    parts = text.split("=", 1)
    return "=".join("*".join(quote(piece) if piece else "" for piece in part.split("*")) for part in parts)


class _SearchFilter(django_filters.Filter):
    field_class = SearchField


class _WordsFilter(django_filters.MultipleChoiceFilter):
    field_class = WordsField


class _NamesFilter(django_filters.MultipleChoiceFilter):
    field_class = NamesField


class _ConditionFilter(django_filters.Filter):
    field_class = ConditionField


class _TextFilter(django_filters.CharFilter):
    field_class = TextField


class RunFilter(django_filters.FilterSet):
    """Which runs a list shows: the search bar `q` and the fields of the panel.

    Ask `is_valid()`, then `query` for what page and count are made of. `qs` is all runs that match, and none
    if a value is invalid; the errors are on the form.
    """

    q = _SearchFilter(label="Search")
    status = _WordsFilter(label="Status", choices=[(status.value, status.value) for status in Status])
    submitter = _NamesFilter(label="Submitter")
    experiment = _NamesFilter(label="Experiment")
    target = _NamesFilter(label="Compute target")
    kind = _WordsFilter(label="Kind", choices=[(kind.value, kind.value) for kind in Kind])
    created_after = _ConditionFilter(label="Submitted from", qualifier="created:>=")
    created_before = _ConditionFilter(label="Submitted until", qualifier="created:<=")
    duration_min = _ConditionFilter(label="Duration from", qualifier="duration:>=")
    duration_max = _ConditionFilter(label="Duration to", qualifier="duration:<=")
    tag = _ConditionFilter(label="Tag", qualifier="tag:")
    archived = django_filters.BooleanFilter(label="Archived", widget=forms.CheckboxInput)

    class Meta:
        model = Run
        fields: list[str] = []

    def __init__(
        self,
        data: QueryDict | Mapping[str, Any] | None = None,
        queryset: QuerySet[Run] | None = None,
        *,
        workspace: Workspace,
        person: User | None = None,
        **options: Any,
    ) -> None:
        super().__init__({} if data is None else data, queryset, **options)
        self.workspace = workspace
        self.person = person
        choices = {"submitter": self._people, "experiment": self._experiments, "target": self._targets}
        for name, names in choices.items():
            self.filters[name].extra["choices"] = names

    def filter_queryset(self, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """All runs of the queryset that match."""
        if not self.is_valid():
            return queryset.none()
        return Search(queryset, self.query, person=self.person).matching()

    @property
    def query(self) -> Query:
        """The search that bar and panel make together; everything's, if the form is invalid."""
        given = self.form.cleaned_data if self.is_valid() else {}
        bar = given.get("q", Query()).root
        parts = [*(bar.nodes if isinstance(bar, And) else [bar]), *_panel_conditions(given)]
        unique = tuple(dict.fromkeys(parts))
        return Query(unique[0] if len(unique) == 1 else And(unique))

    def _people(self) -> list[tuple[str, str]]:
        members = Membership.objects.filter(workspace=self.workspace).order_by("user__username")
        return _choices(members.values_list("user__username", flat=True))

    def _experiments(self) -> list[tuple[str, str]]:
        current = Experiment.objects.in_workspace(self.workspace).current().order_by("-updated_at", "-pk")
        return _choices(current.values_list("name", flat=True))

    def _targets(self) -> list[tuple[str, str]]:
        targets = ComputeTarget.objects.filter(workspace=self.workspace).order_by("-is_default", "name")
        return _choices(targets.values_list("name", flat=True))


def _choices(names: QuerySet[Any, str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names[:SHOWN]]


def _panel_conditions(given: Mapping[str, Any]) -> Iterable[Condition]:
    for name in _WORDS:
        if given.get(name):
            yield OneOf(name, tuple(given[name]))
    for name in _NAMED:
        if given.get(name):
            yield Named(name, tuple(Pattern((clean(one).strip(),)) for one in given[name]))
    fields = ("created_after", "created_before", "duration_min", "duration_max", "tag")
    yield from (given[name] for name in fields if given.get(name))
    if given.get("archived"):
        yield OneOf("is", ("archived",))


def split_query(query: Query) -> tuple[dict[str, Any], Query]:
    """What of a search the panel can show, as the data of its form, and the rest, for the bar beside it.

    Every condition goes to one of the two, so that both together mean the same as the query.
    """
    nodes = query.root.nodes if isinstance(query.root, And) else (query.root,)
    data: dict[str, Any] = {}
    rest: list[Node] = []
    for node in nodes:
        name, value = _panel_field(node)
        if name and name not in data:
            data[name] = value
        else:
            rest.append(node)
    return data, Query(rest[0] if len(rest) == 1 else And(tuple(rest)))


def _panel_field(node: Node) -> tuple[str, Any]:
    match node:
        case OneOf("is", ("archived",)):
            return "archived", True
        case OneOf(what, words) if what in _WORDS:
            return what, list(words)
        case Named(what, names) if what in _NAMED and all(name.is_exact for name in names):
            return what, [name.pieces[0] for name in names]
        case Dated("created", ">=" | "<=" as operator, When(text)):
            return "created_after" if operator == ">=" else "created_before", text
        case Lasting(">=" | "<=" as operator, _, _):
            return "duration_min" if operator == ">=" else "duration_max", str(node).partition(operator)[2]
        case Labelled("tag", _, _):
            return "tag", str(node).partition(":")[2]
    return "", None


class ExperimentFilter(django_filters.FilterSet):
    """Which experiments the list shows: those that are not archived, or with `archived` only archived ones.

    An invalid value shows its error and no rows.
    """

    q = _TextFilter(label="Name", method="named", max_length=_NAME_LENGTH)
    active = django_filters.BooleanFilter(label="Active", method="with_active", widget=forms.CheckboxInput)
    mine = django_filters.BooleanFilter(label="Mine", method="of_person", widget=forms.CheckboxInput)
    archived = django_filters.BooleanFilter(label="Archived", method="put_away", widget=forms.CheckboxInput)

    class Meta:
        model = Experiment
        fields: list[str] = []

    def __init__(
        self,
        data: QueryDict | Mapping[str, Any] | None = None,
        queryset: QuerySet[Experiment] | None = None,
        *,
        workspace: Workspace,
        person: User | None = None,
        **options: Any,
    ) -> None:
        queryset = Experiment.objects.in_workspace(workspace) if queryset is None else queryset
        super().__init__({} if data is None else data, queryset, **options)
        self.workspace = workspace
        self.person = person

    def filter_queryset(self, queryset: QuerySet[Experiment]) -> QuerySet[Experiment]:
        """Those that every field lets through."""
        if not self.is_valid():
            return queryset.none()
        archived = bool(self.form.cleaned_data["archived"])
        return super().filter_queryset(queryset).filter(archived_at__isnull=not archived)

    def named(self, experiments: QuerySet[Experiment], name: str, value: str) -> QuerySet[Experiment]:
        """Names that hold each of these words, whatever the case; stars are taken as blanks."""
        for word in clean(value).replace("*", " ").split():
            experiments = experiments.filter(Q(LikeAnyCase("name", like_pattern(word))))
        return experiments

    def with_active(self, experiments: QuerySet[Experiment], name: str, value: bool) -> QuerySet[Experiment]:
        """Those with active runs."""
        active = Run.objects.filter(Q(IsWord("status", sorted(ACTIVE))), workspace=self.workspace)
        return experiments.filter(pk__in=active.values("experiment")) if value else experiments

    def of_person(self, experiments: QuerySet[Experiment], name: str, value: bool) -> QuerySet[Experiment]:
        """Those that the person made or submitted to."""
        if not value or self.person is None:
            return experiments
        submitted = Run.objects.filter(submitter=self.person, workspace=self.workspace)
        return experiments.filter(Q(created_by=self.person) | Q(pk__in=submitted.values("experiment")))

    def put_away(self, experiments: QuerySet[Experiment], name: str, value: bool) -> QuerySet[Experiment]:
        """Settled by `filter_queryset`, because not asking is an answer too."""
        return experiments
