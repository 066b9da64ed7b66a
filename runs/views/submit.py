"""The submit form: one page that a browser without script can use, and that script turns into a canvas."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from runs.errors import InvalidInput, NotFound, StudioError, SubmittedBefore
from runs.forms import StepForm
from runs.models import Run
from runs.prefill import (
    blank_step,
    content_of,
    example_content,
    fill,
    fresh,
    new_key,
    remember_experiment,
    run_content,
)
from runs.services.capacity import capacities
from runs.services.drafts import OwnSnapshots, delete_draft, find_draft, own_drafts, save_draft
from runs.services.examples import load_example
from runs.services.submit import submit as submit_run
from runs.status import Kind
from runs.submission import Submission, find_run, hold, refuse_too_many, step_indexes, take_source
from runs.toasts import toast
from studio.accounts.models import Membership, Workspace
from studio.accounts.permissions import contributor
from studio.accounts.refusals import is_htmx

#: What a submission key looks like.
KEY = re.compile(r"[A-Za-z0-9_-]{8,48}\Z")
RECENT_RUNS = 40
STEP_NUMBERS = frozenset(map(str, range(10_000)))


@contributor
def submit(request: HttpRequest) -> HttpResponse:
    """The form, empty or filled from `?draft=`, `?from=<run_id>` or `?example=`; and what it posts."""
    if request.method == "POST":
        return _posted(request)
    own = _own(request)
    try:
        content = _opened(request, own)
    except StudioError as error:
        toast(request, str(error), kind="error")
        content = fresh(own.membership)
    return _page(request, Submission(content, own))


def _own(request: HttpRequest) -> OwnSnapshots:
    membership: Membership = request.membership  # type: ignore[attr-defined]
    membership.user = request.user  # type: ignore[assignment]  # known already; saves its query
    return OwnSnapshots(membership, request.session)


def _opened(request: HttpRequest, own: OwnSnapshots) -> QueryDict:
    """What the page is to begin with."""
    if draft := request.GET.get("draft"):
        if not draft.isascii() or not draft.isdecimal() or len(draft) > 15:
            raise NotFound("This draft is not there any more.")
        found = find_draft(own.membership, int(draft))
        content = content_of({**found.content, "draft": found.pk, "draft_name": found.name})
        return content if step_indexes(content) else fill(content, blank_step(0))
    if run_id := request.GET.get("from"):
        return run_content(find_run(own.membership.workspace, run_id))
    if example := request.GET.get("example"):
        return example_content(load_example(example), own)
    content = fresh(own.membership)
    if experiment := request.GET.get("experiment"):
        content["experiment"], content["experiment_kind"] = experiment, "existing"
    return content


def _page(request: HttpRequest, submission: Submission, *, status: int = 200) -> HttpResponse:
    if not submission.run.data.get("submission_key"):
        submission.content["submission_key"] = new_key()
    context = {**_context(request, submission), "section": "submit"}
    return render(request, "submit/submit.html", context, status=status)


def _context(request: HttpRequest, submission: Submission) -> dict[str, Any]:
    membership = submission.own.membership
    drafts = own_drafts(membership)
    opened = submission.content.get("draft")
    return {
        "submission": submission,
        "run": submission.run,
        "steps": submission.steps,
        "blank": StepForm(blank_step(9999), index=9999, targets=submission.targets, judge=False),
        "most_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES - 1,
        "room": capacities(submission.targets.values(), membership.workspace),
        "drafts": drafts,
        "saved_draft": next((draft for draft in drafts if str(draft.pk) == opened), None),
        "recent_runs": recent_runs(membership.workspace),
        "alone": _resubmitted_alone(submission),
        "errors_in_dialog": submission.is_wrong_in_dialog,
        **(_waiting(submission) if submission.is_wrong_in_dialog else {}),
    }


def _resubmitted_alone(submission: Submission) -> Run | None:
    """The pipeline's step that is resubmitted by itself, though it had inputs of other steps.

    One query for a step, none for anything else.
    """
    origin = submission.origin
    if origin is None or origin.kind != Kind.STEP or len(submission.steps) > 1:
        return None
    return origin if origin.dependencies.exists() else None


def recent_runs(workspace: Workspace) -> list[Run]:
    """Those of the newest runs whose snapshot could be taken, for the list under the field. One query."""
    runs = Run.objects.in_workspace(workspace).select_related("experiment").order_by("-id")
    shown = runs.only("number", "display_name", "step_name", "snapshot_id", "experiment__name")
    return [run for run in shown[:RECENT_RUNS] if run.snapshot_id is not None]


def _posted(request: HttpRequest) -> HttpResponse:
    """Do what the pressed button says; Enter in a field is Run."""
    own, content = _own(request), request.POST.copy()
    action, _, number = content.pop("action", ["run"])[-1].partition(":")
    if action == "clear":
        return redirect(reverse("submit"))
    if action in ("add-step", "delete-step", "duplicate-step", "add-variable"):
        index = int(number) if number.isdecimal() and len(number) < 5 else -1
        return _rearranged(request, own, content, action, index)
    submission = Submission(content, own, files=request.FILES, judge=True, steps_only=action != "run")
    if action == "save-draft":
        return _saved(request, submission)
    if not submission.is_valid():
        return _page(request, submission, status=422)
    if action == "check":
        return render(request, "submit/_summary.html", {"submission": submission, **_waiting(submission)})
    return _submitted(request, submission)


def _waiting(submission: Submission) -> dict[str, Any]:
    """Where the steps will run, and which of them will wait behind others."""
    room = capacities(submission.targets.values(), submission.workspace)
    on: dict[str, list[StepForm]] = {}
    for step in submission.steps:
        target = step.cleaned_data["target"] or submission.default_target
        if target is not None:
            on.setdefault(target.name, []).append(step)
    default = submission.default_target
    return {"places": [(room[name], steps, room[name].target == default) for name, steps in on.items()]}


def _submitted(request: HttpRequest, submission: Submission) -> HttpResponse:
    """Submit the form; the run's page, or the form with what was wrong."""
    own, cleaned = submission.own, submission.run.cleaned_data
    key = cleaned["submission_key"] if KEY.match(cleaned["submission_key"]) else new_key()
    try:
        run, _ = submit_run(
            own.membership.workspace,
            by=own.membership.user,
            experiment_name=cleaned["experiment_name"],
            steps=submission.specs(),
            default_target=submission.default_target,
            display_name=submission.display_name,
            description=cleaned["description"],
            tags=cleaned["tags"],
            submission_key=f"{own.membership.user_id}.{key}",
            resubmitted_from=submission.origin,
        )
    except SubmittedBefore as error:
        submission.submitted_before = error
        submission.content["submission_key"] = new_key()
        return _page(request, submission, status=422)
    except StudioError as error:
        submission.refuse(error)
        return _page(request, submission, status=422)
    remember_experiment(own.membership, run.experiment.name)
    toast(request, f"{run.name} is submitted to {run.experiment.name}")
    return see_other(request, "run-detail", run.experiment.name, run.number)


