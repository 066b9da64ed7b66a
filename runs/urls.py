"""The addresses of pages and their parts, grouped by the object they hang on."""

from django.urls import path
from django.views.generic import RedirectView

from runs.views import (
    bulk,
    children,
    compute,
    experiments,
    graph,
    logs,
    metrics,
    outputs,
    run,
    run_actions,
    run_overview,
    runs,
    search,
    shell,
    snapshot,
    start,
    submit,
)

RUN = "experiments/<str:name>/runs/<int:number>/"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="experiment-list"), name="home"),
    # The shell around every page
    path("shell/", shell.shell, name="shell"),
    path("search/complete/", search.search_complete, name="search-complete"),
    # Experiments
    path("experiments/", experiments.experiment_list, name="experiment-list"),
    path("experiments/<str:name>/", experiments.experiment_detail, name="experiment-detail"),
    path("experiments/<str:name>/actions/", bulk.run_actions, name="experiment-actions"),
    path("experiments/<str:name>/edit/", experiments.experiment_edit, name="experiment-edit"),
    path("experiments/<str:name>/archive/", experiments.experiment_archive, name="experiment-archive"),
    path(
        "experiments/<str:name>/unarchive/",
        experiments.experiment_archive,
        {"archived": False},
        name="experiment-unarchive",
    ),
    # Runs and pipelines
    path("runs/", runs.run_list, name="run-list"),
    path("runs/selected/actions/", bulk.run_actions, {"place": "runs"}, name="run-actions"),
    path("runs/undo/<str:token>/", bulk.run_undo, name="run-undo"),
    path("pipelines/", runs.pipeline_list, name="pipeline-list"),
    path("pipelines/actions/", bulk.run_actions, {"place": "pipelines"}, name="pipeline-actions"),
    path("columns/<str:place>/", runs.run_columns, name="run-columns"),
    path("runs/<str:run_id>/", run.run_by_id, name="run-by-id"),
    # One run
    path(RUN, run.run_detail, name="run-detail"),
    path(RUN + "head/", run.run_head, name="run-head"),
    path(RUN + "overview/", run_overview.run_overview, name="run-overview"),
    path(RUN + "edit/", run_actions.run_edit, name="run-edit"),
    path(RUN + "cancel/", run_actions.run_cancel, name="run-cancel"),
    path(RUN + "archive/", run_actions.run_archive, name="run-archive"),
    path(RUN + "unarchive/", run_actions.run_unarchive, name="run-unarchive"),
    path(RUN + "tags/", run_actions.run_tags, name="run-tags"),
    path(RUN + "metrics/", metrics.run_metrics, name="run-metrics"),
    path(RUN + "metrics/one/", metrics.run_metric, name="run-metric"),
    path(RUN + "metrics/csv/", metrics.run_metric_csv, name="run-metric-csv"),
    path(RUN + "images/", metrics.run_images, name="run-images"),
    path(RUN + "children/", children.run_children, name="run-children"),
    path(RUN + "graph/", graph.run_graph, name="run-graph"),
    path(RUN + "log-tail/", graph.run_log_tail, name="run-log-tail"),
    path(RUN + "logs/", logs.run_logs, name="run-logs"),
    path(RUN + "logs/files/", logs.run_log_files, name="run-log-files"),
    path(RUN + "logs/lines/", logs.run_log_lines, name="run-log-lines"),
    path(RUN + "logs/search/", logs.run_log_search, name="run-log-search"),
    path(RUN + "logs/raw/", logs.run_log_raw, name="run-log-raw"),
    path(RUN + "outputs/", outputs.run_outputs, name="run-outputs"),
    path(RUN + "outputs/zip/", outputs.run_outputs_zip, name="run-outputs-zip"),
    path(RUN + "outputs/file/<path:path>", outputs.run_output_file, name="run-output-file"),
    path(RUN + "snapshot/", snapshot.run_snapshot, name="run-snapshot"),
    path(RUN + "snapshot/zip/", snapshot.run_snapshot_zip, name="run-snapshot-zip"),
    # Submit
    path("submit/", submit.submit, name="submit"),
    path("submit/upload/", submit.submit_upload, name="submit-upload"),
    path("submit/drafts/<int:draft>/delete/", submit.submit_draft_delete, name="submit-draft-delete"),
    path("start/", start.start, name="start"),
    path("start/files/", start.start_files, name="start-files"),
    # Compute
    path("compute/", compute.compute_list, name="compute-list"),
    path("compute/new/", compute.target_create, name="target-create"),
    path("compute/<str:target>/edit/", compute.target_edit, name="target-edit"),
    path("compute/<str:target>/default/", compute.target_default, name="target-default"),
    path("compute/<str:target>/command/", compute.target_command, name="target-command"),
    path("compute/<str:target>/node/", compute.node_change, name="node-change"),
]
