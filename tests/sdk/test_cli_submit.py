"""`studio run submit-script`: what is handed in, what is printed, and how it ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from studio_client.api import connect

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell
from tests.sdk.live import Signed, change_token, new_token

WAIT = "import time\nprint('waits', flush=True)\ntime.sleep(600)\n"


def test_everything_after_the_script_goes_to_it(studio: Shell, train: Path) -> None:
    done = studio("studio run submit-script -e cli train.py --lr 0.1 -e x -o table -- '' 'a b'")
    assert done.json["_experiment_name"] == "cli"
    assert "args ['--lr', '0.1', '-e', 'x', '-o', 'table', '--', '', 'a b']\n" in done.err
    heads = ("RunId: ", "Web View: ", "Streaming user_logs/std_log.txt", "Execution Summary")
    places = [done.err.index(head) for head in heads]
    assert places == sorted(places)


def test_a_configuration_is_read_and_the_line_wins_over_it(studio: Shell, train: Path) -> None:
    (train.parent / "config").mkdir()
    (train.parent / "config" / "train.runconfig").write_text(
        "script: train.py\narguments: [a, 1]\ntarget: gpu-compute\nunknownKey: {x: y}\n"
        "environment:\n  environmentVariables: {ONE: inner, TWO: inner}\nenvironmentVariables: {TWO: outer}\n"
    )
    submit = "studio run submit-script --async -c config/train"
    run = studio(submit).json
    assert (run["target"], run["_experiment_name"]) == ("gpu-compute", "cli")
    definition = run["run_definition"]
    assert (definition["arguments"], definition["unknownKey"]) == (["a", 1], {"x": "y"})
    (train.parent / "other.py").write_text("import os\nprint(os.environ['ONE'], os.environ['TWO'])\n")
    (train.parent / "conda.yml").write_text("dependencies: [numpy]\n")
    other = studio("studio run submit-script -c config/train -d conda.yml --ct local other.py")
    assert other.json["target"] == "local"
    assert other.json["run_definition"]["environment"]["python"]["condaDependencies"] == {
        "dependencies": ["numpy"]
    }
    assert "inner outer\n" in other.err
    assert studio(f"studio run logs -r {other.json['run_id']}").out == "inner outer\n"


def test_more_processes_than_one_are_told_not_to_run(studio: Shell, train: Path) -> None:
    for name, asked in {"m4": "nodeCount: 2\nmpi: {processCountPerNode: 4}", "m1": "nodeCount: 1"}.items():
        (train.parent / f"{name}.runconfig").write_text(f"script: train.py\n{asked}\n")
        done = studio(f"studio run submit-script --async -c {name}")
        assert done.json["run_id"]
        assert done.err.count("WARNING: Studio runs a script as one process on one node") == (name == "m4")


def test_a_source_directory_is_frozen_in_place_of_the_project(studio: Shell, train: Path) -> None:
    (train.parent / "source").mkdir()
    (train.parent / "source" / "here.py").write_text("import os\nprint(sorted(os.listdir('.')))\n")
    done = studio("studio run submit-script -c local --source-directory source here.py")
    assert "here.py" in done.err
    assert "train.py" not in done.err
    assert done.json["status"] == "Completed"


def test_the_result_is_also_written_to_a_file(studio: Shell, train: Path) -> None:
    done = studio("az ml run submit-script -c sklearn -e cli -t run.json train.py")
    assert json.loads(Path("run.json").read_text()) == done.json
    assert "exists already" in studio("az ml run submit-script -t run.json train.py").refused()
    failed = studio("studio run submit-script -t failed.json train.py bad")
    assert (failed.code, failed.out) == (1, "")
    assert json.loads(Path("failed.json").read_text())["status"] == "Failed"


def test_a_run_that_fails_is_an_error_with_its_reason(studio: Shell, train: Path) -> None:
    done = studio("studio run submit-script train.py bad")
    assert (done.code, done.out) == (1, "")
    assert "ERROR: Run cli_" in done.err
    assert "ValueError: no luck" in done.err
    assert studio("studio run submit-script --async train.py bad").code == 0


def test_ctrl_c_lets_the_run_go_on(studio: Shell, folder: Path) -> None:
    (folder / "wait.py").write_text(WAIT)
    with studio.start("studio run submit-script -t run.json wait.py") as process:
        assert process.stderr is not None
        while "waits" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    run_id = json.loads(Path("run.json").read_text())["run_id"]
    assert f"studio run cancel -r {run_id}" in rest
    assert studio(f"studio run show -r {run_id} --query status").json == "Running"
    with studio.start(f"studio run monitor-logs -r {run_id}") as watching:
        assert studio(f"studio run cancel -r {run_id}").code == 0
        out, _ = watching.communicate(timeout=20)
    assert json.loads(out)["status"] == "Canceled"


def test_a_token_that_is_refused_meanwhile_lets_the_run_go_on(
    studio: Shell, folder: Path, server: Signed
) -> None:
    (folder / "ticks.py").write_text(
        "import time\nwhile True:\n    print('on', flush=True)\n    time.sleep(0.2)\n"
    )
    studio.env = {"STUDIO_TOKEN": new_token(server, "meanwhile")}
    with studio.start("studio run submit-script -t run.json ticks.py") as process:
        assert process.stderr is not None
        while process.stderr.readline() != "on\n":
            assert process.poll() is None
        change_token(server, "meanwhile", ".update(revoked_at='2026-01-02T23:59Z')")
        out, rest = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    studio.env = {}
    run_id = json.loads(Path("run.json").read_text())["run_id"]
    assert studio(f"studio run cancel -r {run_id}").code == 0
    hints = (
        f"The run goes on. To follow it: studio run monitor-logs -r {run_id}\n"
        f"To cancel it: studio run cancel -r {run_id}\n"
    )
    assert hints in rest
    assert rest.splitlines()[-1].startswith("ERROR: This token was revoked on 2026-01-02")


def test_a_run_that_is_canceled_meanwhile_is_an_error(studio: Shell, folder: Path) -> None:
    (folder / "wait.py").write_text(WAIT)
    with studio.start("studio run submit-script -e canceled-meanwhile wait.py") as process:
        listed = "studio run list -e canceled-meanwhile --query [].run_id -o tsv"
        run_id = wait_until(lambda: studio(listed).out.strip())
        assert studio(f"studio run cancel -r {run_id}").code == 0
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert f"ERROR: Run {run_id} was canceled." in err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "-c nope train.py",
            [
                *("'nope'", ".azureml/nope,", ".azureml/nope.runconfig,", "aml_config/nope.runconfig,"),
                *("project/nope.runconfig,", "project/nope."),
                *("sklearn.runconfig", "top.runconfig", "RunConfiguration().save"),
            ],
        ),
        ("missing.py", ["missing.py is not in"]),
        ("../outside.py", ["outside.py is not in"]),
        ("", ["There is nothing to run"]),
        ("-c local", ["There is nothing to run"]),
        ("-c broken train.py", ["broken.runconfig"]),
        ("-d nope.yml train.py", ["nope.yml"]),
        ("--target nowhere train.py", ["nowhere", "gpu-compute"]),
        ("-e 'bad name' train.py", ["'bad name'", "letters"]),
        ("-w nowhere train.py", ["'nowhere'", "Yours: default"]),
        ("--source-directory nowhere train.py", ["There is no folder"]),
        ("-t no/such/run.json train.py", ["There is no folder for"]),
    ],
)
def test_what_cannot_be_submitted_leaves_nothing_behind(
    studio: Shell, train: Path, line: str, words: list[str]
) -> None:
    (train.parent.parent / "outside.py").write_text("")
    (train.parent / ".azureml" / "broken.runconfig").write_text("a: [")
    (train.parent / "top.runconfig").touch()
    before = studio("studio experiment list --query [].name").json
    message = studio(f"studio run submit-script {line}").refused()
    for word in words:
        assert word in message
    assert studio("studio experiment list --query [].name").json == before


def test_without_a_folder_that_is_attached_it_says_how(studio: Shell, project: Path) -> None:
    (project / "train.py").write_text("")
    assert "Give -e" in studio("studio run submit-script train.py").refused()
    assert "folder attach" in studio("studio run submit-script -e x train.py").refused()
    (project / "config.json").write_text("{}")
    assert "config.json" in studio("studio run submit-script -e x train.py").refused()


def test_the_summary_stands_apart_from_a_log_without_a_newline_at_its_end(studio: Shell, train: Path) -> None:
    train.write_text("print('no newline', end='')\n")
    said = studio("studio run submit-script train.py").err
    assert "\n\nno newline\n\nExecution Summary\n" in said


def test_bash_completes_commands_options_and_names(studio: Shell, train: Path) -> None:
    studio("studio run submit-script --async -e completed-names train.py")
    script = 'eval "$(studio completion bash)"\n'

    def offered(*words: str) -> set[str]:
        typed = f"COMP_WORDS=({' '.join(words)} ''); COMP_CWORD={len(words)}; _studio_completion studio"
        return set(studio(f"{script}{typed}; printf '%s\\n' \"${{COMPREPLY[@]}}\"").out.split())

    assert {"run", "folder", "login"} <= offered("studio")
    assert {"list", "submit-script"} <= offered("studio", "ml", "run")
    assert "completed-names" in offered("studio", "run", "list", "-e")
    (train.parent / "config").mkdir()
    for name in ("top", "config/train", "local"):
        (train.parent / f"{name}.runconfig").touch()
    configurations = offered("studio", "run", "submit-script", "-c")
    assert {"sklearn", "local", "top", "config/train"} <= configurations
    assert not any(name.startswith(".") for name in configurations)
    assert "gpu-compute" in offered("studio", "compute", "show", "-n")
    assert "default" in offered("studio", "run", "list", "-w")
    assert {"NotStarted", "Completed"} <= offered("studio", "run", "list", "--status")
    connect().change_experiment("default", "completed-names", description="Two lines,\nand a\ttab.")
    asked = "COMP_WORDS='studio run list -e ' COMP_CWORD={} _STUDIO_COMPLETE={}_complete studio"
    assert "completed-names\nTwo lines, and a tab.\n" in studio(asked.format(4, "zsh")).out
    assert "completed-names\tTwo lines, and a tab." in studio(asked.format("''", "fish")).out
    for name, position in (("zsh", "2"), ("fish", "l")):
        assert f"_STUDIO_COMPLETE={name}_complete" in studio(f"studio completion {name}").out
        asked = f"COMP_WORDS='studio run l' COMP_CWORD={position} _STUDIO_COMPLETE={name}_complete"
        assert "list" in studio(f"{asked} studio").out


def test_what_stands_behind_many_others_is_completed(studio: Shell, folder: Path) -> None:
    api = connect()
    api.start_run("default", "many", "sub_of_many_1")
    for place in range(55):
        api.start_run("default", f"many-{place}", f"many_{place}_2")
        api.set_tags(f"many_{place}_2", {"like": "sub_of_many"})
    asked = "COMP_WORDS='studio run {0}' COMP_CWORD=4 _STUDIO_COMPLETE=bash_complete studio"
    assert studio(asked.format("show -r sub_of_many")).out == "plain,sub_of_many_1\n"
    assert studio(asked.format("list -e many-9")).out == "plain,many-9\n"
    assert len(studio(asked.format("list -e many-")).out.splitlines()) == 50


def test_a_script_submits_children_of_its_own_run(studio: Shell, train: Path) -> None:
    lines = [
        "import subprocess, sys",
        "def studio(*words):",
        "    subprocess.run([sys.argv[1], *words], check=True)",
        "studio('run', 'submit-script', 'train.py', 'as a child')",
        "studio('run', 'show', '-r', __import__('os').environ['AZUREML_RUN_ID'], '-o', 'none')",
    ]
    (train.parent / "parent.py").write_text("\n".join(lines))
    done = studio(f"studio run submit-script -e tree parent.py {studio.programs / 'studio'}")
    parent = done.json["run_id"]
    children = studio(f"studio run list --parent-run-id {parent}").json
    assert [child["run_definition"]["arguments"] for child in children] == [["as a child"]]
    assert [child["parent_run_id"] for child in children] == [parent]
    assert children[0]["_experiment_name"] == "tree"
    assert studio(f"studio run list --pipeline-run-id {parent} --query 'length(@)'").out == "1\n"


def test_a_file_of_steps_becomes_a_pipeline_run(studio: Shell, train: Path) -> None:
    first = "first: {script: train.py, arguments: [one]}"
    steps = f"steps:\n  {first}\n  second:\n    command: echo done\n    after: first\n"
    (train.parent / "pipeline.yml").write_text(f"display_name: Both\n{steps}")
    run = studio("studio run submit-pipeline -n piped -y pipeline.yml").json
    assert (run["run_type"], run["status"], run["display_name"]) == (
        "azureml.PipelineRun",
        "Completed",
        "Both",
    )
    listed = studio(f"studio run list --pipeline-run-id {run['run_id']}").json
    assert {(one["name"], one["status"]) for one in listed} == {
        ("second", "Completed"),
        ("first", "Completed"),
    }
    wrongs = ("a: 1", "steps: {a: {}}", "steps: {a: {script: no.py}}", "steps: {a: {script: train.py, x: 1}}")
    for wrong in (*wrongs, "steps: {a: {script: train.py}, b: {script: train.py, after: c}}"):
        (train.parent / "wrong.yml").write_text(wrong)
        studio("studio run submit-pipeline -n piped -y wrong.yml").refused()
    assert "not part of Studio" in studio("az ml run submit-hyperdrive --x y").refused()
