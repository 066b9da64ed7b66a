"""What the pages of accounts accept."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.validators import MaxLengthValidator
from django.utils import timezone

from studio.accounts import attempts
from studio.accounts.models import Role, User
from studio.fields import TextField, no_controls

ROLES = {
    Role.READER: "Reader: looks at everything",
    Role.CONTRIBUTOR: "Contributor: submits, cancels, tags",
    Role.OWNER: "Owner: also manages members and compute",
}
#: The code of an error, of a password that was tried too often to be looked at.
TOO_MANY_TRIES = "too_many_tries"
LONGEST_TOKEN = timedelta(days=3650)


def _text(kind: str = "text", **attrs: str) -> forms.TextInput:
    return forms.TextInput(attrs={"class": "input", "type": kind, "autocomplete": "off", **attrs})


class SignInForm(forms.Form):
    """User name and password, as typed."""

    username = TextField(max_length=150)
    password = TextField(max_length=1024, strip=False)


class InviteForm(forms.Form):
    """A person to add to a workspace."""

    username = TextField(
        label="User name",
        # Not max_length: browsers would cut without a word what is typed or pasted.
        validators=[
            MaxLengthValidator(150),
            UnicodeUsernameValidator(message="Use letters, digits and @ . + - _ only."),
        ],
        help_text="Letters, digits and @ . + - _, no @ first. Runs are found by it.",
        widget=_text(autocapitalize="none", spellcheck="false"),
    )
    role = forms.ChoiceField(
        label="Role",
        choices=[(role.value, text) for role, text in ROLES.items()],
        initial=Role.CONTRIBUTOR.value,
        error_messages={"required": "Choose a role.", "invalid_choice": "There is no such role."},
        widget=forms.Select(attrs={"class": "select"}),
    )

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class TokenForm(forms.Form):
    """A token to make."""

    name = TextField(
        label="Name",
        validators=[MaxLengthValidator(100), no_controls],
        help_text="Where it will be used, such as “laptop”.",
        widget=_text(),
    )
    expires_on = forms.DateField(
        label="Last day",
        required=False,
        help_text="Empty: it works until it is revoked.",
        error_messages={"invalid": "This is no day. Choose one, or leave it empty."},
        widget=_text("date"),
    )

    def clean_expires_on(self) -> datetime | None:
        """The end of the last day, in UTC."""
        day = self.cleaned_data["expires_on"]
        if day is None:
            return None
        today = timezone.now().date()
        if day < today:
            raise forms.ValidationError("This day is over. Choose today or a later one.")
        if day > today + LONGEST_TOKEN:
            raise forms.ValidationError("Choose a day within the next ten years, or leave it empty.")
        return datetime.combine(day, time.max, tzinfo=timezone.get_default_timezone())


class PasswordForm(forms.Form):
    """A new password; the one so far too, unless the person has none or came by a sign-in link.

    Tries from an address are counted; the error of one too many has the code TOO_MANY_TRIES.
    """

    current = TextField(
        label="Password so far",
        max_length=1024,
        strip=False,
        widget=_text("password", autocomplete="current-password"),
    )
    new = TextField(
        label="New password",
        max_length=1024,
        strip=False,
        help_text="10 characters or more, and nothing that many people use.",
        widget=_text("password", autocomplete="new-password"),
    )
    again = TextField(
        label="New password again",
        max_length=1024,
        strip=False,
        widget=_text("password", autocomplete="new-password"),
    )

    def __init__(self, *args: Any, user: User, ask_current: bool, address: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.address = address
        if not ask_current:
            del self.fields["current"]

    def clean_current(self) -> str:
        # Whoever finds an open session could guess here. Tries to sign in, which others make, count apart.
        current, whose = self.cleaned_data["current"], f"account\n{self.user.pk}"
        if not attempts.try_once(whose, self.address):
            message = "Too many tries with a password. Wait a few minutes, then try again."
            raise forms.ValidationError(message, code=TOO_MANY_TRIES)
        if not self.user.check_password(current):
            raise forms.ValidationError("This is not the password so far.")
        attempts.forget(whose, self.address)
        return current

    def clean_new(self) -> str:
        new = self.cleaned_data["new"]
        validate_password(new, self.user)
        return new

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "new" in cleaned and cleaned.get("again") not in (None, cleaned["new"]):
            self.add_error("again", "The two new passwords differ.")
        return cleaned
