"""Telemetry of Azure ML's SDK, which notebooks switch on or off first. Studio collects none."""

from __future__ import annotations


def set_diagnostics_collection(send_diagnostics: bool = True, verbosity: int | None = None) -> None:
    """Do nothing: nothing is collected, and nothing is sent to anybody."""
