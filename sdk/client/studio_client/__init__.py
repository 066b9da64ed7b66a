"""The client of Studio: sign-in, HTTP, snapshots, logs and metrics, without anything of the server."""

from __future__ import annotations

__version__ = "1.0.0"
