"""What the submit page accepts: the steps, and what is said of the run as a whole.

A whole form is one mapping of field names to texts, its *content*: what a browser posts, what a draft keeps,
and what a resubmission fills in are the same thing. Field names of a step begin with `steps-<i>-`.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import ErrorDict
from django.http import QueryDict

from runs.errors import StudioError
from runs.models import ComputeTarget, Snapshot
from runs.services.descriptions import check_description
from runs.services.examples import Example, list_examples
from runs.services.runs import check_display_name
from runs.services.submit import MOST_RETRIES, RETRIES_RULE, split_arguments
from runs.services.tags import parse_tag
from studio.fields import TextField, no_controls

SOURCES = [
    ("folder", "Folder"),
    ("zip", "Zip"),
    ("file", "File"),
    ("paste", "Paste"),
    ("run", "Run"),
    ("example", "Example"),
]
UPLOADS = frozenset({"folder", "zip", "file"})
PASTED_MAX = 1_000_000
FILES_SHOWN = 200

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(?:\s*\d{1,9}(?:\.\d{1,3})?\s*(?:s|min|m|h|d))+\s*\Z")
_TIME_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_MINUTES = re.compile(r"\d{1,9}(?:\.\d{1,3})?\Z")


def parse_time_limit(text: str) -> int | None:
    """Seconds of "1h", "90s", "1h 30m" or a number of minutes; None for no limit. Raises ValueError."""
    text = text.strip().lower()
    if not text:
        return None
    if _MINUTES.match(text):
        seconds = float(text) * 60
    elif _TIME.match(text):
        seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _TIME_PART.findall(text))
    else:
        raise ValueError("A time limit is a time such as 90s, 5m or 1h 30m, or a number of minutes.")
    return int(seconds)


def time_limit_text(seconds: int | None) -> str:
    """A time limit as `parse_time_limit` reads it back."""
    if seconds is None:
        return ""
    parts = []
    for unit in ("d", "h", "m"):
        amount, seconds = divmod(seconds, _UNITS[unit])
        parts += [f"{amount}{unit}"] if amount else []
    return " ".join([*parts, f"{seconds}s"] if seconds or not parts else parts)


def likely_script(scripts: list[str]) -> str:
    """The script to run when nobody chose one: the only one, else train.py or main.py, else ""."""
    if len(scripts) == 1:
        return scripts[0]
    return next((path for path in ("train.py", "main.py") if path in scripts), "")


class PageForm(forms.Form):
    """A form that can also show its content without judging it, so that a fresh page has no errors."""

    use_required_attribute = False

    def __init__(self, content: QueryDict, *, judge: bool, **kwargs: Any) -> None:
        super().__init__(content, **kwargs)
        self.judge = judge

    def full_clean(self) -> None:
        if self.judge:
            super().full_clean()
        else:
            self._errors = ErrorDict()
            self.cleaned_data = {}

    def refuse(self, field: str, error: StudioError) -> None:
        """Put an error of a service on its field, or on the whole form if it has no such field."""
        self.add_error(field if field in self.fields else None, str(error))


class ListWidget(forms.Widget):
    """The texts that were posted under one name, in order."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        return [text for text in data.getlist(name) if text]


