"""Which commit a run is made from, as properties of the run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from studio_client.git import git_properties


@pytest.fixture
def tree(project: Path) -> Path:
    """A work tree with one commit, and an origin whose address holds a password."""

    def git(*words: str) -> None:
        settings = [
            "-c",
            "user.name=ana",
            "-c",
            "user.email=ana@example.org",
            "-c",
            "init.defaultBranch=main",
        ]
        subprocess.run(["git", *settings, *words], cwd=project, check=True, capture_output=True)

    (project / "a.py").write_text("1")
    git("init")
    git("add", "a.py")
    git("commit", "-m", "First")
    git("remote", "add", "origin", "https://ana:secret@git.example.org/repo.git")
    return project


def test_a_clean_tree_is_told_without_passwords(tree: Path) -> None:
    found = git_properties(str(tree))
    assert found["azureml.git.repository_uri"] == "https://git.example.org/repo.git"
    assert found["mlflow.source.git.repoURL"] == "https://git.example.org/repo.git"
    assert found["azureml.git.branch"] == found["mlflow.source.git.branch"] == "main"
    assert len(found["azureml.git.commit"]) == 40
    assert "azureml.git.dirty" not in found


def test_changes_and_the_environment_are_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "a.py").write_text("2")
    (tree / "below").mkdir()
    monkeypatch.setenv("AZUREML_GIT_BRANCH", "chosen")
    found = git_properties(str(tree / "below"))
    assert (found["azureml.git.dirty"], found["azureml.git.branch"]) == ("True", "chosen")


def test_what_lies_around_a_runs_own_folder_is_not_its(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tree / "var" / "work" / "a_run" / "1" / "code"
    code.mkdir(parents=True)
    assert git_properties(str(code))
    monkeypatch.setenv("STUDIO_SPOOL_DIR", str(code.parent / "spool"))
    assert git_properties(str(code)), "a leftover variable outside of runs counts for nothing"
    monkeypatch.setenv("AZUREML_RUN_ID", "a_run")
    monkeypatch.setenv("AZUREML_RUN_TOKEN", "t")
    assert git_properties(str(code)) == {}
    assert git_properties(str(tree))
    subprocess.run(["git", "init"], cwd=code, check=True, capture_output=True)
    subprocess.run(["git", "remote", "add", "origin", "its-own"], cwd=code, check=True, capture_output=True)
    assert git_properties(str(code))["azureml.git.repository_uri"] == "its-own"


def test_any_other_folder_has_none(tmp_path: Path) -> None:
    assert git_properties(str(tmp_path)) == {}
