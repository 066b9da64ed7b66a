"""What a submitted script may do with the runs around its own, with the token that its run has."""

from __future__ import annotations

from pathlib import Path

from azureml.core import Experiment, ScriptRunConfig, Workspace

from tests.sdk.live import Signed

#: What migrating-from-azureml.md says that a run's own token may not do.
REFUSED = """
import os, pathlib, sys
from azureml.core import Experiment, Run, Workspace
from azureml.exceptions import ServiceException
run = Run.get_context()
ws, other = run.experiment.workspace, sys.argv[1]
for attempt in (
    lambda: run.parent.tag("a"),
    lambda: Run(run.experiment, other),
    lambda: ws.get_run(other),
    lambda: run.experiment.start_logging(),
    lambda: Experiment(ws, "another"),
    lambda: dict(ws.experiments),
    lambda: run.experiment.tag("a"),
):
    try:
        attempt()
    except ServiceException as error:
        print(error.status_code)
print([one.id for one in run.experiment.get_runs()] == [run.parent.id])
print(len(list(run.experiment.get_runs(include_children=True))))
os.environ["STUDIO_TOKEN"] = pathlib.Path(sys.argv[2]).read_text().strip()
ws = Workspace.get(ws.name)
print(len(list(ws.experiments[run.experiment.name].get_runs())), ws.get_run(other).id == other)
"""
LOG = "user_logs/std_log.txt"
PARENT = """
from azureml.core import Run, ScriptRunConfig
run = Run.get_context()
run.submit_child(ScriptRunConfig(".", "child.py")).wait_for_completion(show_output=True)
"""
CHILD = """
from azureml.core import Run
from azureml.exceptions import UserErrorException
parent = Run.get_context().parent
parent.log("from_child", 7)
with open("a.png", "wb") as file:
    file.write(b"\\x89PNG\\r\\n\\x1a\\n")
try:
    parent.log_image("shown", path="a.png")
except UserErrorException as error:
    print(error.message)
"""


def test_a_child_logs_metrics_to_its_parent(attached: Path, signed_in: Signed) -> None:
    (attached / "parent.py").write_text(PARENT)
    (attached / "child.py").write_text(CHILD)
    parent = Experiment(Workspace.from_config(), "upwards").submit(ScriptRunConfig(".", "parent.py"))
    parent.wait_for_completion()
    assert parent.get_metrics() == {"from_child": 7}
    (child,) = parent.get_children()
    assert child.get_metrics() == {}
    said = child.get_details_with_logs()["logFiles"][LOG]
    assert "logs metrics to the runs above its own, and no files: the image 'shown'" in said
    assert "not sent yet" not in said


def test_what_it_may_not_do_is_as_the_document_says(
    attached: Path, tmp_path: Path, signed_in: Signed
) -> None:
    exp = Experiment(Workspace.from_config(), "refused")
    other = exp.start_logging(snapshot_directory=None)
    other.complete()
    (tmp_path / "token").write_text(signed_in.token)
    parent = PARENT.replace('"child.py"', '"child.py", sys.argv[1:]')
    (attached / "parent.py").write_text("import sys" + parent)
    (attached / "child.py").write_text(REFUSED)
    run = exp.submit(ScriptRunConfig(".", "parent.py", [other.id, str(tmp_path / "token")]))
    run.wait_for_completion()
    (child,) = run.get_children()
    lines = child.get_details_with_logs()["logFiles"][LOG].splitlines()
    (warning,) = [line for line in lines if line.startswith("studio: a submitted script finds")]
    lines.remove(warning)
    assert lines == ["403"] * 7 + ["True", "2", "2 True"]
