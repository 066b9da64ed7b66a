"""The web server's own sweeps: nodes sweep for each other, and one that hangs alone is missed by none."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db import close_old_connections

from runs.models.compute import NODE_ALIVE_FOR
from runs.services.sweeps import now_with_sleep, sweep

logger = logging.getLogger("studio.sweeper")


class Sweeper:
    """Sweeps from time to time; `run` never returns."""

    def __init__(self) -> None:
        self.every_s = settings.NOT_RESPONDING_AFTER_SECONDS / 2
        self._in_touch_since = self._looked_at = now_with_sleep()

    def run(self) -> None:
        """For a thread that ends with its process."""
        while True:
            time.sleep(self.every_s)
            self._look()

    def _look(self) -> None:
        """After a pause of the whole machine its nodes come first: they live, and have not said so yet."""
        begin = now_with_sleep()
        if begin - self._looked_at > self.every_s + NODE_ALIVE_FOR.total_seconds():
            self._in_touch_since = begin
        elif not self._sweep(timedelta(seconds=begin - self._in_touch_since)):
            self._in_touch_since = now_with_sleep()
        self._looked_at = now_with_sleep()

    def _sweep(self, in_touch_for: timedelta) -> bool:
        """Whether the database answered, and soon."""
        try:
            return sweep(in_touch_for)
        except Exception as error:  # whatever it was, the next sweep may find what this one did not
            logger.warning("a sweep failed; trying again: %s", " ".join(str(error).split()))
            close_old_connections()
            return False
