"""Freezing a folder: the digest is the server's own, and ignore files are read as git reads them."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from azureml.core import Experiment, ScriptRunConfig, Workspace
from azureml.exceptions import ExperimentExecutionException, SnapshotException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studio_client import ignore, snapshots
from studio_client.errors import InvalidSource, SourceTooBig

from runs.services import archives
from runs.services.archive_formats import archive_entries
from tests.sdk.command_line import Shell

LIMITS = archives.Limits(max_bytes=10**9, max_files=10_000)


def write(folder: Path, **files: str) -> None:
    """Files by their paths, with __ for a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def paths(folder: Path) -> list[str]:
    return [file.path for file in snapshots.read(folder)]


def test_the_digest_is_the_servers_whatever_way_the_folder_comes(project: Path) -> None:
    write(project, train="#!/bin/sh\n", src__ä="x" * 1000, src__b="")
    os.chmod(project / "train", 0o755)
    files = snapshots.read(project)
    entries = archives.folder_entries(project)
    with archives.pack(entries, limits=LIMITS) as packed:
        assert snapshots.manifest_digest(files) == packed.digest
    with (
        snapshots.packed(files) as archive,
        archive_entries(archive, limits=LIMITS) as listed,  # type: ignore[arg-type]
        archives.pack(listed, limits=LIMITS) as packed,
    ):
        assert snapshots.manifest_digest(files) == packed.digest
        assert [file.path for file in packed.files] == ["src/b", "src/ä", "train"]


def test_amlignore_takes_the_place_of_gitignore(project: Path) -> None:
    write(project, a="", b="", outputs__x="", src__outputs__y="")
    (project / ".gitignore").write_text("a\n")
    (project / ".amlignore").write_text("/outputs\n")
    assert paths(project) == [".amlignore", ".gitignore", "a", "b", "src/outputs/y"]
    (project / ".amlignore").unlink()
    assert paths(project) == [".gitignore", "b", "outputs/x", "src/outputs/y"]


def test_some_things_always_stay_behind(project: Path) -> None:
    write(project, a="", b="")
    write(project, **{".git__HEAD": "", ".azureml__config.json": "", ".azureml__cache__x": ""})
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "a.pyc").write_text("")
    assert ".azureml/config.json" in paths(project)
    assert not [path for path in paths(project) if "pycache" in path or ".git/" in path or "cache/" in path]


def test_links_are_followed_and_circles_named(project: Path, tmp_path: Path) -> None:
    write(tmp_path, data__x="1")
    (project / "data").symlink_to(tmp_path / "data")
    assert paths(project) == ["data/x"]
    (project / "loop").symlink_to(project)
    with pytest.raises(InvalidSource, match=r"leads back into itself.*`/loop`"):
        snapshots.read(project)


def test_a_link_to_nothing_is_named_with_the_line_that_leaves_it_out(project: Path) -> None:
    (project / "gone").symlink_to(project / "nowhere")
    with pytest.raises(InvalidSource, match="`/gone`"):
        snapshots.read(project)


def test_too_many_files_are_refused_with_the_limit_and_help(project: Path) -> None:
    (project / "many").mkdir()
    for number in range(snapshots.MAX_FILES + 1):
        (project / "many" / str(number)).touch()
    with pytest.raises(SourceTooBig, match=r"2,001 files; the limit.*2,000.*`/many/`"):
        snapshots.read(project, environ={})
    assert len(snapshots.read(project, environ={snapshots.NO_FILE_LIMIT: "True"})) == 2001


def test_the_advice_spares_the_script_and_tells_what_lifts_the_limit(project: Path) -> None:
    write(project, **{"src__main.py": "", "main.py": ""})
    for number in range(snapshots.MAX_FILES):
        (project / "src" / f"{number}.png").touch()
    for script, line in (("src/main.py", r"`\*\.png`"), ("main.py", "`/src/`")):
        with pytest.raises(SourceTooBig, match=line) as refused:
            snapshots.read(project, script=script, environ={})
        assert "AML_SNAPSHOT_NO_FILE_LIMIT=True" in refused.value.hint
        assert "STUDIO_SNAPSHOT_MAX_FILES" in refused.value.hint


def test_no_line_is_better_than_one_for_the_script(project: Path) -> None:
    for number in range(snapshots.MAX_FILES + 1):
        (project / f"{number}.py").touch()
    with pytest.raises(SourceTooBig) as refused:
        snapshots.read(project, script="1.py", environ={})
    assert "one line each. AML_" in refused.value.hint


def test_the_servers_limit_names_its_setting(attached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(snapshots.MAX_FILES + 1):
        (attached / str(number)).touch()
    monkeypatch.setenv(snapshots.NO_FILE_LIMIT, "True")
    experiment = Experiment(Workspace.from_config(), "many-files")
    with pytest.raises(SnapshotException, match=r"the limit is 2,000.*STUDIO_SNAPSHOT_MAX_FILES"):
        experiment.start_logging()
    assert list(experiment.get_runs()) == []


@pytest.mark.parametrize("name", [".amlignore", ".gitignore"])
@pytest.mark.parametrize("line", ["*.py", "/src/"])
def test_a_script_that_is_left_out_is_told_with_the_file_that_does_it(
    attached: Path, shell: Shell, name: str, line: str
) -> None:
    write(attached, **{"src__main.py": "", "other.sh": ""})
    (attached / name).write_text(f"{line}\n")
    experiment = Experiment(Workspace.from_config(), "left-out")
    wanted = rf"src/main\.py is in .*, and \{name} leaves it out"
    with pytest.raises(ExperimentExecutionException, match=wanted):
        experiment.submit(ScriptRunConfig(".", "src/main.py"))
    assert list(experiment.get_runs()) == []
    assert re.search(wanted, shell("studio run submit-script -e left-out src/main.py").refused())


@pytest.mark.parametrize("path", [b"caf\xe9.txt", b"caf\xe9/a.txt"])
def test_a_name_that_is_not_utf8_is_told_with_the_line_that_leaves_it_out(
    attached: Path, path: bytes
) -> None:
    place = os.fsencode(attached) + b"/" + path
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "w"):
        pass
    experiment = Experiment(Workspace.from_config(), "not-utf8")
    with pytest.raises(SnapshotException, match=r"b'caf\\xe9.*not UTF-8.*`/caf\?") as refused:
        experiment.start_logging()
    (attached / ".amlignore").write_text(refused.value.message.split("`")[1] + "\n")
    experiment.start_logging().complete()