class PairsWidget(forms.Widget):
    """Two columns, `<name>_name` and `<name>_value`, read as rows."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[tuple[str, str]]:
        return list(zip(data.getlist(f"{name}_name"), data.getlist(f"{name}_value"), strict=False))


class EnvironmentField(forms.Field):
    """Environment variables as rows of name and value; rows without both are left out."""

    widget = PairsWidget

    def to_python(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, text in value or []:
            name = name.strip()
            if not name and not text:
                continue
            if name in found:
                raise ValidationError(f"{name[:60]} is there twice.")
            found[name] = text
        return found


def _text(label: str, *, most: int, css: str = "input", note: str = "", **attrs: Any) -> TextField:
    widget = forms.TextInput(attrs={"class": css, "autocomplete": "off", **attrs})
    return TextField(label=label, required=False, max_length=most, help_text=note, widget=widget)


def _hidden() -> TextField:
    return TextField(required=False, max_length=512, widget=forms.HiddenInput)


@cache
def _examples() -> dict[str, Example]:
    """The bundled examples by name; they do not change while Studio runs."""
    return {example.name: example for example in list_examples()}


class StepForm(PageForm):
    """One step. `index` is the number in its field names; `snapshot` what its source became, if it did."""

    name = _text("Name", most=100, maxlength=100, spellcheck="false")
    source = forms.ChoiceField(
        label="Source",
        choices=SOURCES,
        error_messages=dict.fromkeys(("required", "invalid_choice"), "Choose a source."),
        widget=forms.RadioSelect,
    )
    digest = _hidden()
    digest_source = _hidden()
    source_label = _hidden()
    pasted_name = _text("File name", most=255, css="input mono", spellcheck="false", placeholder="train.py")
    pasted = TextField(
        label="Script text",
        required=False,
        strip=False,
        max_length=PASTED_MAX,
        widget=forms.Textarea(attrs={"class": "textarea mono", "rows": 8, "spellcheck": "false"}),
    )
    from_run = _text("Run", most=600, css="input mono", list="recent-runs", spellcheck="false")
    example = TextField(
        label="Bundled example", required=False, widget=forms.Select(attrs={"class": "select"})
    )
    script = _text("Script", most=1024, css="input mono", spellcheck="false")
    arguments = _text("Arguments", most=20_000, css="input mono", spellcheck="false")
    command = _text("Command", most=20_000, css="input mono", spellcheck="false")
    target = TextField(label="Compute target", required=False, widget=forms.Select(attrs={"class": "select"}))
    after = forms.Field(label="Runs after", required=False, widget=ListWidget)
    env = EnvironmentField(label="Environment variables", required=False)
    time_limit = _text("Time limit", most=60, placeholder="none")
    retries = forms.IntegerField(
        label="Retries",
        required=False,
        min_value=0,
        max_value=MOST_RETRIES,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), RETRIES_RULE),
        widget=forms.NumberInput(attrs={"class": "input", "placeholder": "0"}),
    )
    x = _hidden()
    y = _hidden()

    def __init__(
        self, content: QueryDict, *, index: int, targets: dict[str, ComputeTarget], judge: bool
    ) -> None:
        super().__init__(content, judge=judge, prefix=f"steps-{index}")
        self.index = index
        self.targets = targets
        self.snapshot: Snapshot | None = None
        self.source_error = ""
        self.fields["target"].widget.choices = [("", "(default)"), *((n, n) for n in targets)]
        self.fields["example"].widget.choices = [
            ("", "Choose one"),
            *((name, example.title) for name, example in _examples().items()),
        ]
        for field in ("name", "script", "pasted_name"):
            self.fields[field].validators.append(no_controls)
        self.fields["script"].widget.attrs["list"] = f"steps-{index}-scripts"

    def text(self, field: str) -> str:
        """What was typed into a field, unjudged."""
        return str(self.data.get(self.add_prefix(field), "") or "")

    @property
    def title(self) -> str:
        """What the page calls the step."""
        script = PurePosixPath(self.only_script or self.text("script")).stem or self.text("command")
        return self.text("name").strip() or script or f"step {self.index + 1}"

    @property
    def folder_name(self) -> str:
        """The field name of an uploaded folder; the two below: of an archive, of a single file."""
        return self.add_prefix("folder")

    @property
    def zip_name(self) -> str:
        return self.add_prefix("zip")

    @property
    def file_name(self) -> str:
        return self.add_prefix("file")

    @property
    def source_words(self) -> str:
        """What a box on the canvas says of the source: "folder, 7 files"."""
        count = self.snapshot.file_count if self.snapshot else 0
        return f"{self.text('digest_source')}, {count} file{'s' if count != 1 else ''}"

    @property
    def chosen_example(self) -> Example | None:
        """The bundled example that is the source; None for any other source."""
        return _examples().get(self.text("example")) if self.text("source") == "example" else None

    @property
    def likely_script(self) -> str:
        """The script to offer when none was chosen; of an example with several steps, none."""
        if example := self.chosen_example:
            return example.steps[0].script if len(example.steps) == 1 else ""
        return likely_script(self.scripts)

    @property
    def likely_arguments(self) -> str:
        """The arguments to offer with that script, as a shell takes them."""
        example = self.chosen_example
        return shlex.join(example.steps[0].arguments) if example and self.likely_script else ""

    @property
    def torn_example(self) -> Example | None:
        """The example with several steps of which only the files are taken; None where one of them is run."""
        example = self.chosen_example
        if example is None or len(example.steps) == 1:
            return None
        is_step = self.text("script") in {step.script for step in example.steps}
        return None if is_step else example

    @property
    def only_script(self) -> str:
        """The script where the source is a single file, so that there is no choice; "" otherwise."""
        if self.snapshot is None or self.text("source") not in ("paste", "file"):
            return ""
        return str(self.snapshot.files[0]["path"])

    @property
    def shown_files(self) -> list[dict[str, Any]]:
        """The first files of the source, as `Snapshot.files` has them."""
        return self.snapshot.files[:FILES_SHOWN] if self.snapshot else []

    @property
    def files_not_shown(self) -> int:
        """How many more it has."""
        return max(self.snapshot.file_count - FILES_SHOWN, 0) if self.snapshot else 0

    @property
    def source_errors(self) -> list[str]:
        """What is wrong with the source: found when it was taken, or else when the form was judged."""
        return [self.source_error] if self.source_error else [str(error) for error in self["source"].errors]

    @property
    def scripts(self) -> list[str]:
        """The files of the source that could be run, likely ones first."""
        if self.snapshot is None:
            return []
        files = [file["path"] for file in self.snapshot.files]
        runnable = {f["path"] for f in self.snapshot.files if f["executable"]}
        likely = [path for path in files if path.endswith((".py", ".sh")) or path in runnable]
        return sorted(likely, key=lambda path: (path.count("/"), path))[:200]

    def clean_source(self) -> str:
        if self.source_error:
            raise ValidationError(self.source_error)
        if self.snapshot is None:
            raise ValidationError(_MISSING.get(self.cleaned_data["source"], "Choose a source."))
        return str(self.cleaned_data["source"])

    def clean_script(self) -> str:
        script = self.cleaned_data["script"].strip()
        return self.only_script or str(script.removeprefix("./")) or self.likely_script

    def clean_command(self) -> list[str]:
        try:
            return split_arguments(self.cleaned_data["command"])
        except StudioError as error:
            raise ValidationError(str(error)) from None

    def clean_target(self) -> ComputeTarget | None:
        name = self.cleaned_data["target"]
        if name and name not in self.targets:
            raise ValidationError(f"There is no compute target “{name[:60]}” in this workspace.")
        return self.targets.get(name)

    def clean_time_limit(self) -> int | None:
        try:
            return parse_time_limit(self.cleaned_data["time_limit"])
        except ValueError as error:
            raise ValidationError(str(error)) from None

    def clean_retries(self) -> int:
        return self.cleaned_data["retries"] or 0

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.text("script").strip() and not cleaned.get("arguments"):
            cleaned["arguments"] = self.likely_arguments
        if cleaned.get("command"):
            cleaned |= {"script": "", "arguments": ""}
        if not cleaned.get("name") and "name" not in self.errors:
            program = (cleaned.get("command") or [""])[0]
            cleaned["name"] = PurePosixPath(cleaned.get("script") or program).stem
        return cleaned


_MISSING = {
    "folder": "Choose a folder.",
    "zip": "Choose a zip or tar file.",
    "file": "Choose a file.",
    "paste": "Paste a script.",
    "run": "Say which run's snapshot to take.",
    "example": "Choose an example.",
}


class RunForm(PageForm):
    """What is said of the run as a whole: its experiment, its names, and where steps run by default."""

    experiment_kind = forms.ChoiceField(
        choices=[("existing", "Existing"), ("new", "New")],
        required=False,
        error_messages={"invalid_choice": "Choose an existing experiment or a new one."},
        widget=forms.RadioSelect,
    )
    experiment = TextField(
        label="Existing experiment", required=False, widget=forms.Select(attrs={"class": "select"})
    )
    new_experiment = _text("New experiment", most=10_000, spellcheck="false")
    display_name = _text("Display name", most=256)
    description = TextField(
        label="Description",
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"class": "textarea", "rows": 3}),
    )
    tags = TextField(
        label="Tags",
        required=False,
        max_length=200_000,
        widget=forms.Textarea(
            attrs={
                "class": "textarea",
                "rows": 2,
                "spellcheck": "false",
                "placeholder": "key=value",
            }
        ),
    )
    target = TextField(
        label="Default compute target", required=False, widget=forms.Select(attrs={"class": "select"})
    )
    submission_key = _hidden()
    resubmitted_from = _hidden()
    draft = _hidden()
    draft_name = _text("Name of the draft", most=256, placeholder="Untitled")

    def __init__(
        self,
        content: QueryDict,
        *,
        targets: dict[str, ComputeTarget],
        experiments: list[str],
        judge: bool,
        steps_only: bool = False,
    ) -> None:
        super().__init__(content, judge=judge)
        self.targets = targets
        self.steps_only = steps_only
        self.fields["target"].widget.choices = [("", "Choose one"), *((n, n) for n in targets)]
        # A browser would cut the rest without a word.
        del self.fields["display_name"].widget.attrs["maxlength"]
        chosen = content.get("experiment", "")[:255]
        offered = [chosen, *experiments] if chosen and chosen not in experiments else experiments
        self.fields["experiment"].widget.choices = [(name, name) for name in offered]

    def clean_target(self) -> ComputeTarget | None:
        name = self.cleaned_data["target"]
        if name and name not in self.targets:
            raise ValidationError(f"There is no compute target “{name[:60]}” in this workspace.")
        return self.targets.get(name)

    def clean_display_name(self) -> str:
        try:
            return check_display_name(self.cleaned_data["display_name"])
        except StudioError as error:
            raise ValidationError(str(error)) from None

    def clean_description(self) -> str:
        try:
            return check_description(self.cleaned_data["description"])
        except StudioError as error:
            raise ValidationError(str(error)) from None

    def clean_tags(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        wrong: list[str] = []
        for line in filter(None, map(str.strip, self.cleaned_data["tags"].splitlines())):
            try:
                key, value = parse_tag(line)
            except StudioError as error:
                wrong.append(str(error))
                continue
            if key in found:
                wrong.append(f"The tag {key[:60]} is there twice.")
            found[key] = value
        if wrong:
            raise ValidationError(wrong)
        return found

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        existing, new = cleaned.get("experiment", ""), cleaned.get("new_experiment", "")
        kinds = {"existing": existing, "new": new}
        chosen = kinds.get(cleaned.get("experiment_kind", ""), new or existing)
        cleaned["experiment_name"] = chosen
        if not chosen and not self.steps_only and "new_experiment" not in self.errors:
            self.add_error(self.experiment_field, "Choose an experiment, or name a new one.")
        return cleaned

    @property
    def experiment_field(self) -> str:
        """The field that errors about the experiment belong to."""
        return "experiment" if self.data.get("experiment_kind") == "existing" else "new_experiment"
