"""Artifacts: what a run leaves is kept, handed on and given out, and nothing else is."""

from __future__ import annotations

import io
import itertools
import json
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from runs.errors import NotFound
from runs.execution.removal import remove_tree
from runs.models import Artifact, Experiment, Run, RunDependency
from runs.services import artifacts, previews
from runs.status import Kind
from studio.accounts.models import Workspace
from tests.execution_kit import nest

pytestmark = pytest.mark.django_db
_numbers = itertools.count(1)


def make_run(**over: Any) -> Run:
    workspace, _ = Workspace.objects.get_or_create(name="default")
    experiment, _ = Experiment.objects.get_or_create(workspace=workspace, name="digits")
    number = next(_numbers)
    return Run.objects.create(
        **{
            "run_id": f"digits_{number}",
            "number": number,
            "workspace": workspace,
            "experiment": experiment,
            "kind": Kind.SCRIPT,
            **over,
        }
    )


def make_step(parent: Run, name: str, *after: Run) -> Run:
    step = make_run(kind=Kind.STEP, parent=parent, root=parent, step_name=name)
    for other in after:
        RunDependency.objects.create(step=step, waits_for=other)
    return step


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def content(run: Run) -> dict[str, bytes]:
    found = {}
    for artifact in run.artifacts.all():
        with artifacts.open_artifact(artifact) as file:
            found[artifact.path] = file.read()
    return found


def stored(storage: Path) -> int:
    return sum(path.is_file() for path in storage.rglob("*"))


def test_outputs_and_logs_are_kept_and_nothing_else(tmp_path: Path) -> None:
    code = write(
        tmp_path / "code",
        {
            "outputs/model.json": "{}",
            "outputs/deep/er/x.bin": b"\0\1",
            "logs/tb.log": "a",
            "train.py": "",
            "outputs2/x": "",
        },
    )
    run = make_run()
    kept = artifacts.keep_outputs(run, code)
    assert content(run) == {
        "outputs/model.json": b"{}",
        "outputs/deep/er/x.bin": b"\0\1",
        "logs/tb.log": b"a",
    }
    assert (kept.files, kept.size_bytes, kept.notes) == (3, 5, [])
    model = run.artifacts.get(path="outputs/model.json")
    assert (model.size_bytes, model.content_type) == (2, "application/json")
    assert model.sha256 == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_run_without_outputs_keeps_nothing(tmp_path: Path) -> None:
    run = make_run()
    assert artifacts.keep_outputs(run, tmp_path).files == 0
    write(tmp_path, {"outputs": "a file of that name"})
    assert artifacts.keep_outputs(run, tmp_path).files == 0


