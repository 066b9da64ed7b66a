"""What a submitted script may do with the runs around its own, with the token that its run has."""

from __future__ import annotations

from pathlib import Path

from azureml.core import Experiment, ScriptRunConfig, Workspace

from tests.sdk.live import Signed

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
