"""Which file says what workspace a folder belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azureml import _project_file
from azureml.exceptions import UserErrorException

SCOPE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


def write(path: Path, name: str) -> None:
    """A file that names a workspace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"subscription_id": "s", "resource_group": "g", "workspace_name": name}))


def test_a_folders_own_settings_win_over_bare_files_also_from_above(project: Path) -> None:
    below = project / "a" / "b"
    below.mkdir(parents=True)
    write(below / "config.json", "bare")
    assert _project_file.find(str(below), None)[1].workspace_name == "bare"
    write(project / ".azureml" / "config.json", "above")
    assert _project_file.find(str(below), None)[1].workspace_name == "above"
    write(project / "a" / "aml_config" / "config.json", "old")
    assert _project_file.find(str(below), None)[1].workspace_name == "above"
    assert _project_file.find(str(below / "config.json"), None)[1].workspace_name == "bare"


def test_the_working_folder_is_where_it_begins(project: Path) -> None:
    write(project / "config.json", "here")
    assert _project_file.find(None, None)[1] == ("s", "g", "here", "")


@pytest.mark.parametrize(("tail", "experiment"), [("", ""), ("/experiments/e", "e"), ("/projects/e/", "e")])
def test_a_scope_is_read(project: Path, tail: str, experiment: str) -> None:
    (project / "config.json").write_text(json.dumps({"Id": None, "Scope": SCOPE + tail}))
    assert _project_file.find(None, None)[1] == ("s", "g", "w", experiment)


def test_what_is_written_is_read_also_without_subscription(project: Path) -> None:
    (project / "config.json").write_text(json.dumps({"Scope": _project_file.scope_of("", "", "w")}))
    assert _project_file.find(None, None)[1] == ("", "", "w", "")


def test_nothing_found_names_where_it_began(project: Path) -> None:
    with pytest.raises(UserErrorException, match=f"{project}.*parent directories"):
        _project_file.find(None, None)
    with pytest.raises(UserErrorException, match="no file or folder"):
        _project_file.find("missing", None)


@pytest.mark.parametrize("text", ["{}", '{"workspace_name": "w"}', "[]", "{", '{"Scope": "/x"}'])
def test_a_file_that_says_too_little_is_named(project: Path, text: str) -> None:
    (project / "config.json").write_text(text)
    with pytest.raises(UserErrorException, match=r"config\.json"):
        _project_file.find(None, None)
