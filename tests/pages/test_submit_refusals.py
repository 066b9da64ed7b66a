"""What the submit page refuses: said at its field, nothing half-saved, nothing typed lost."""

from __future__ import annotations

import html
import io
import re
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from runs.models import Draft, Experiment, Run, Snapshot
from studio.accounts.models import User
from tests.factories import make_experiment, make_run, make_snapshot, make_target, make_workspace
from tests.pages.test_submit import errors_of, form, text_of


@pytest.fixture
def client(client_of: Callable[[User], Client], ana: User) -> Client:
    make_target("local", is_default=True)
    return client_of(ana)


def field_errors(response: Any, field: str) -> list[str]:
    """The errors right after the control of this name."""
    after = re.split(rf'name="{field}"', text_of(response), maxsplit=1)[1]
    until = re.split(r"</(?:div|fieldset)>", after, maxsplit=1)[0]
    return [html.unescape(text) for text in re.findall(r"<span>([^<]*)</span></p>", until)]


@pytest.mark.parametrize(
    ("over", "field", "said"),
    [
        ({"new_experiment": ""}, "new_experiment", "Choose an experiment"),
        ({"new_experiment": "no blanks here"}, "new_experiment", "cannot be an experiment's name"),
        ({"new_experiment": "x" * 10_000}, "new_experiment", "cannot be an experiment's name"),
        ({"new_experiment": "\u202eevil"}, "new_experiment", "cannot be an experiment's name"),
        ({"new_experiment": "🚀"}, "new_experiment", "cannot be an experiment's name"),
        ({"new_experiment": "a\0b"}, "new_experiment", "control character"),
        ({"display_name": "x" * 10_000}, "display_name", "This has 10000 characters. At most 256"),
        ({"display_name": "a\0b"}, "display_name", "control character"),
        ({"tags": "=good"}, "tags", "A tag needs a key"),
        ({"tags": "a=1\na=2"}, "tags", "there twice"),
        ({"target": "moon"}, "target", "no compute target “moon”"),
        (
            {"steps-0-source": "example", "steps-0-example": "digits", "steps-0-script": "other.py"},
            "steps-0-script",
            "other.py is not in the source",
        ),
        ({"steps-0-script": "a\x07b.py"}, "steps-0-script", "control character"),
        ({"steps-0-arguments": "--name 'open"}, "steps-0-arguments", "no closing quotation"),
        ({"steps-0-target": "moon"}, "steps-0-target", "no compute target “moon”"),
        ({"steps-0-time_limit": "soon"}, "steps-0-time_limit", "90s, 5m or 1h 30m"),
        ({"steps-0-time_limit": "0s"}, "steps-0-time_limit", "between 1 second and 60 days"),
        ({"steps-0-time_limit": "9999999d"}, "steps-0-time_limit", "between 1 second and 60 days"),
        ({"steps-0-retries": "11"}, "steps-0-retries", "a number between 0 and 10"),
        ({"steps-0-retries": "-1"}, "steps-0-retries", "a number between 0 and 10"),
        ({"steps-0-retries": "some"}, "steps-0-retries", "a number between 0 and 10"),
        ({"steps-0-name": "x" * 10_000}, "steps-0-name", "At most 100"),
        ({"description": "x" * 50_001}, "description", "50,001 characters"),
    ],
)
def test_it_is_said_at_the_field(client: Client, over: dict[str, str], field: str, said: str) -> None:
    response = client.post("/submit/", form(**over))
    assert response.status_code == 422
    assert any(said in error for error in field_errors(response, field)), errors_of(response)
    assert Run.objects.count() == Experiment.objects.count() == 0


@pytest.mark.parametrize("field", ["display_name", "steps-0-name", "steps-0-script", "steps-0-pasted_name"])
def test_a_text_that_is_wrong_in_several_ways_is_refused_in_one_sentence(client: Client, field: str) -> None:
    response = client.post("/submit/", form(**{field: "x\0y\x07" * 1000, "new_experiment": "mnist"}))
    assert field_errors(response, field) == [errors_of(response)[0]]
    assert "This has 4000 characters. At most" in errors_of(response)[0]
    response = client.post("/submit/", form(**{field: "x\0y\x07", "new_experiment": "mnist"}))
    assert field_errors(response, field) == ["This has a control character in it. Type it again."]


