"""The page of a workspace without experiments: run an example, or connect from a terminal."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs.errors import StudioError
from runs.models import ComputeTarget, Experiment
from runs.prefill import new_key
from runs.services.drafts import OwnSnapshots
from runs.services.examples import Example, load_example, read_file
from runs.services.submit import StepSpec
from runs.services.submit import submit as submit_run
from runs.toasts import toast
from runs.views.submit import KEY, see_other
from studio.addresses import whole_address

EXAMPLE = "digits-pipeline"


@dataclass(frozen=True)
class Box:
    """A step of the example as the drawing shows it, in pixels."""

    name: str
    x: int
    y: int
    before: list[tuple[int, int]]

    @property
    def middle(self) -> int:
        """Where edges meet the box."""
        return self.y + BOX_HEIGHT // 2


BOX_WIDTH, BOX_HEIGHT, COLUMN, ROW = 112, 34, 152, 46


def start(request: HttpRequest) -> HttpResponse:
    """The page; a POST submits the example and leads to its run."""
    example = load_example(EXAMPLE)
    if request.method == "POST":
        return _run_example(request, example)
    membership = request.membership  # type: ignore[attr-defined]
    boxes = draw(example)
    context = {
        "section": "experiments",
        "example": example,
        "boxes": boxes,
        "width": max(box.x for box in boxes) + BOX_WIDTH,
        "height": max(box.y for box in boxes) + BOX_HEIGHT,
        "submission_key": new_key(),
        "studio_url": whole_address(request),
        "is_empty": not Experiment.objects.in_workspace(membership.workspace).exists(),
    }
    return render(request, "start/start.html", context)


def draw(example: Example) -> list[Box]:
    """The steps in columns, each right of those it runs after."""
    depth: dict[str, int] = {}
    for step in example.steps:
        depth[step.name] = max((depth[name] + 1 for name in step.after), default=0)
    columns: dict[int, list[str]] = {}
    for name, column in depth.items():
        columns.setdefault(column, []).append(name)
    tallest = max(len(names) for names in columns.values())
    place = {
        name: (column * COLUMN, row * ROW + (tallest - len(names)) * ROW // 2)
        for column, names in columns.items()
        for row, name in enumerate(names)
    }
    return [
        Box(
            step.name,
            *place[step.name],
            before=[(place[name][0] + BOX_WIDTH, place[name][1] + BOX_HEIGHT // 2) for name in step.after],
        )
        for step in example.steps
    ]


def _run_example(request: HttpRequest, example: Example) -> HttpResponse:
    membership = request.membership  # type: ignore[attr-defined]
    membership.user = request.user
    snapshot = OwnSnapshots(membership, request.session).remember(example.snapshot(by=membership.user))
    key = request.POST.get("submission_key", "")
    try:
        run, _ = submit_run(
            membership.workspace,
            by=membership.user,
            experiment_name=example.experiment_name,
            steps=[
                StepSpec(step.name, step.script, snapshot, step.arguments, after=step.after)
                for step in example.steps
            ],
            default_target=_default_target(membership.workspace_id),
            description=example.description,
            submission_key=f"{membership.user_id}.{key}" if KEY.match(key) else "",
        )
    except StudioError as error:
        toast(request, str(error), kind="error")
        return see_other(request, "start")
    toast(request, f"{run.name} is submitted to {run.experiment.name}")
    return see_other(request, "run-detail", run.experiment.name, run.number)


def _default_target(workspace_id: int) -> ComputeTarget | None:
    """The default, or whichever comes first by name."""
    targets = ComputeTarget.objects.filter(workspace_id=workspace_id)
    return targets.order_by("-is_default", "name").first()


@require_safe
def start_files(request: HttpRequest) -> HttpResponse:
    """The files of the example, and the text of the one of `?path=`."""
    example = load_example(EXAMPLE)
    paths = example.paths()
    path = request.GET.get("path") or example.steps[0].script
    if path not in paths:
        raise Http404("The example has no such file.")
    context = {
        "section": "experiments",
        "example": example,
        "paths": paths,
        "path": path,
        "text": read_file(example, path),
    }
    return render(request, "start/files.html", context)
