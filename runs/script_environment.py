"""What a script is told of its run, and what it imports to speak of it."""

from __future__ import annotations

import os
import subprocess
import sys

from django.conf import settings

from runs.execution import launch
from runs.execution.folder import RunFolder
from runs.models import Run
from runs.services.run_tokens import run_token

#: What scripts of runs import, in the version of this node: `azureml`, and the client that it stands on.
SDK = [str(settings.BASE_DIR / "sdk" / part) for part in ("client", "azureml")]
HAND_IN_LIMIT_S = 90.0


def run_environment(run: Run, folder: RunFolder) -> dict[str, str]:
    """What a script is told of its run, under the names that Azure ML's SDK reads, and ours."""
    return {
        "AZUREML_RUN_ID": run.run_id,
        "AZUREML_RUN_TOKEN": run_token(run),
        "AZUREML_ARM_SUBSCRIPTION": run.workspace.subscription_id,
        "AZUREML_ARM_RESOURCEGROUP": run.workspace.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": run.workspace.name,
        "AZUREML_ARM_PROJECT_NAME": run.experiment.name,
        "AZUREML_EXPERIMENT_ID": str(run.experiment_id),
        "AZUREML_WORKSPACE_ID": str(run.workspace_id),
        "AZUREML_SERVICE_ENDPOINT": settings.STUDIO_URL,
        "STUDIO_URL": settings.STUDIO_URL,
        "STUDIO_SPOOL_DIR": str(folder.spool),
    }


def hand_in_metrics(run: Run, folder: RunFolder) -> str:
    """Send the metrics that a script had no time to send; what came of it in words, "" without any.

    The run's token is valid until its end is written down, so this comes before that.
    """
    if not folder.spool.is_dir() or not any(folder.spool.iterdir()):
        return ""
    environment = launch.build_env(
        os.environ, run_env=run_environment(run, folder), user_env={}, python_path=SDK
    )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "studio_client.hand_in"],
            env=environment,
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HAND_IN_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return "Metrics that the script had left could not be sent in time."
    return done.stdout.strip()