def test_everything_that_is_wrong_is_said_at_once(client: Client) -> None:
    make_experiment("old", archived_at=datetime.now(UTC))
    response = client.post(
        "/submit/",
        form(
            **{
                "steps-0-arguments": "--x 'unclosed",
                "steps-0-time_limit": "5 parsecs",
                "steps-0-env_name": ["1 bad", "STUDIO_TOKEN"],
                "steps-0-env_value": ["x", "x"],
                "steps-0-retries": "77",
                "new_experiment": "old",
                "tags": "=a\n=b",
            }
        ),
    )
    assert "no closing quotation" in field_errors(response, "steps-0-arguments")[0]
    assert "90s, 5m or 1h 30m" in field_errors(response, "steps-0-time_limit")[0]
    assert field_errors(response, "steps-0-retries") == ["Retries are a number between 0 and 10."]
    assert "is archived" in field_errors(response, "new_experiment")[0]
    assert len(field_errors(response, "tags")) == 2
    said = errors_of(response)
    assert len(said) == 8, said
    assert any("“1 bad” cannot be the name" in error for error in said)
    assert any("STUDIO_TOKEN is set by Studio itself" in error for error in said)
    assert Run.objects.count() == 0


def test_what_only_follows_from_a_missing_source_is_not_said(client: Client) -> None:
    second = {"steps-1-name": "", "steps-1-source": "zip", "steps-1-script": "a.py", "steps-1-retries": "77"}
    response = client.post("/submit/", form(**second))
    assert errors_of(response) == ["Choose a zip or tar file.", "Retries are a number between 0 and 10."]


def test_what_is_wrong_with_each_step_and_between_them_is_said_at_once(client: Client) -> None:
    steps = step(0, "a", [1]) | step(1, "b", [0, 7]) | {"steps-0-arguments": "'", "steps-1-time_limit": "0s"}
    said = errors_of(client.post("/submit/", form(**steps)))
    assert len(said) == 4, said
    for words in (
        "no closing quotation",
        "between 1 second",
        "no step of this pipeline",
        "wait for each other",
    ):
        assert any(words in error for error in said), words


def test_a_kind_of_experiment_that_there_is_not_is_said_in_the_dialog(client: Client) -> None:
    response = client.post("/submit/", form(experiment_kind="zzz"))
    assert response.status_code == 422
    assert errors_of(response) == ["Choose an existing experiment or a new one."]
    assert "data-open-dialog" in text_of(response)


def test_new_without_a_name_is_not_the_existing_one(client: Client) -> None:
    make_experiment("mnist")
    response = client.post("/submit/", form(experiment="mnist", new_experiment=""))
    assert response.status_code == 422
    assert field_errors(response, "new_experiment") == ["Choose an experiment, or name a new one."]
    assert Run.objects.count() == 0


@pytest.mark.parametrize(
    ("names", "values", "said"),
    [
        (["2ND"], ["x"], "cannot be the name of an environment variable"),
        (["A B"], ["x"], "cannot be the name of an environment variable"),
        (
            ["A" * 10_000],
            ["x"],
            f"“{'A' * 40}…” cannot be the name of an environment variable: it has 10,000",
        ),
        (["STUDIO_TOKEN"], ["x"], "set by Studio itself"),
        (["A", "A"], ["1", "2"], "there twice"),
        (["A"], ["\0"], "NUL"),
    ],
)
def test_environment_variables_are_checked(
    client: Client, names: list[str], values: list[str], said: str
) -> None:
    response = client.post("/submit/", form(**{"steps-0-env_name": names, "steps-0-env_value": values}))
    assert response.status_code == 422
    assert any(said in error for error in errors_of(response))


def step(index: int, name: str, after: list[int]) -> dict[str, Any]:
    return {
        f"steps-{index}-name": name,
        f"steps-{index}-source": "paste",
        f"steps-{index}-pasted": "print(1)",
        f"steps-{index}-after": [str(other) for other in after],
    }


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([step(0, "a", [1]), step(1, "b", [0])], "wait for each other"),
        ([step(0, "a", []), step(1, "b", [7])], "which is no step of this pipeline"),
        ([step(0, "a", [0])], "no other step"),
        ([step(0, "", [7])], "no other step"),
        ([step(0, "same", []), step(1, "same", [])], "Two steps are called same"),
        ([step(0, "../up", []), step(1, "b", [])], "cannot be a step&#x27;s name"),
    ],
)
def test_what_is_no_pipeline_is_refused(client: Client, steps: list[dict[str, Any]], said: str) -> None:
    response = client.post("/submit/", form(**{k: v for one in steps for k, v in one.items()}))
    assert response.status_code == 422
    assert any(said in error for error in errors_of(response)), errors_of(response)
    assert Run.objects.count() == 0


