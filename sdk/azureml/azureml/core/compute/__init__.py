"""Compute targets: named places where runs execute, served by machines of one's own."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from azureml._translate import translated
from azureml._unsupported import placeholder
from azureml.exceptions import ComputeTargetException

if TYPE_CHECKING:
    from studio_client.records import TargetRecord

    from azureml.core.workspace import Workspace


class ComputeTarget:
    """A compute target of a workspace, found by its name.

    Raises ComputeTargetException with the word ComputeTargetNotFound if there is none of this name.
    """

    def __init__(self, workspace: Workspace, name: str, **kwargs: Any) -> None:
        self.workspace = workspace
        self._record: TargetRecord = kwargs.get("_record") or _fetch(workspace, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(workspace={self.workspace!r}, name={self.name!r}, type={self.type!r})"

    @staticmethod
    def list(workspace: Workspace) -> builtins.list[ComputeTarget]:
        """Those of a workspace."""
        with translated:
            records = builtins.list(workspace._api.targets(workspace.name))
        return [AmlCompute(workspace, record["name"], _record=record) for record in records]

    @property
    def name(self) -> str:
        """Its name."""
        return self._record["name"]

    @property
    def type(self) -> str:
        """Always `AmlCompute`."""
        return "AmlCompute"

    @property
    def id(self) -> str:
        """Its address in the API."""
        return f"{self.workspace.name}/compute-targets/{self.name}"

    @property
    def description(self) -> str:
        """What its owner says of it."""
        return self._record["description"]

    @property
    def provisioning_state(self) -> str:
        """Always `Succeeded`: a target is there from the moment it has a name."""
        return "Succeeded"

    @property
    def provisioning_errors(self) -> Any:
        """Always None."""
        return None

    @property
    def location(self) -> str:
        """That of its workspace."""
        return self.workspace.location

    @property
    def tags(self) -> dict[str, str]:
        """Always empty: targets have no tags."""
        return {}

    def get_status(self) -> AmlComputeStatus:
        """Its nodes and slots, asked now."""
        self.refresh_state()
        return AmlComputeStatus(self._record)

    def refresh_state(self) -> None:
        """Ask the server again."""
        self._record = _fetch(self.workspace, self.name)

    def serialize(self) -> dict[str, Any]:
        """What is known of it, as plain values."""
        return {
            "id": self.id,
            "name": self.name,
            "tags": {},
            "location": self.location,
            "type": "Compute",
            "properties": {
                "description": self.description,
                "computeType": self.type,
                "provisioningState": self.provisioning_state,
                "properties": AmlComputeStatus(self._record).serialize(),
            },
        }

    def wait_for_completion(self, show_output: bool = False, **kwargs: Any) -> None:
        """Return at once: a target is there from the moment it has a name."""
        if show_output:
            print(f"Succeeded\n{self.type} wait for completion finished\n")

    @staticmethod
    def create(workspace: Workspace, name: str, provisioning_configuration: Any) -> ComputeTarget:
        """The target of this name. One that is not there is made by an owner:
        raises ComputeTargetException.
        """
        try:
            return AmlCompute(workspace, name)
        except ComputeTargetException:
            raise ComputeTargetException(
                f"Studio cannot make the compute target {name!r} out of nothing: compute is a machine of "
                "your own. An owner "
                f"adds it on the Compute page, or starts a machine that serves it: "
                f"`python manage.py node --targets {name}`."
            ) from None

    @staticmethod
    def attach(workspace: Workspace, name: str, attach_configuration: Any) -> ComputeTarget:
        """As `create`."""
        return ComputeTarget.create(workspace, name, attach_configuration)

    def delete(self) -> None:
        """Not a matter of scripts here."""
        raise ComputeTargetException(f"The compute target {self.name!r} is managed on the Compute page.")

    def detach(self) -> None:
        """Not a matter of scripts here."""
        self.delete()


class AmlComputeStatus:
    """How busy a target is: its nodes, its slots, and what waits."""

    def __init__(self, record: TargetRecord) -> None:
        nodes = record["nodes"]
        self.current_node_count = sum(1 for node in nodes if node.get("alive"))
        self.target_node_count = len(nodes)
        self.slots = record["slots"]
        self.used_slots = record["used"]
        self.queued_run_count = record["queued"]
        self.provisioning_state = "Succeeded"
        self.allocation_state = "Steady"

    def serialize(self) -> dict[str, Any]:
        """The same as plain values under camelCase keys."""
        return {
            "currentNodeCount": self.current_node_count,
            "targetNodeCount": self.target_node_count,
            "slots": self.slots,
            "usedSlots": self.used_slots,
            "queuedRunCount": self.queued_run_count,
            "provisioningState": self.provisioning_state,
            "allocationState": self.allocation_state,
        }


class AmlCompute(ComputeTarget):
    """A compute target under the name that scripts know."""

    @staticmethod
    def provisioning_configuration(vm_size: str = "", **kwargs: Any) -> dict[str, Any]:
        """What was asked for, for `ComputeTarget.create`."""
        return {"vm_size": vm_size, **kwargs}


class ComputeInstance(ComputeTarget):
    """A compute target under the name that scripts know."""

    @staticmethod
    def provisioning_configuration(vm_size: str = "", **kwargs: Any) -> dict[str, Any]:
        """What was asked for, for `ComputeTarget.create`."""
        return {"vm_size": vm_size, **kwargs}


def _fetch(workspace: Workspace, name: str) -> TargetRecord:
    from studio_client.errors import NotFound

    with translated:
        try:
            return workspace._api.target(workspace.name, name)
        except NotFound as error:
            raise ComputeTargetException(
                f"ComputeTargetNotFound: Compute Target with name {name} not found in provided workspace "
                f"{workspace.name}.",
                error,
            ) from None


AdlaCompute = placeholder(__name__, "AdlaCompute")
AksCompute = placeholder(__name__, "AksCompute")
BatchCompute = placeholder(__name__, "BatchCompute")
DatabricksCompute = placeholder(__name__, "DatabricksCompute")
DataFactoryCompute = placeholder(__name__, "DataFactoryCompute")
HDInsightCompute = placeholder(__name__, "HDInsightCompute")
KubernetesCompute = placeholder(__name__, "KubernetesCompute")
RemoteCompute = placeholder(__name__, "RemoteCompute")
SynapseCompute = placeholder(__name__, "SynapseCompute")

__all__ = [
    "AdlaCompute",
    "AksCompute",
    "AmlCompute",
    "AmlComputeStatus",
    "BatchCompute",
    "ComputeInstance",
    "ComputeTarget",
    "ComputeTargetException",
    "DataFactoryCompute",
    "DatabricksCompute",
    "HDInsightCompute",
    "KubernetesCompute",
    "RemoteCompute",
    "SynapseCompute",
]
