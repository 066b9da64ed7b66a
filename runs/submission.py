"""The submit form as a whole: its steps and what is said of the run, from content to step specs.

A source that comes with a form becomes a snapshot at first sight and is named in the content from then on, so
that nothing uploaded is lost when something else in the form is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from runs.errors import InvalidPipeline, InvalidSnapshot, NotFound, StudioError, SubmittedBefore
from runs.forms import UPLOADS, RunForm, StepForm
from runs.json_size import check_json
from runs.models import ComputeTarget, Experiment, Run, Snapshot
from runs.services.drafts import OwnSnapshots
from runs.services.examples import load_example
from runs.services.experiments import check_experiment
from runs.services.snapshots import snapshot_from_files, snapshot_from_text, snapshot_from_zip
from runs.services.submit import MOST_STEPS, StepSpec, step_errors
from studio.accounts.models import Workspace

EXPERIMENTS_OFFERED = 300
#: Commas and the like in the list of the paths of an uploaded folder.
MOST_PATH_MARKS = 1_000_000
_STEP_FIELD = re.compile(r"steps-(\d{1,4})-[a-z_]+\Z")
_STEP_PLACE = re.compile(r"steps-(\d+)-(\w+)")
_FOLLOWS_FROM = {
    "script": ("script", "source", "command"),
    "arguments": ("command",),
    "name": ("name", "source", "script", "command"),
}
_RUN_BY_NUMBER = re.compile(r"([A-Za-z0-9_-]+)[# ](\d{1,15})")
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)
_LONGEST_ADDRESS = 1_000
_MOST_MEANT = 6  # an address may have a path before ours
_RUN_FIELDS = frozenset(RunForm.base_fields) - {"submission_key", "draft"}
#: As they are posted: environment variables are two columns.
_STEP_FIELDS = (frozenset(StepForm.base_fields) - {"env"}) | {"env_name", "env_value"}
_DIALOG_FIELDS = frozenset(
    {"experiment_kind", "experiment", "new_experiment", "display_name", "description", "tags"}
)

Uploads = MultiValueDict[str, UploadedFile]


class Submission:
    """The form with this content. `judge` says whether its fields show what is wrong with them.

    `submitted_before` is set where its key has made a run of other content.

    `origin` is the run that is submitted again.

    Two queries, three with an origin, and those of `OwnSnapshots.find`, whatever the number of steps.
    """

    def __init__(
        self,
        content: QueryDict,
        own: OwnSnapshots,
        *,
        files: Uploads | None = None,
        judge: bool = False,
        steps_only: bool = False,
    ) -> None:
        self.content = content
        self.workspace: Workspace = own.membership.workspace
        self.own = own
        self.submitted_before: SubmittedBefore | None = None
        self.targets = {
            t.name: t for t in ComputeTarget.objects.filter(workspace=self.workspace).order_by("name")
        }
        self.run = RunForm(
            content, targets=self.targets, experiments=self._experiments(), judge=judge, steps_only=steps_only
        )
        self.steps = [
            StepForm(content, index=index, targets=self.targets, judge=judge)
            for index in step_indexes(content)
        ]
        for step in self.steps:
            if judge:
                self._take(step, files or MultiValueDict())
        self._find_snapshots()
        self.origin = self._find_origin()

    def _experiments(self) -> list[str]:
        current = Experiment.objects.in_workspace(self.workspace).current()
        return list(current.order_by("-updated_at").values_list("name", flat=True)[:EXPERIMENTS_OFFERED])

    def _take(self, step: StepForm, files: Uploads) -> None:
        """Make the step's source a snapshot, if there is one that is not yet."""
        try:
            taken = take_source(step, files, self.own)
        except StudioError as error:
            step.source_error = str(error)
            taken = None
        if taken is not None:
            snapshot, label = taken
            hold(self.content, step.index, source=step.text("source"), snapshot=snapshot, label=label)

    def _find_snapshots(self) -> None:
        """Give each step its snapshot; forget the ones that this person may not submit."""
        found = self.own.find(step.text("digest") for step in self.steps)
        for step in self.steps:
            digest, field = step.text("digest"), step.add_prefix("digest")
            if field in self.content:  # once: a draft keeps all that came under the name
                self.content[field] = digest if digest in found else ""
            is_of_source = step.text("digest_source") == step.text("source") and not step.source_error
            if digest in found and is_of_source:
                step.snapshot = found[digest]

    def _find_origin(self) -> Run | None:
        """The run that is submitted again; forget what names none, so that no link is made of it."""
        run_id = self.content.get("resubmitted_from", "")
        if not run_id:
            return None
        runs = Run.objects.in_workspace(self.workspace).select_related("parent__experiment")
        origin = runs.filter(run_id=run_id).first() if run_id.isprintable() else None
        if origin is None:
            self.content["resubmitted_from"] = ""
        return origin

    def is_valid(self) -> bool:
        """Whether it can be submitted; each error is at its field then."""
        for form in (self.run, *self.steps):
            form.full_clean()
        if not self.steps:
            self.run.add_error(None, "There is nothing to run. Add a step.")
            return False
        for error in step_errors(self.workspace, self.specs(), self.default_target):
            if not self._follows(error):
                self.refuse(error)
        self._check_experiment()
        return all(form.is_valid() for form in (self.run, *self.steps))

    def _follows(self, error: StudioError) -> bool:
        """Whether an error of a step is there only because something else is wrong and was named already."""
        place = _STEP_PLACE.fullmatch(error.field)
        if place is None:
            return False
        step, field = self.steps[int(place[1])], place[2]
        if field == "name" and step.text("name").strip():
            return "name" in step.errors
        return any(earlier in step.errors for earlier in _FOLLOWS_FROM.get(field, ()))

    def _check_experiment(self) -> None:
        name = self.run.cleaned_data.get("experiment_name")
        if name and not self.run.steps_only:
            try:
                is_new = self.run.experiment_field == "new_experiment"
                check_experiment(self.workspace, name, is_new=is_new)
            except StudioError as error:
                self.refuse(error)

    @property
    def default_target(self) -> ComputeTarget | None:
        """Where steps run that choose no compute target themselves."""
        return self.run.cleaned_data.get("target")

    def specs(self) -> list[StepSpec]:
        """The steps as `submit` takes them; what a field was refused for is left out."""
        names = {str(step.index): step.cleaned_data.get("name", "") for step in self.steps}
        if len(self.steps) == 1:
            names = {str(self.steps[0].index): self._only_name}
        return [self._spec(step, names) for step in self.steps]

    def _spec(self, step: StepForm, names: dict[str, str]) -> StepSpec:
        cleaned = step.cleaned_data
        after = dict.fromkeys(cleaned.get("after") or [])
        return StepSpec(
            name=names[str(step.index)],
            script=cleaned.get("script", ""),
            snapshot=step.snapshot or Snapshot(files=[]),
            arguments=cleaned.get("arguments", ""),
            command=cleaned.get("command", ()),
            target=cleaned.get("target"),
            environment_variables=cleaned.get("env", {}),
            time_limit_s=cleaned.get("time_limit"),
            max_retries=cleaned.get("retries", 0),
            after=[names.get(index, f"step {index}") for index in after],
        )

    def refuse(self, error: StudioError) -> None:
        """Put an error of a service where it belongs."""
        place = _STEP_PLACE.fullmatch(error.field)
        if place and int(place[1]) < len(self.steps):
            self.steps[int(place[1])].refuse(place[2], error)
            if place[2] == "target" and self.default_target is None and "target" not in self.run.errors:
                self.run.add_error("target", "Choose where steps run.")
        elif error.field == "experiment":
            self.run.refuse(self.run.experiment_field, error)
        else:
            self.run.refuse(error.field, error)

    def kept(self) -> dict[str, list[str]]:
        """The content as a draft keeps it: the form's own fields, snapshots that the person may submit."""
        fields = {step.add_prefix(name) for step in self.steps for name in _STEP_FIELDS}
        return {
            field: texts for field, texts in self.content.lists() if field in _RUN_FIELDS or field in fields
        }

    @property
    def display_name(self) -> str:
        """What the run is called: as was typed, else as its only step was named; "" for neither."""
        return str(self.run.cleaned_data["display_name"] or self._only_name)

    @property
    def _only_name(self) -> str:
        """How the only step was named; "" where that is its script's name, or there are several."""
        only = self.steps[0] if len(self.steps) == 1 else None
        return only.cleaned_data.get("name", "") if only and only.text("name").strip() else ""

    @property
    def steps_in_words(self) -> str:
        """A name for a form that has none: its steps."""
        return ", ".join(step.title for step in self.steps[:4])

    @property
    def is_wrong_in_dialog(self) -> bool:
        """Whether only the fields of the Run dialog keep it from being submitted."""
        return bool(_DIALOG_FIELDS & set(self.run.errors)) and not any(step.errors for step in self.steps)