def test_without_any_target_the_step_and_the_setting_are_marked(client: Client) -> None:
    response = client.post("/submit/", form(target=""))
    assert response.status_code == 422
    assert re.search(r'<select[^>]*name="target"[^>]*aria-invalid="true"', text_of(response))
    assert "There is no compute target to run this on" in field_errors(response, "steps-0-target")[0]


def test_no_steps_is_nothing_to_run(client: Client) -> None:
    response = client.post("/submit/", {"new_experiment": "mnist", "target": "local"})
    assert response.status_code == 422
    assert "nothing to run" in text_of(response)


def test_everything_typed_is_still_there(client: Client) -> None:
    typed = {
        "display_name": "مرحبا 🚀 <b>",
        "description": "# why\n\nbecause",
        "tags": "quality=fantastic run\nbaseline",
        "steps-0-name": "fit",
        "steps-0-pasted": "print('<hello>')\n",
        "steps-0-arguments": "--lr '0.1",
        "steps-0-env_name": ["A"],
        "steps-0-env_value": ["1 & 2"],
        "steps-0-time_limit": "1h",
        "steps-0-retries": "3",
    }
    text = html.unescape(text_of(client.post("/submit/", form(**typed))))
    for value in ("مرحبا 🚀 <b>", "# why\n\nbecause", "quality=fantastic run\nbaseline", 'value="fit"'):
        assert value in text
    for value in (
        "print('<hello>')",
        "--lr '0.1",
        'value="1 & 2"',
        'value="1h"',
        'value="3"',
        'value="mnist"',
    ):
        assert value in text


def upload(source: str, name: str, data: bytes) -> dict[str, Any]:
    return {"steps-0-source": source, f"steps-0-{source}": SimpleUploadedFile(name, data)}


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"../evil.py": b""}, "leads out of its folder"),
        ({"/etc/passwd": b""}, "absolute path"),
        ({f"f{n}.py": b"" for n in range(2_001)}, "2,001 files; the limit is 2,000"),
    ],
)
def test_hostile_archives_are_refused_and_explained(
    client: Client, files: dict[str, bytes], said: str
) -> None:
    response = client.post("/submit/", form(**upload("zip", "x.zip", zipped(files))))
    assert response.status_code == 422
    assert any(said in error for error in errors_of(response)), errors_of(response)
    assert Snapshot.objects.count() == Run.objects.count() == 0


def test_too_much_source_says_what_would_help(client: Client, settings: Any) -> None:
    settings.SNAPSHOT_MAX_BYTES = 1_000
    files = {"train.py": b"print(1)", "data/a.bin": b"x" * 5_000}
    response = client.post("/submit/", form(**upload("zip", "x.zip", zipped(files))))
    assert response.status_code == 422
    assert "would help" in text_of(response)
    assert "data/a.bin" in text_of(response)


def test_what_is_no_archive_is_refused(client: Client) -> None:
    response = client.post("/submit/", form(**upload("zip", "x.zip", b"hello")))
    assert any("not a zip archive" in error for error in errors_of(response)), errors_of(response)


def test_an_archive_with_nothing_in_it_is_called_empty(client: Client) -> None:
    response = client.post("/submit/", form(**upload("zip", "x.zip", zipped({}))))
    assert "The source has no file in it." in errors_of(response), errors_of(response)


@pytest.mark.parametrize("source", ["folder", "zip", "file", "paste", "run", "example", "nonsense", ""])
def test_a_missing_source_is_asked_for(client: Client, source: str) -> None:
    response = client.post("/submit/", form(**{"steps-0-source": source, "steps-0-pasted": ""}))
    assert response.status_code == 422
    assert errors_of(response)


