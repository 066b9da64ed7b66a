"""The addresses of pages and their parts, grouped by the object they hang on."""

from django.urls import path
from django.views.generic import RedirectView

from runs.views import run, search, shell
from runs.views.stub import stub

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="experiment-list"), name="home"),
    # The shell around every page
    path("shell/", shell.shell, name="shell"),
    path("search/complete/", search.search_complete, name="search-complete"),
    # Experiments
    path("experiments/", stub, name="experiment-list"),
    path("experiments/<str:name>/", stub, name="experiment-detail"),
    # Runs and pipelines
    path("runs/", stub, name="run-list"),
    path("pipelines/", stub, name="pipeline-list"),
    path("runs/<str:run_id>/", run.run_by_id, name="run-by-id"),
    # One run
    path("experiments/<str:name>/runs/<int:number>/", run.run_detail, name="run-detail"),
    path("experiments/<str:name>/runs/<int:number>/head/", run.run_head, name="run-head"),
    path("experiments/<str:name>/runs/<int:number>/overview/", stub, name="run-overview"),
    path("experiments/<str:name>/runs/<int:number>/edit/", stub, name="run-edit"),
    path("experiments/<str:name>/runs/<int:number>/cancel/", stub, name="run-cancel"),
    path("experiments/<str:name>/runs/<int:number>/archive/", stub, name="run-archive"),
    path("experiments/<str:name>/runs/<int:number>/unarchive/", stub, name="run-unarchive"),
    path("experiments/<str:name>/runs/<int:number>/tags/", stub, name="run-tags"),
    path("experiments/<str:name>/runs/<int:number>/children/", stub, name="run-children"),
    path("experiments/<str:name>/runs/<int:number>/graph/", stub, name="run-graph"),
    path("experiments/<str:name>/runs/<int:number>/logs/", stub, name="run-logs"),
    path("experiments/<str:name>/runs/<int:number>/outputs/", stub, name="run-outputs"),
    path("experiments/<str:name>/runs/<int:number>/outputs/zip/", stub, name="run-outputs-zip"),
    path("experiments/<str:name>/runs/<int:number>/outputs/file/<path:path>", stub, name="run-output-file"),
    path("experiments/<str:name>/runs/<int:number>/snapshot/", stub, name="run-snapshot"),
    path("experiments/<str:name>/runs/<int:number>/snapshot/zip/", stub, name="run-snapshot-zip"),
    # Submit
    path("submit/", stub, name="submit"),
    path("start/", stub, name="start"),
    # Compute
    path("compute/", stub, name="compute-list"),
]