def step_indexes(content: QueryDict) -> list[int]:
    """The numbers of the steps in a content, in order; no more than may be submitted, and one."""
    found = {int(match[1]) for field in content if (match := _STEP_FIELD.match(field))}
    return sorted(found)[: MOST_STEPS + 1]


def hold(content: QueryDict, index: int, *, source: str, snapshot: Snapshot, label: str) -> None:
    """Name a step's snapshot in the content."""
    content[f"steps-{index}-digest"] = snapshot.digest
    content[f"steps-{index}-digest_source"] = source
    content[f"steps-{index}-source_label"] = label[:200]


def take_source(step: StepForm, files: Uploads, own: OwnSnapshots) -> tuple[Snapshot, str] | None:
    """The snapshot of what was uploaded, pasted or chosen, and what to call it; None when nothing was.

    Raises StudioError for a source that cannot be taken.
    """
    source, user = step.text("source"), own.membership.user
    if source in UPLOADS:
        uploads = files.getlist(step.add_prefix(source))
        return (
            taken_upload(source, uploads, step.data.get(step.add_prefix("paths"), ""), own)
            if uploads
            else None
        )
    if source == "paste" and step.text("pasted").strip():
        name = step.text("pasted_name").strip() or "train.py"
        return own.remember(snapshot_from_text(name, step.text("pasted"), by=user)), name
    if source == "run" and step.text("from_run").strip():
        run = find_run(own.membership.workspace, step.text("from_run"))
        if run.snapshot is None:
            raise InvalidSnapshot(
                "This run has no snapshot.", field="source", hint="Choose a script run or a step."
            )
        return run.snapshot, f"snapshot of {run.experiment.name} #{run.number}"
    if source == "example" and step.text("example"):
        example = load_example(step.text("example"))
        return own.remember(example.snapshot(by=user)), example.title
    return None


