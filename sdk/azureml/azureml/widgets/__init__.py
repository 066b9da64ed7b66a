"""`RunDetails(run).show()`: the run's table with a link to its page, which is where it is watched."""

from __future__ import annotations

from typing import Any


class RunDetails:
    """Shows a run in a notebook."""

    def __init__(self, run_instance: Any) -> None:
        self._run = run_instance

    def show(self, render_lib: Any = None, widget_settings: Any = None) -> None:
        """Show the run as a table in a notebook, as text elsewhere."""
        try:
            from IPython.display import display
        except ImportError:
            print(self._run)
            return
        display(self._run)

    def get_widget_data(self, widget_settings: Any = None) -> dict[str, Any]:
        """The details of the run."""
        return dict(self._run.get_details())


__all__ = ["RunDetails"]
