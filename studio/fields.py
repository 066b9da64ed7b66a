"""Fields of forms that say what is wrong in Studio's words."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

CONTROL_CHARACTER = "This has a control character in it. Type it again."

no_controls = RegexValidator(r"[\x00-\x1f\x7f\u2028\u2029]", CONTROL_CHARACTER, inverse_match=True)


class TextField(forms.CharField):
    """A text. Of several things that are wrong with it only the first is said."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": "Fill this in.",
        "max_length": "This has %(show_value)d characters. At most %(limit_value)d are taken.",
        "null_characters_not_allowed": CONTROL_CHARACTER,
    }

    def run_validators(self, value: Any) -> None:
        try:
            super().run_validators(value)
        except ValidationError as error:
            raise ValidationError(error.error_list[:1]) from None
