"""The Outputs and Snapshot tabs: files shown safely, given out whole, compared."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from runs.models import Run
from runs.services.artifacts import keep_outputs
from runs.status import Status
from studio.accounts.models import User
from tests.factories import make_pipeline, make_run, make_snapshot
from tests.pages.test_run_frame import url_of

SignIn = Callable[[User], Client]
Keep = Callable[[Mapping[str, bytes]], Run]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SANDBOX = "sandbox; default-src 'none'"


@pytest.fixture
def ana_client(ana: User, client_of: SignIn) -> Client:
    return client_of(ana)


@pytest.fixture
def keep(workspace: object, tmp_path: Path) -> Keep:
    """A run that has kept these files."""

    def kept(files: Mapping[str, bytes]) -> Run:
        run = make_run()
        for path, data in files.items():
            target = tmp_path / "work" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        keep_outputs(run, tmp_path / "work")
        return run

    return kept


def test_files_are_listed_by_folder_outputs_first(ana_client: Client, keep: Keep) -> None:
    run = keep({"logs/a.log": b"x", "outputs/model.json": b"{}", "outputs/plots/loss.png": PNG})
    answer = ana_client.get(url_of(run, "run-outputs"))
    assert [folder.path for folder in answer.context["folders"]] == ["outputs", "outputs/plots", "logs"]
    assert answer.context["artifact"].path == "outputs/model.json"
    assert "3 files" in answer.content.decode()


def test_half_of_a_surrogate_pair_is_shown_as_it_was_spelled(ana_client: Client, keep: Keep) -> None:
    run = keep({"outputs/names.json": b'{"name": "\\udce9"}'})
    answer = ana_client.get(url_of(run, "run-outputs"))
    assert answer.status_code == 200
    assert "\\udce9" in answer.content.decode()


@pytest.mark.parametrize(
    ("name", "data", "seen"),
    [
        ("a.txt", b"<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        ("a.html", b"<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        ("a.svg", b"<svg onload=x>", "&lt;svg onload=x&gt;"),
        ("a.json", b'{"a":1}', "{\n  &quot;a&quot;: 1\n}"),
        ("a.csv", b"k,v\n<i>,2\n", "<td>&lt;i&gt;</td>"),
        ("a.md", b"# Hi\n<script>x</script>", "Hi</h3>"),
        ("a.bin", b"\0\1", "The file is binary."),
        ("a.zip", b"PK", "There is no preview of this kind of file."),
        ("a.txt", b"", "The file is empty."),
        ("b.csv", b"", "The file is empty."),
        ("a.csv", b"k,n\nx,2\ny,\n", '<th scope="col">k</th><th scope="col" class="num">n</th>'),
        ("b.csv", b"k,n\nx,-2e3\ny,nan\n", '<td>x</td><td class="num">-2e3</td>'),
        ("c.csv", b"k,n\nx,2\ny,z\n", "<td>x</td><td>2</td>"),
    ],
)
def test_files_are_shown_safely(ana_client: Client, keep: Keep, name: str, data: bytes, seen: str) -> None:
    page = ana_client.get(url_of(keep({f"outputs/{name}": data}), "run-outputs")).content.decode()
    assert seen in page
    assert "<script>x" not in page
    assert "<svg onload" not in page


def test_an_image_is_shown_from_its_own_address(ana_client: Client, keep: Keep) -> None:
    run = keep({"outputs/loss.png": PNG})
    url = url_of(run, "run-output-file", path="outputs/loss.png")
    assert f'<img src="{url}?show=1"' in ana_client.get(url_of(run, "run-outputs")).content.decode()
    answer = ana_client.get(url, {"show": "1"})
    assert (answer["Content-Type"], answer["Content-Security-Policy"]) == ("image/png", SANDBOX)
    assert answer["Content-Disposition"].startswith("inline")
    answer.close()


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.png", "a.js"])
def test_nothing_that_could_act_is_given_in_place(ana_client: Client, keep: Keep, name: str) -> None:
    url = url_of(
        keep({f"outputs/{name}": b"<script>alert(1)</script>"}), "run-output-file", path=f"outputs/{name}"
    )
    assert ana_client.get(url, {"show": "1"}).status_code == 404
    answer = ana_client.get(url)
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Security-Policy"] == SANDBOX
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert b"".join(answer.streaming_content) == b"<script>alert(1)</script>"  # type: ignore[arg-type]
    answer.close()


@pytest.mark.parametrize("path", ["outputs/b.txt", "../secret_key", "outputs/../a.txt", "outputs/a.txt%00"])
def test_a_file_that_is_not_the_runs_is_404(ana_client: Client, keep: Keep, path: str) -> None:
    run = keep({"outputs/a.txt": b"x"})
    assert ana_client.get(url_of(run, "run-outputs") + "file/" + path).status_code == 404
    assert ana_client.get(url_of(run, "run-outputs"), {"path": path}).status_code == 404


def test_all_files_come_as_one_zip(ana_client: Client, keep: Keep) -> None:
    run = keep({"outputs/a.txt": b"one", "logs/b.log": b"two"})
    answer = ana_client.get(url_of(run, "run-outputs-zip"))
    assert answer["Content-Disposition"] == f'attachment; filename="mnist-{run.number}-outputs.zip"'
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[arg-type]
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "outputs/a.txt": b"one",
        "logs/b.log": b"two",
    }


def test_a_zip_names_what_the_storage_has_lost(ana_client: Client, keep: Keep) -> None:
    run = keep({"outputs/a.txt": b"one", "outputs/b.txt": b"two"})
    default_storage.delete(run.artifacts.get(path="outputs/a.txt").storage_name)
    answer = ana_client.get(url_of(run, "run-outputs-zip"))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[arg-type]
    assert archive.read("outputs/b.txt") == b"two"
    assert b"outputs/a.txt" in archive.read(f"MISSING {run.run_id}.txt")


def test_a_file_that_storage_has_lost_says_so(ana_client: Client, keep: Keep) -> None:
    run = keep({"outputs/a.txt": b"x"})
    default_storage.delete(run.artifacts.get().storage_name)
    assert "is gone from storage" in ana_client.get(url_of(run, "run-outputs")).content.decode()


def test_a_run_without_files_teaches_where_to_write(ana_client: Client) -> None:
    page = ana_client.get(url_of(make_run(status=Status.RUNNING), "run-outputs")).content.decode()
    assert "No files yet" in page
    assert "./outputs" in page


@pytest.mark.parametrize("n", [1, 20])
def test_outputs_cost_the_same_however_many(
    ana_client: Client, keep: Keep, django_assert_num_queries: Any, n: int
) -> None:
    run = keep({f"outputs/{i}/file.txt": b"x" for i in range(n)})
    with django_assert_num_queries(5):  # who asks; the run; files; children by status; the shell's counts
        ana_client.get(url_of(run, "run-outputs"))


FILES = {"train.py": "def f():\n    return '<b>'  # ok\n", "lib/data.csv": "a,b\n", "x.bin": b"\0\1"}


def test_the_snapshot_opens_at_the_script_with_marked_source(ana_client: Client) -> None:
    page = ana_client.get(url_of(make_run(snapshot=make_snapshot(FILES)), "run-snapshot")).content.decode()
    assert 'id="L2"' in page
    assert '<span class="code-keyword">return</span>' in page
    assert '<span class="code-string">&#x27;&lt;b&gt;&#x27;</span>' in page
    assert '<span class="code-comment"># ok</span>' in page


def test_other_files_of_the_snapshot_open_by_link(ana_client: Client) -> None:
    url = url_of(make_run(snapshot=make_snapshot(FILES)), "run-snapshot")
    assert "a,b" in ana_client.get(url, {"path": "lib/data.csv"}).content.decode()
    assert "The file is binary" in ana_client.get(url, {"path": "x.bin"}).content.decode()
    assert ana_client.get(url, {"path": "../settings.py"}).status_code == 404


def test_the_difference_to_another_run_is_shown(ana_client: Client) -> None:
    before = make_run(snapshot=make_snapshot({"train.py": "one\nold\n", "gone.py": "x\n"}))
    after = make_run(snapshot=make_snapshot({"train.py": "one\nnew <b>\n", "more.py": "y\n"}))
    url = url_of(after, "run-snapshot")
    addresses = [
        url_of(before),
        f"https://studio.example/{url_of(before)}?path=a#L2",
        f"mnist#{before.number}",
    ]
    for against in (before.run_id, str(before.number), f"#{before.number}", *addresses):
        page = ana_client.get(url, {"against": against}).content.decode()
        assert '<div class="diff-removed">-old</div>' in page
        assert '<div class="diff-added">+new &lt;b&gt;</div>' in page
        assert "3 files differ" in page
    assert f"?against={before.run_id}" in ana_client.get(url).content.decode()


def test_a_difference_to_nothing_says_so(ana_client: Client, dan: User) -> None:
    run = make_run(snapshot=make_snapshot())
    secret = make_run(
        workspace=dan.memberships.get().workspace, target=None, submitter=dan, snapshot=make_snapshot()
    )
    bare = make_run()
    url = url_of(run, "run-snapshot")
    for against in ("nobody", "999", "0", "\0", secret.run_id):
        assert "There is no run" in ana_client.get(url, {"against": against}).content.decode()
    assert "has no source" in ana_client.get(url, {"against": bare.run_id}).content.decode()
    assert "The two sources are the same" in ana_client.get(url, {"against": run.run_id}).content.decode()


def test_the_source_comes_as_a_zip(ana_client: Client) -> None:
    assert ana_client.get(url_of(make_run(), "run-snapshot-zip")).status_code == 404
    run = make_run(snapshot=make_snapshot({"train.py": "x"}))
    answer = ana_client.get(url_of(run, "run-snapshot-zip"))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))  # type: ignore[arg-type]
    assert archive.read("train.py") == b"x"
    answer.close()


def test_a_pipeline_leads_to_the_sources_of_its_steps(ana_client: Client) -> None:
    pipeline = make_pipeline()
    pipeline.children.update(snapshot=make_snapshot())
    page = ana_client.get(url_of(pipeline, "run-snapshot")).content.decode()
    assert url_of(pipeline.children.get(step_name="train"), "run-snapshot") in page


VIEWS = ["run-outputs", "run-outputs-zip", "run-snapshot", "run-snapshot-zip", "run-children", "run-overview"]


@pytest.mark.parametrize("view", VIEWS)
def test_runs_of_other_workspaces_are_404(dan: User, client_of: SignIn, keep: Keep, view: str) -> None:
    run = keep({"outputs/a.txt": b"x"})
    assert client_of(dan).get(url_of(run, view)).status_code == 404
    assert client_of(dan).get(url_of(run, "run-output-file", path="outputs/a.txt")).status_code == 404
