"""Which commit of which repository a run is made from, as properties of the run."""

from __future__ import annotations

import os
import re
import subprocess

from studio_client.config import in_run

_ALSO = {"repository_uri": "repoURL", "branch": "branch", "commit": "commit"}
_SECRET = re.compile(r"(?<=://)[^/@]+@")
_ASKED_S = 10


def git_properties(folder: str) -> dict[str, str]:
    """The properties of a folder in a git work tree; {} for any other.

    AZUREML_GIT_* in the environment win.
    """
    found = _asked(folder) if _is_work_tree(folder) else {}
    for name in ("repository_uri", "branch", "commit", "dirty", "build_id", "build_uri"):
        said = os.environ.get(f"AZUREML_GIT_{name.upper()}")
        if said:
            found[name] = said
    made = {f"azureml.git.{name}": value for name, value in found.items()}
    made.update({f"mlflow.source.git.{_ALSO[name]}": value for name, value in found.items() if name in _ALSO})
    return made


def _is_work_tree(folder: str) -> bool:
    """Whether git knows the folder. A run's own folder ends the search: what lies around it, such as the
    checkout that Studio itself runs from, is not what the run is made from.
    """
    here = os.path.realpath(folder)
    spool = os.environ.get("STUDIO_SPOOL_DIR") if in_run() else None
    run_folder = os.path.dirname(os.path.realpath(spool)) if spool else ""
    while here != run_folder:
        if os.path.exists(os.path.join(here, ".git")):
            return True
        parent = os.path.dirname(here)
        if parent == here:
            return False
        here = parent
    return False


def _asked(folder: str) -> dict[str, str]:
    origin = _SECRET.sub("", _git(folder, "config", "--get", "remote.origin.url"))
    found = {
        "repository_uri": origin,
        "branch": _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD"),
        "commit": _git(folder, "rev-parse", "--verify", "--quiet", "HEAD"),
        "dirty": "True" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "",
    }
    return {name: value for name, value in found.items() if value}


def _git(folder: str, *words: str) -> str:
    """What git says in one line; "" if it is not there or has nothing to say."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *words],  # noqa: S607 (whichever git the person uses)
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_ASKED_S,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
