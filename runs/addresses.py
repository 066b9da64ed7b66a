"""Addresses that a list names for each of its rows; kept, because an open list asks for the same again."""

from __future__ import annotations

from functools import lru_cache

from django.urls import reverse


@lru_cache(2_000)
def experiment_url(name: str) -> str:
    """The path of an experiment's page."""
    return reverse("experiment-detail", args=[name])


@lru_cache(4_000)
def run_url(experiment: str, number: int) -> str:
    """The path of a run's page, by the name of its experiment and its number there."""
    return reverse("run-detail", args=[experiment, number])
