"""What a script is told of its run, and what it imports to speak of it."""

from __future__ import annotations

from django.conf import settings

from runs.execution.folder import RunFolder
from runs.models import Run
from runs.services.run_tokens import run_token
from studio.addresses import address_of_this_studio

#: What scripts of runs import, in the version of this node: `azureml`, and the client that it stands on.
SDK = [str(settings.BASE_DIR / "sdk" / part) for part in ("client", "azureml")]


def run_environment(run: Run, folder: RunFolder) -> dict[str, str]:
    """What a script is told of its run, under the names that Azure ML's SDK reads, and ours."""
    address = address_of_this_studio()
    return {
        "AZUREML_RUN_ID": run.run_id,
        "AZUREML_RUN_TOKEN": run_token(run),
        "AZUREML_ARM_SUBSCRIPTION": run.workspace.subscription_id,
        "AZUREML_ARM_RESOURCEGROUP": run.workspace.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": run.workspace.name,
        "AZUREML_ARM_PROJECT_NAME": run.experiment.name,
        "AZUREML_EXPERIMENT_ID": str(run.experiment_id),
        "AZUREML_WORKSPACE_ID": str(run.workspace_id),
        "AZUREML_SERVICE_ENDPOINT": address,
        "STUDIO_URL": address,
        "STUDIO_SPOOL_DIR": str(folder.spool),
    }