class TestSnapshotsOfOthers:
    """A digest is no key to what somebody else uploaded."""

    def digest_of_a_stranger(self, dan: User, digest_in: str = "train.py") -> str:
        workspace = dan.memberships.get().workspace
        snapshot = make_snapshot({digest_in: "print('secret of dan')"})
        make_run(experiment=make_experiment("theirs", workspace=workspace), snapshot=snapshot)
        return snapshot.digest

    def test_it_cannot_be_submitted(self, client: Client, dan: User) -> None:
        digest = self.digest_of_a_stranger(dan)
        for source in ("folder", "zip", "file", "run"):
            held = {"steps-0-source": source, "steps-0-digest": digest, "steps-0-digest_source": source}
            response = client.post("/submit/", form(**held))
            assert response.status_code == 422
            assert digest not in text_of(response)

    def test_its_files_are_not_listed(self, client: Client, dan: User) -> None:
        digest = self.digest_of_a_stranger(dan, "secret_name.py")
        held = {"steps-0-source": "zip", "steps-0-digest": digest, "steps-0-digest_source": "zip"}
        for action in ("run", "check", "add-step", "save-draft"):
            response = client.post("/submit/", form(action=action, **held), follow=True)
            assert "secret_name.py" not in text_of(response)

    @pytest.mark.parametrize("digest", ["a\0b", "x" * 64, "../" * 20])
    def test_what_is_no_digest_is_no_source(self, client: Client, digest: str) -> None:
        held = {"steps-0-source": "zip", "steps-0-digest": digest, "steps-0-digest_source": "zip"}
        assert client.post("/submit/", form(**held)).status_code == 422

    def test_a_draft_does_not_launder_it(self, client: Client, dan: User) -> None:
        digest = self.digest_of_a_stranger(dan)
        held = {"steps-0-source": "zip", "steps-0-digest": digest, "steps-0-digest_source": "zip"}
        client.post("/submit/", form(action="save-draft", **held))
        assert client.post("/submit/", form(**held)).status_code == 422

    @pytest.mark.parametrize(
        "hidden_in", ["steps-0-digest", "steps-0-foo-digest", "steps-0-foo", "foo-digest"]
    )
    def test_nor_does_one_with_more_fields_than_the_form_has(
        self, client: Client, dan: User, hidden_in: str
    ) -> None:
        digest = self.digest_of_a_stranger(dan)
        held = {"steps-0-source": "zip", "steps-0-digest": digest, "steps-0-digest_source": "zip"}
        for sent in ([digest, ""], ["", digest], [digest, digest]):
            client.post("/submit/", form(action="save-draft", **{**held, hidden_in: sent}))
        assert Draft.objects.count() == 3
        assert digest not in str(list(Draft.objects.values_list("content")))
        assert client.post("/submit/", form(**held)).status_code == 422

    @pytest.mark.parametrize(
        "content", [{"steps-0-digest": ["{}", ""]}, {"steps-0-foo-digest": ["{}"]}, {"foo-digest": ["{}"]}]
    )
    def test_a_draft_names_what_its_form_reads_and_no_more(
        self, client: Client, dan: User, ana: User, content: dict[str, list[str]]
    ) -> None:
        digest = self.digest_of_a_stranger(dan)
        kept = {field: [text.format(digest) for text in texts] for field, texts in content.items()}
        Draft.objects.create(workspace=make_workspace(), owner=ana, name="x", content=kept)
        held = {"steps-0-source": "zip", "steps-0-digest": digest, "steps-0-digest_source": "zip"}
        assert client.post("/submit/", form(**held)).status_code == 422

    def test_their_run_cannot_be_named(self, client: Client, dan: User) -> None:
        self.digest_of_a_stranger(dan)
        theirs = Run.objects.get()
        for name in (theirs.run_id, "theirs#1"):
            response = client.post("/submit/", form(**{"steps-0-source": "run", "steps-0-from_run": name}))
            assert response.status_code == 422
            assert "no such run" in text_of(response)
        assert "theirs" not in text_of(client.get("/submit/", {"from": theirs.run_id}))

    def test_whoever_uploads_the_same_files_may_submit_them(self, client: Client, dan: User) -> None:
        digest = self.digest_of_a_stranger(dan)
        data = b"print('secret of dan')"
        taken = client.post(
            "/submit/upload/",
            {"index": "0", "steps-0-source": "file", "steps-0-file": SimpleUploadedFile("train.py", data)},
        )
        assert digest in text_of(taken)
        held = {"steps-0-source": "file", "steps-0-digest": digest, "steps-0-digest_source": "file"}
        assert client.post("/submit/", form(**held)).status_code == 303

    @pytest.mark.parametrize(
        "named",
        [
            "runs#1",
            "runs/runs/1",
            "http://studio:8000/experiments/runs/runs/1/",
            "http://studio:8000/experiments/runs/runs/1/?x=1",
            "http://studio:8000/experiments/runs/runs/1/logs/?file=user_logs%2Fstd_log.txt#L5",
            "https://host/studio/experiments/runs/runs/1/outputs/file/outputs/experiments/x/runs/2",
            "http://studio:8000/runs/{run_id}/?x=/experiments/other/runs/2/",
            "/runs/{run_id}",
            "https://host/runs/runs/{run_id}/logs/",
        ],
    )
    def test_a_run_is_found_by_what_people_copy(self, client: Client, named: str) -> None:
        run = make_run(experiment=make_experiment("runs"), snapshot=make_snapshot())
        source = {"steps-0-source": "run", "steps-0-from_run": f"  {named.format(run_id=run.run_id)} "}
        assert client.post("/submit/", form(**source)).status_code == 303
        assert Run.objects.exclude(pk=run.pk).get().snapshot == run.snapshot

    @pytest.mark.parametrize("text", ["/experiments/x" * 1_000, "/runs/" * 100_000, "x" * 1_000_000])
    def test_no_text_makes_the_search_for_a_run_long(self, client: Client, text: str) -> None:
        started = time.process_time()
        assert client.get("/submit/", {"from": text[:50_000]}).status_code == 200
        answer = client.post("/submit/", form(**{"steps-0-source": "run", "steps-0-from_run": text}))
        assert answer.status_code == 422
        assert time.process_time() - started < 5

    def test_a_snapshot_of_a_run_of_the_workspace_may_be_used(self, client: Client) -> None:
        run = make_run(snapshot=make_snapshot())
        held = {"steps-0-source": "run", "steps-0-from_run": run.run_id}
        assert client.post("/submit/", form(**held)).status_code == 303