def test_nothing_outside_is_read_through_links_and_specials(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", {"key": "s3cret"})
    code = write(tmp_path / "code", {"outputs/a.txt": "1", "logs/x": "2"})
    (code / "outputs" / "link.txt").symlink_to(secret / "key")
    (code / "outputs" / "folder").symlink_to(secret)
    (code / "outputs" / "broken").symlink_to("nowhere")
    os.mkfifo(code / "outputs" / "pipe")
    run = make_run()
    kept = artifacts.keep_outputs(run, code)
    assert set(content(run)) == {"outputs/a.txt", "logs/x"}
    assert len(kept.notes) == 1
    assert kept.notes[0].startswith("Not kept, not a regular file: “outputs/folder”")
    assert kept.notes[0].endswith("and 1 more.")


def test_a_linked_outputs_folder_is_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", {"key": "s3cret"})
    code = tmp_path / "code"
    code.mkdir()
    (code / "outputs").symlink_to(secret)
    (code / "logs").write_text("a file")
    kept = artifacts.keep_outputs(make_run(), code)
    assert kept.files == 0
    assert kept.notes == ["Not kept, links are not followed: “outputs”.", "Not kept, not a folder: “logs”."]


def test_folders_that_are_too_deep_are_left_out(tmp_path: Path) -> None:
    code = write(tmp_path / "code", {"outputs/a.txt": "1", "outputs/z.txt": "2"})
    nest(code / "outputs", 1_500)
    run = make_run()
    kept = artifacts.keep_outputs(run, code)
    remove_tree(code)  # pytest could not
    assert set(content(run)) == {"outputs/a.txt", "outputs/z.txt"}
    assert [note[:46] for note in kept.notes] == ["Not kept, the name is longer than 1,024 bytes:"]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("back\\slash", "has a backslash in it"),
        ("new\nline", "has a control character in it"),
        (os.fsdecode(b"not-utf8-\xff"), "has a control character in it"),
        ("d/" * 520 + "x", "is longer than 1,024 bytes"),
    ],
)
def test_names_that_cannot_be_used_everywhere_are_left_out_with_a_note(
    name: str, wrong: str, tmp_path: Path
) -> None:
    code = write(tmp_path / "c", {"outputs/good.txt": "1"})
    here = os.open(code / "outputs", os.O_RDONLY)
    for part in name.split("/")[:-1]:
        os.mkdir(part, dir_fd=here)
        below = os.open(part, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open(name.rsplit("/", 1)[-1], os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    run = make_run()
    kept = artifacts.keep_outputs(run, code)
    assert set(content(run)) == {"outputs/good.txt"}
    assert f"Not kept, the name {wrong}" in kept.notes[0]
    assert kept.notes[0].isprintable()


def test_any_other_name_is_kept(tmp_path: Path) -> None:
    names = {"outputs/🚀 final.txt", "outputs/نموذج.json", "outputs/a=b;c.csv", "outputs/.hidden"}
    run = make_run()
    artifacts.keep_outputs(run, write(tmp_path, dict.fromkeys(names, "x")))
    assert set(content(run)) == names


def test_repeating_changes_nothing(tmp_path: Path, storage: Path) -> None:
    code = write(tmp_path / "code", {f"outputs/{n}.txt": str(n) for n in range(5)})
    run = make_run()
    artifacts.keep_outputs(run, code)
    before = list(run.artifacts.values())
    assert artifacts.keep_outputs(run, code).files == 5
    assert list(run.artifacts.values()) == before
    assert stored(storage) == 5


def test_a_crash_in_the_middle_is_made_good(
    tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = write(tmp_path / "code", {f"outputs/{n}.txt": str(n) for n in range(5)})
    run = make_run()
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "_write_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            artifacts.keep_outputs(run, code)
    assert stored(storage) == 5
    assert not run.artifacts.exists()
    artifacts.keep_outputs(run, code)
    assert content(run) == {f"outputs/{n}.txt": str(n).encode() for n in range(5)}
    assert stored(storage) == 5


def test_a_changed_file_replaces_its_older_self(tmp_path: Path, storage: Path) -> None:
    run = make_run()
    artifacts.keep_outputs(run, write(tmp_path / "code", {"outputs/a.txt": "old", "outputs/b.txt": "b"}))
    artifacts.keep_outputs(run, write(tmp_path / "code", {"outputs/a.txt": "newer"}))
    assert content(run) == {"outputs/a.txt": b"newer", "outputs/b.txt": b"b"}
    assert run.artifacts.get(path="outputs/a.txt").size_bytes == 5
    assert stored(storage) == 2


def test_past_the_limits_files_are_left_out_with_a_note(tmp_path: Path, settings: Any) -> None:
    settings.OUTPUTS_MAX_FILES, settings.OUTPUTS_MAX_BYTES = 3, 1024
    run = make_run()
    sizes = {"a": 1000, "b": 1000, "c": 1, "d": 1, "e": 1}
    code = write(tmp_path, {f"outputs/{name}": "x" * size for name, size in sizes.items()})
    kept = artifacts.keep_outputs(run, code)
    assert set(content(run)) == {"outputs/a", "outputs/c", "outputs/d"}
    assert kept.notes == [
        "Not kept, a run may keep 1 KiB: “outputs/b”.",
        "Not kept, a run may keep 3 files: “outputs/e”.",
    ]


def test_a_thousand_files_cost_few_queries(tmp_path: Path, django_assert_max_num_queries: Any) -> None:
    code = write(tmp_path, {f"outputs/{n}": str(n) for n in range(1_000)})
    run = make_run()
    with django_assert_max_num_queries(42):  # what is known; BEGIN, INSERT, COMMIT and more per hundred
        artifacts.keep_outputs(run, code)


@pytest.mark.parametrize(
    "path", ["outputs/A.txt", "outputs/../outputs/a.txt", "/outputs/a.txt", "outputs/a.txt\0", ""]
)
def test_an_artifact_is_found_by_its_exact_path_only(path: str, tmp_path: Path) -> None:
    run, other = make_run(), make_run()
    artifacts.keep_outputs(run, write(tmp_path, {"outputs/a.txt": "1"}))
    assert artifacts.find_artifact(run, "outputs/a.txt").size_bytes == 1
    with pytest.raises(NotFound):
        artifacts.find_artifact(run, path)
    with pytest.raises(NotFound):
        artifacts.find_artifact(other, "outputs/a.txt")


def test_a_file_that_storage_has_lost_is_not_found(tmp_path: Path) -> None:
    run = make_run()
    artifacts.keep_outputs(run, write(tmp_path, {"outputs/a.txt": "1"}))
    artifact = run.artifacts.get()
    default_storage.delete(artifact.storage_name)
    with pytest.raises(NotFound, match="gone from storage"):
        artifacts.open_artifact(artifact)


def test_a_step_gets_the_outputs_of_all_steps_before_it(tmp_path: Path) -> None:
    pipeline = make_run(kind=Kind.PIPELINE)
    prepare = make_step(pipeline, "prepare")
    train = make_step(pipeline, "train-mlp", prepare)
    evaluate = make_step(pipeline, "evaluate", train)
    aside = make_step(pipeline, "aside", prepare)
    for step, name in ((prepare, "data/train.csv"), (train, "model.json"), (aside, "x")):
        artifacts.keep_outputs(
            step, write(tmp_path / step.step_name, {f"outputs/{name}": name, "logs/l": ""})
        )
    code = tmp_path / "code"
    assert artifacts.place_inputs(evaluate, code) == 2
    assert {path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file()} == {
        "inputs/prepare/data/train.csv",
        "inputs/train-mlp/model.json",
    }
    assert artifacts.place_inputs(evaluate, code) == 2
    assert artifacts.place_inputs(prepare, tmp_path / "none") == 0
    assert artifacts.place_inputs(make_run(), tmp_path / "none") == 0


def test_an_input_can_be_overwritten_without_harm_to_what_is_kept(tmp_path: Path) -> None:
    pipeline = make_run(kind=Kind.PIPELINE)
    prepare = make_step(pipeline, "prepare")
    train = make_step(pipeline, "train", prepare)
    artifacts.keep_outputs(prepare, write(tmp_path / "a", {"outputs/x.txt": "original"}))
    code = write(tmp_path / "code", {"inputs/prepare/x.txt": "from the snapshot"})
    artifacts.place_inputs(train, code)
    with open(code / "inputs/prepare/x.txt", "r+") as file:
        assert file.read() == "original"
        file.write("!")
    assert content(prepare) == {"outputs/x.txt": b"original"}


def test_all_artifacts_come_as_one_zip(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "outputs/é.json": '{"a": 1}',
        "outputs/m.bin": os.urandom(50_000),
        "logs/l.txt": "l",
    }
    run = make_run()
    artifacts.keep_outputs(run, write(tmp_path, files))
    with zipfile.ZipFile(io.BytesIO(b"".join(artifacts.zip_stream(run)))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: data if isinstance(data, bytes) else data.encode() for name, data in files.items()
        }
    with zipfile.ZipFile(io.BytesIO(b"".join(artifacts.zip_stream(make_run())))) as archive:
        assert archive.namelist() == []


def test_a_zip_is_sent_while_it_is_made(tmp_path: Path) -> None:
    run = make_run()
    artifacts.keep_outputs(
        run, write(tmp_path, {f"outputs/{n}.bin": os.urandom(4 * 2**20) for n in range(8)})
    )
    tracemalloc.start()
    try:
        assert sum(len(piece) for piece in artifacts.zip_stream(run)) > 32 * 2**20
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()
    stream = artifacts.zip_stream(run)
    next(stream)
    stream.close()


def kept_file(tmp_path: Path, name: str, data: str | bytes) -> Artifact:
    run = make_run()
    artifacts.keep_outputs(run, write(tmp_path, {f"outputs/{name}": data}))
    return run.artifacts.get()


PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.txt", "hello", "text"),
        ("a.py", "print()", "text"),
        ("noext", "hello", "text"),
        ("a.html", "<script>", "text"),
        ("a.svg", "<svg onload=alert(1)>", "text"),
        ("a.json", "{}", "json"),
        ("bad.json", "{", "text"),
        ("deep.json", "[" * 100_000, "text"),
        ("a.csv", "a,b\n1,2", "csv"),
        ("a.tsv", "a\tb", "csv"),
        ("bad.csv", '"' + "x" * 200_000, "text"),
        ("a.md", "# Title", "markdown"),
        ("long.md", "x" * 70_000, "text"),
        ("a.png", PNG, "image"),
        ("fake.png", "<script>", "none"),
        ("page.gif", "<html>", "none"),
        ("model.bin", b"\0\1", "none"),
        ("empty.txt", "", "text"),
        ("a.pdf", "%PDF", "none"),
        ("a.csv.gz", b"\x1f\x8b", "none"),
    ],
)
def test_each_file_has_its_kind_of_preview(name: str, data: str | bytes, kind: str, tmp_path: Path) -> None:
    found = previews.preview(kept_file(tmp_path, name, data))
    assert found.kind == kind
    assert bool(found.note) == (kind == "none" or name in ("bad.json", "deep.json", "bad.csv"))


def test_a_table_is_cut_with_a_note(tmp_path: Path) -> None:
    found = previews.preview(kept_file(tmp_path, "a.csv", ("x" * 900 + "," * 99 + "\n") * 400))
    assert (len(found.rows), len(found.rows[0]), len(found.rows[0][0])) == (201, 50, 500)
    assert found.note == "The first 200 rows. The first 50 columns."


def test_a_long_text_is_cut_between_letters_with_a_note(tmp_path: Path) -> None:
    found = previews.preview(kept_file(tmp_path, "a.txt", "a" + "é" * 400_000))
    assert len(found.text) == 262_144
    assert "\ufffd" not in found.text
    assert found.note == "The first 512 KiB."


def test_json_is_laid_out_and_markdown_is_cleaned(tmp_path: Path) -> None:
    assert previews.preview(kept_file(tmp_path, "a.json", '{"é":[1]}')).text == '{\n  "é": [\n    1\n  ]\n}'
    assert "<script" not in previews.preview(kept_file(tmp_path / "2", "a.md", "<script>x</script>")).html


@pytest.mark.parametrize("spelled", ['"\\udce9"', '"\\u0000"', '{"\\ud800": "\\ufffe"}', '"\\ud83d\\ude00"'])
def test_json_that_spells_no_letter_can_be_shown(spelled: str, tmp_path: Path) -> None:
    shown = previews.preview(kept_file(tmp_path, "a.json", spelled))
    assert shown.kind == "json"
    assert shown.text.encode()
    assert json.loads(shown.text) == json.loads(spelled)


def test_json_that_would_grow_a_thousandfold_is_shown_as_it_is(tmp_path: Path) -> None:
    deep = "[" * 400 + "0," * 200_000 + "0" + "]" * 400
    tracemalloc.start()
    shown = previews.preview(kept_file(tmp_path, "a.json", deep))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (shown.kind, shown.text) == ("text", deep)
    assert shown.note == "The file is nested too deeply to be indented."
    assert peak < 60e6  # 160 MB when it is indented


def test_only_raster_images_may_be_shown_in_place(tmp_path: Path) -> None:
    assert previews.check_is_image(kept_file(tmp_path / "1", "a.png", PNG)) == "image/png"
    with pytest.raises(NotFound):
        previews.check_is_image(kept_file(tmp_path / "2", "a.png", "<svg/onload=alert(1)>"))
