"""`wait_for_completion`: until the run has ended, with its log on standard output if that is wanted."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from azureml._translate import translated
from azureml.exceptions import ActivityFailedException, ExperimentExecutionException

if TYPE_CHECKING:
    from azureml.core.run import Run

NO_ERROR_DETAILS = "Detailed error not set on the Run. Please check the logs for details."


def wait_for(run: Run, *, show_output: bool, raise_on_error: bool) -> dict[str, Any]:
    """The details of the run once it has ended. Raises ActivityFailedException if it failed."""
    from studio_client.streaming import print_summary, wait_until_ended

    if show_output:
        try:
            _stream(run)
        except KeyboardInterrupt:
            raise ExperimentExecutionException(
                "The output streaming for the run interrupted.\nBut the run is still executing on the "
                "compute target. \n"
                f"To cancel it: run.cancel(), `studio run cancel -r {run.id}`, or Cancel on its page "
                f"{run.get_portal_url()}"
            ) from None
    with translated:
        run._record = wait_until_ended(run._api, run.id)
    details = run.get_details()
    if show_output:
        print_summary(run._record, sys.stdout)
    tell_failure(details, show_output=show_output, raise_on_error=raise_on_error)
    return details


def tell_failure(details: dict[str, Any], *, show_output: bool, raise_on_error: bool) -> None:
    """Raise ActivityFailedException, or else print the error, if the run of these details failed."""
    if details["status"] != "Failed":
        return
    error = details.get("error") or NO_ERROR_DETAILS
    if raise_on_error:
        raise ActivityFailedException(error_details=error)
    if show_output:
        print("Error:")
        print(json.dumps(error, indent=4))
        print()


def _stream(run: Run) -> None:
    from studio_client.streaming import print_log

    with translated:
        print_log(run._api, run._record, sys.stdout)