def test_too_many_bytes_are_refused_before_they_are_read(project: Path) -> None:
    with (project / "weights.bin").open("wb") as file:
        file.truncate(snapshots.MAX_BYTES + 1)
    with pytest.raises(SourceTooBig, match=r"300 MB; the limit.*300 MB.*weights\.bin"):
        snapshots.read(project)


@pytest.mark.parametrize("name", ["", "missing"])
def test_nothing_to_freeze_is_an_error(project: Path, name: str) -> None:
    with pytest.raises(InvalidSource) as refused:
        snapshots.read(project / name)
    assert "by nothing" not in str(refused.value)


def test_an_interactive_run_needs_nothing_to_freeze(attached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(Workspace.from_config(), "freeze")
    (attached / "new").mkdir()
    monkeypatch.chdir(attached / "new")
    with experiment.start_logging() as run:
        run.log("a", 1)
    assert run.get_status() == "Completed"
    assert "ContentSnapshotId" not in run.get_properties()
    (attached / "named").mkdir()
    with pytest.raises(SnapshotException, match="has no file"):
        experiment.start_logging(snapshot_directory=attached / "named")
    experiment.start_logging(snapshot_directory=Path.cwd()).complete()
    (attached / "new" / "only.py").write_text("")
    (attached / "new" / ".amlignore").write_text("*\n")
    for folder in (".", str(attached / "missing")):
        with pytest.raises(SnapshotException):
            experiment.start_logging(snapshot_directory=folder)


def test_a_file_that_changes_meanwhile_is_not_sent(project: Path) -> None:
    write(project, a="before")
    files = snapshots.read(project)
    write(project, a="after!")
    with pytest.raises(InvalidSource, match="changed while"):
        snapshots.packed(files)


def test_what_does_not_shrink_is_neither_deflated_here_nor_by_the_server(project: Path) -> None:
    write(project, **{"log.txt": "again and again\n" * 1000, "empty": ""})
    (project / "weights.bin").write_bytes(os.urandom(3 << 20))
    files = snapshots.read(project)
    with (
        snapshots.packed(files) as archive,
        archive_entries(archive, limits=LIMITS) as listed,  # type: ignore[arg-type]
        archives.pack(listed, limits=LIMITS) as packed,
    ):
        assert snapshots.manifest_digest(files) == packed.digest
        for sent in (archive, packed.file):
            with zipfile.ZipFile(sent) as listing:
                kinds = {info.filename: info.compress_type for info in listing.infolist()}
                assert listing.testzip() is None
            assert kinds == {
                "empty": zipfile.ZIP_STORED,
                "log.txt": zipfile.ZIP_DEFLATED,
                "weights.bin": zipfile.ZIP_STORED,
            }


def test_modes_are_in_the_archive(project: Path) -> None:
    write(project, run="", data="")
    os.chmod(project / "run", 0o755)
    with snapshots.packed(snapshots.read(project)) as archive, zipfile.ZipFile(archive) as listing:
        assert {info.filename: oct(info.external_attr >> 16)[-3:] for info in listing.infolist()} == {
            "data": "644",
            "run": "755",
        }


NAMES = st.sampled_from(["a", "b", "ab", "a.py", "b.txt", "out", "x y", "[a]", "a!"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
LINES = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "!", "/", "!/"]),
        st.lists(
            st.sampled_from(
                ["*", "**", "a", "a*", "?", "*.py", "out", "[ab]", "[!a]", "x\\ y", "\\!", "b.*"]
            ),
            min_size=1,
            max_size=3,
        ).map("/".join),
        st.sampled_from(["", "/", "/*", "/**"]),
        st.sampled_from(["", " ", "\\ "]),
    ),
    st.sampled_from(["", "# a", "\\#", "/", "[", "a[", "*a*"]),
)


def as_git_sees_it(folder: Path, files: list[str]) -> list[str]:
    asked = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "-z"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    return sorted(set(files) & set(asked.stdout.decode().split("\0")))


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(names=st.sets(PATHS, min_size=1, max_size=12), lines=st.lists(LINES, min_size=1, max_size=5))
def test_ignore_files_mean_what_they_mean_to_git(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], lines: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    files = sorted(name for name in names if not any(other.startswith(f"{name}/") for other in names))
    for name in files:
        write(folder, **{name.replace("/", "__"): ""})
    (folder / ".gitignore").write_text("\n".join(lines) + "\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    ours = [path for path in (paths(folder) if _any_left(folder) else []) if path in files]
    assert ours == sorted(as_git_sees_it(folder, files), key=str.encode), lines


def _any_left(folder: Path) -> bool:
    try:
        return bool(snapshots.read(folder))
    except InvalidSource:
        return False


def test_a_line_that_cannot_be_read_leaves_nothing_out() -> None:
    assert not ignore.Rules(["[a"]).leaves_out("a", is_folder=False)