def taken_upload(
    source: str, uploads: list[UploadedFile], paths: str, own: OwnSnapshots
) -> tuple[Snapshot, str]:
    """The snapshot of uploaded files, and what to call it. `paths` is a JSON list beside them."""
    user = own.membership.user
    if source == "zip":
        return own.remember(snapshot_from_zip(uploads[0], by=user)), str(uploads[0].name)  # type: ignore[arg-type]
    if source == "file":
        named: list[tuple[str, Any]] = [(str(uploads[0].name), uploads[0])]
        return own.remember(snapshot_from_files(named, by=user, unwrap=False)), named[0][0]
    named = list(_by_path(uploads, paths))
    tops = {path.split("/", 1)[0] for path, _ in named if "/" in path}
    label = tops.pop() if len(tops) == 1 else "folder"
    return own.remember(snapshot_from_files(named, by=user)), label


def _by_path(uploads: list[UploadedFile], paths: str) -> Iterable[tuple[str, Any]]:
    """Browsers send no folders, so their paths come beside the files; without script there are only names."""
    check_json(paths.encode("utf-8", "replace"), MOST_PATH_MARKS)
    try:
        given = json.loads(paths) if paths else []
    except (ValueError, RecursionError):
        given = []
    if not isinstance(given, list) or len(given) != len(uploads):
        given = []
    for path, upload in zip_longest(given, uploads):
        yield (path if isinstance(path, str) else str(upload.name)), upload


def find_run(workspace: Workspace, text: str) -> Run:
    """The run meant by a run id, an address of its pages, or `experiment#12`. Raises NotFound."""
    text = text.strip()
    runs = Run.objects.in_workspace(workspace).select_related("snapshot", "experiment", "target")
    is_possible = 0 < len(text) <= _LONGEST_ADDRESS and "\0" not in text
    meant = _meant(text) if is_possible else []
    found = next((run for each in meant if (run := runs.filter(each).first())), None)
    if found is None:
        raise NotFound(
            "There is no such run in this workspace.",
            field="from_run",
            hint="Give its run id, its address, or experiment#12.",
        )
    return found


def _meant(text: str) -> list[Q]:
    """What may be meant by this text: an address is taken apart at its slashes, whatever host it names.

    Each is a query of its own: all of them in one would read every run.
    """
    short = _RUN_BY_NUMBER.fullmatch(text)
    if short:
        return [Q(experiment__name=short[1], number=int(short[2]))]
    parts = [part for part in re.split(r"[?#]", text, maxsplit=1)[0].split("/") if part]
    if len(parts) < 2:
        return [Q(run_id=text.strip("/"))]
    for word, name, then, number in zip(parts, parts[1:], parts[2:], parts[3:], strict=False):
        if (word, then) == ("experiments", "runs") and _NUMBER.fullmatch(number):
            return [Q(experiment__name=name, number=int(number))]
    wanted = []
    for before, word, after in zip(["", *parts], parts, parts[1:], strict=False):
        if word == "runs":
            wanted.append(Q(run_id=after))
            if _NUMBER.fullmatch(after):
                wanted.append(Q(experiment__name=before, number=int(after)))
    return wanted[:_MOST_MEANT]


def refuse_too_many(count: int) -> None:
    """Raise InvalidPipeline when a pipeline cannot take one more step."""
    if count >= MOST_STEPS:
        raise InvalidPipeline(f"A pipeline has at most {MOST_STEPS} steps.")
