"""The runs app: experiments, runs and everything that executes them."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Runs."""

    name = "runs"