def test_a_key_of_somebody_else_gives_nothing_away(
    client_of: Callable[[User], Client], client: Client, chi: User
) -> None:
    client.post("/submit/", form())
    response = client_of(chi).post("/submit/", form(display_name="mine"))
    assert response.status_code == 303
    assert Run.objects.filter(display_name="mine", submitter=chi).exists()


def test_a_reader_cannot_open_or_send_the_form(client_of: Callable[[User], Client], ben: User) -> None:
    client = client_of(ben)
    assert client.get("/submit/").status_code == 403
    assert client.post("/submit/", form()).status_code == 403
    assert client.post("/submit/upload/", {}).status_code == 403


def test_the_check_answers_without_submitting(client: Client) -> None:
    response = client.post("/submit/", form(action="check", new_experiment=""))
    assert response.status_code == 200
    assert "1 step: 1 on" in text_of(response)
    assert Run.objects.count() == 0


@pytest.mark.parametrize("address", ["/submit/", "/submit/upload/"])
@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("DATA_UPLOAD_MAX_NUMBER_FILES", "More than 2 files came at once"),
        ("DATA_UPLOAD_MAX_NUMBER_FIELDS", "More than 2 fields came at once"),
    ],
)
def test_more_than_can_be_read_is_said_clearly(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture, address: str, limit: str, said: str
) -> None:
    setattr(settings, limit, 2)
    files = [SimpleUploadedFile(f"{n}.py", b"x = 1\n") for n in range(3)]
    response = client.post(address, {**form(), "steps-0-folder": files}, headers={"HX-Request": "true"})
    assert response.status_code == 413
    assert said in text_of(response)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("address", ["/submit/", "/sign-in/"])
@pytest.mark.parametrize("sent_as", [{}, {"content_type": "application/x-www-form-urlencoded"}])
def test_a_form_that_is_too_long_says_what_fits(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture, address: str, sent_as: dict[str, str]
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    text = "x" * 1_001
    response = client.post(address, f"description={text}" if sent_as else {"description": text}, **sent_as)
    assert response.status_code == 413
    assert "More than 1,000 bytes of text came at once" in text_of(response)
    assert not [record for record in caplog.records if record.exc_info]