def see_other(request: HttpRequest, name: str, *args: Any, query: str = "") -> HttpResponse:
    """Send the browser to a page after a write, whether it or the page's script has asked."""
    url = reverse(name, args=args) + query
    if is_htmx(request):
        return HttpResponse(headers={"HX-Redirect": url})
    response = redirect(url)
    response.status_code = 303
    return response


def _saved(request: HttpRequest, submission: Submission) -> HttpResponse:
    """Keep the form as a draft, whatever is still wrong with it."""
    content = submission.content
    pk = content.get("draft", "")
    try:
        draft = save_draft(
            submission.own.membership,
            name=content.get("draft_name") or content.get("display_name") or submission.steps_in_words,
            content=submission.kept(),
            pk=int(pk) if pk.isascii() and pk.isdecimal() and len(pk) < 16 else None,
        )
    except StudioError as error:
        submission.run.refuse("", error)
        return _page(request, submission, status=422)
    toast(request, f"Draft “{draft.name}” is saved")
    return see_other(request, "submit", query=f"?draft={draft.pk}")


def _rearranged(
    request: HttpRequest, own: OwnSnapshots, content: QueryDict, action: str, index: int
) -> HttpResponse:
    """The same form with a step or a row more or less: what script does, for browsers without it."""
    submission = Submission(content, own, files=request.FILES, judge=True, steps_only=True)
    indexes = step_indexes(content)
    following = max(indexes, default=-1) + 1
    try:
        if action == "add-step":
            refuse_too_many(len(indexes))
            fill(content, blank_step(following))
        elif action == "delete-step":
            _drop_step(content, index)
        elif action == "duplicate-step":
            refuse_too_many(len(indexes))
            _copy_step(content, index, following)
        elif action == "add-variable":
            content.appendlist(f"steps-{index}-env_name", "")
            content.appendlist(f"steps-{index}-env_value", "")
    except StudioError as error:
        toast(request, str(error), kind="error")
    if not step_indexes(content):
        fill(content, blank_step(0))
    errors = {step.index: step.source_error for step in submission.steps}
    again = Submission(content, own)
    for step in again.steps:
        step.source_error = errors.get(step.index, "")
    return _page(request, again)


def _drop_step(content: QueryDict, index: int) -> None:
    for field in [field for field in content if field.startswith(f"steps-{index}-")]:
        del content[field]
    for field in [field for field in content if field.endswith("-after")]:
        content.setlist(field, [other for other in content.getlist(field) if other != str(index)])


def _copy_step(content: QueryDict, index: int, to: int) -> None:
    prefix = f"steps-{index}-"
    for field, texts in [(field, texts) for field, texts in content.lists() if field.startswith(prefix)]:
        content.setlist(f"steps-{to}-{field.removeprefix(prefix)}", texts)
    name = content.get(f"steps-{to}-name", "")
    content[f"steps-{to}-name"] = f"{name}-2" if name else ""
    content[f"steps-{to}-x"] = content[f"steps-{to}-y"] = ""


@contributor
@require_POST
def submit_upload(request: HttpRequest) -> HttpResponse:
    """Take a step's source as it is chosen; the part of the step that says what it became.

    The fields are those of the form, for the one step of `index`.
    """
    own, content, index = _own(request), request.POST.copy(), request.POST.get("index", "")
    step = StepForm(content, index=int(index) if index in STEP_NUMBERS else 0, targets={}, judge=False)
    try:
        taken = take_source(step, request.FILES, own)
        if taken is None:
            raise InvalidInput("There is nothing yet.", hint="Choose a source.")
        step.snapshot, label = taken
        hold(content, step.index, source=step.text("source"), snapshot=step.snapshot, label=label)
    except StudioError as error:
        step.source_error = str(error)
    return render(request, "submit/_kept.html", {"step": step}, status=422 if step.source_error else 200)


@contributor
@require_POST
def submit_draft_delete(request: HttpRequest, draft: int) -> HttpResponse:
    """Remove one's own draft; 404 for any other."""
    name = delete_draft(request.membership, draft)  # type: ignore[attr-defined]
    toast(request, f"Draft “{name}” is deleted")
    return see_other(request, "submit")
