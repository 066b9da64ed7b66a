"""The shell lines of the article, as they are printed there, in bash with `az` on its path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell
from tests.sdk.live import Signed

WAIT = "import time\nprint('waits', flush=True)\ntime.sleep(600)\n"
QUALITY = "[?properties.author=='azureml-user' && tags.quality=='fantastic run']"
ANOTHER = "[?tags.keys(@)[?starts_with(@, 'worth another look')]]"
AUTHOR = "[?properties.author=='azureml-user']"


def test_the_ten_lines_of_the_article(shell: Shell, server: Signed, project: Path) -> None:
    shell.env = {"STUDIO_URL": server.url}
    signed_in = shell(f"az login --token {server.token}")
    assert signed_in.json[0]["user"]["name"] == "admin"
    assert server.url in signed_in.err
    again = shell("az login")
    assert again.json == signed_in.json

    attached = shell("az ml folder attach -w default -g myresourcegroup").json
    assert attached == {
        "Experiment name": "project",
        "Project path": str(project),
        "Resource group": "myresourcegroup",
        "Subscription id": "",
        "Workspace name": "default",
    }
    written = {path.name for path in (project / ".azureml").iterdir()}
    assert written >= {"config.json", "local.runconfig", "docker.runconfig", "sklearn.runconfig"}
    assert written >= {"conda_dependencies.yml", "gpu-compute.runconfig"}

    (project / "train.py").write_text("print('trained')\n")
    submitted = shell("az ml run submit-script -c sklearn -e testexperiment train.py")
    run = submitted.json
    assert (run["status"], run["_experiment_name"], run["script_name"]) == (
        "Completed",
        "testexperiment",
        "train.py",
    )
    assert "\ntrained\n" in submitted.err

    listed = shell("az ml run list --experiment-name testexperiment").json
    assert [one["run_id"] for one in listed] == [run["run_id"]]
    shown = shell(f"az ml run show -r {run['run_id']}").json
    assert shown == run

    (project / "wait.py").write_text(WAIT)
    waiting = shell("az ml run submit-script --async -e testexperiment wait.py").json["run_id"]
    wait_until(lambda: shell(f"az ml run show -r {waiting}").json["status"] == "Running")
    canceled = shell(f"az ml run cancel -r {waiting} -w default -e testexperiment")
    assert (canceled.code, canceled.out) == (0, "Experiment run canceled successfully.\n")
    assert shell(f"az ml run show -r {waiting}").json["status"] == "Canceled"

    updated = shell(f"az ml run update -r {run['run_id']} --add-tag quality='fantastic run'").json
    assert updated["tags"] == {"quality": "fantastic run"}


@pytest.fixture
def labelled(studio: Shell, train: Path) -> str:
    """A run with the labels of the article, beside one without any, in `experiment`."""
    submit = "az ml run submit-script --async -e experiment train.py"
    other, run_id = (studio(submit).json["run_id"] for _ in range(2))
    assert other != run_id
    line = f"az ml run update -r {run_id} --add-tag quality='fantastic run' --add-tag 'worth another look'"
    assert studio(f"{line} --add-property author=azureml-user").code == 0
    return run_id


def test_the_three_queries(studio: Shell, labelled: str) -> None:
    start = "az ml run list --experiment-name experiment"

    def ids(rest: str) -> list[str]:
        done = studio(f"{start} {rest}")
        return [run["run_id"] for run in done.json]

    assert len(ids("")) == 2
    for query in (AUTHOR, ANOTHER, QUALITY):
        assert ids(f'--query "{query}"') == [labelled]
        assert ids(f'"{query}"') == [labelled]

    as_printed = studio(f"{start} {AUTHOR}")
    assert [run["run_id"] for run in as_printed.json] == [labelled]
    assert f'--query "{AUTHOR}"' in as_printed.err

    assert studio(f"{start} {ANOTHER}").code == 2  # bash itself refuses the bracket
    halved = studio(f"{start} {QUALITY}").refused(2)
    assert "position 28" in halved
    assert f'--query "{AUTHOR}"' in halved


def test_what_attaching_writes_is_what_submitting_reads(studio: Shell, train: Path) -> None:
    files = {path.name: path.read_text() for path in (train.parent / ".azureml").iterdir()}
    scope = json.loads(files["config.json"])["Scope"]
    assert scope.endswith("/workspaces/default/experiments/cli")
    for name in ("local", "docker", "sklearn", "gpu-compute"):
        run = studio(f"studio run submit-script -c {name} --async train.py {name}").json
        assert run["run_definition"]["arguments"] == [name]
        assert run["target"] == ("gpu-compute" if name == "gpu-compute" else "local")
    (train.parent / ".azureml" / "local.runconfig").write_text("target: gpu-compute\n")
    assert studio("studio folder attach -w default").code == 0
    kept = {path.name: path.read_text() for path in (train.parent / ".azureml").iterdir()}
    assert kept["local.runconfig"] == "target: gpu-compute\n"
    assert json.loads(kept["config.json"])["Scope"].endswith("/workspaces/default/experiments/project")


@pytest.mark.parametrize(
    "line", ["az ml folder attach -w nowhere -g g", "studio folder attach -w nowhere --path new"]
)
def test_attaching_to_what_is_not_there_writes_nothing(studio: Shell, project: Path, line: str) -> None:
    message = studio(line).refused()
    assert "'nowhere'" in message
    assert "Yours: default" in message
    assert list(project.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("-e 'bad name/ü'", "1-255 ASCII letters"),
        ("-e 'bad name'", "1-255 ASCII letters"),
        ("-e ''", "1-255 ASCII letters"),
        ("-g a/b", "holds a slash"),
        ("--subscription a/b", "holds a slash"),
    ],
)
def test_what_the_attachment_could_not_hold_is_refused_and_writes_nothing(
    studio: Shell, project: Path, typed: str, words: str
) -> None:
    assert words in studio(f"studio folder attach -w default {typed}").refused()
    assert list(project.iterdir()) == []
