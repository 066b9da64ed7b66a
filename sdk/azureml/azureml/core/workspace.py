"""Workspaces: which one a folder belongs to, and what is in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from azureml import _project_file
from azureml._connection import connect
from azureml._project_file import Attachment, scope_of
from azureml._translate import translated
from azureml._unsupported import unsupported
from azureml.exceptions import UserErrorException, WorkspaceException

if TYPE_CHECKING:
    from studio_client.api import Api
    from studio_client.records import WorkspaceRecord

    from azureml.core.environment import Environment
    from azureml.core.experiment import Experiment
    from azureml.core.run import Run


_BY_HAND = "its workspaces are made and renamed where it runs, by `manage.py workspace add` and `rename`."


class Workspace:
    """A workspace of the Studio that one is signed in to, found by its name.

    Subscription and resource group are kept because configuration files of Azure carry them; they decide
    nothing.
    """

    DEFAULT_CPU_CLUSTER_CONFIGURATION = {
        "vm_size": "STANDARD_DS2_V2",
        "vm_priority": "dedicated",
        "min_nodes": 0,
        "max_nodes": 2,
        "idle_seconds_before_scaledown": 1800,
    }
    DEFAULT_CPU_CLUSTER_NAME = "cpu-cluster"
    DEFAULT_GPU_CLUSTER_CONFIGURATION = {**DEFAULT_CPU_CLUSTER_CONFIGURATION, "vm_size": "STANDARD_NC6"}
    DEFAULT_GPU_CLUSTER_NAME = "gpu-cluster"

    def __init__(
        self,
        subscription_id: str,
        resource_group: str,
        workspace_name: str,
        auth: Any = None,
        _location: str | None = None,
        _disable_service_check: bool = False,
        _workspace_id: str | None = None,
        sku: str = "basic",
        tags: dict[str, str] | None = None,
        _cloud: str = "AzureCloud",
    ) -> None:
        """Raises WorkspaceException when the server has no such workspace, AuthenticationException without a
        login.
        """
        if not _disable_service_check and (not isinstance(workspace_name, str) or not workspace_name):
            raise UserErrorException(f"The name of a workspace is a text, not {workspace_name!r}.")
        self._attachment = Attachment(subscription_id or "", resource_group or "", workspace_name)
        self._auth = auth
        self._api_in_use: Api | None = None
        self._fetched: WorkspaceRecord | None = None
        if not _disable_service_check:
            self._record  # noqa: B018 (asks the server)

    @staticmethod
    def from_config(
        path: str | None = None, auth: Any = None, _logger: Any = None, _file_name: str | None = None
    ) -> Workspace:
        """The workspace that `.azureml/config.json` or `config.json` names, here or in a folder above."""
        place = None if path is None else os.fspath(path)
        _, found = _project_file.find(place, _file_name)
        return Workspace(found.subscription_id, found.resource_group, found.workspace_name, auth=auth)

    @staticmethod
    def get(
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        cloud: str = "AzureCloud",
        id: str | None = None,
    ) -> Workspace:
        """The workspace of this name."""
        return Workspace(subscription_id or "", resource_group or "", name, auth=auth)

    @staticmethod
    def list(
        subscription_id: str, auth: Any = None, resource_group: str | None = None
    ) -> dict[str, list[Workspace]]:
        """Those that one is a member of, each in a list by its name."""
        with translated:
            records = [*connect().workspaces()]
        return {record["name"]: [Workspace._from_record(record)] for record in records}

    @classmethod
    def _from_record(cls, record: WorkspaceRecord) -> Workspace:
        made = cls(
            record["subscription_id"], record["resource_group"], record["name"], _disable_service_check=True
        )
        made._fetched = record
        return made

    @property
    def _api(self) -> Api:
        if self._api_in_use is None:
            self._api_in_use = connect()
        return self._api_in_use

    @property
    def _record(self) -> WorkspaceRecord:
        """What the server knows, asked once."""
        if self._fetched is None:
            from studio_client.errors import NotFound

            with translated:
                try:
                    self._fetched = self._api.workspace(self.name)
                except NotFound as error:
                    raise WorkspaceException(
                        f"Workspace not found: {self.name!r} is not on {self._api.url}, or you are not a "
                        f"member of it. Yours: {self._names() or 'none'}. Whoever runs the server can give "
                        "one this name: `python manage.py workspace rename OLD NEW`, or `add NAME`.",
                        error,
                    ) from None
        return self._fetched

    def _names(self) -> str:
        return ", ".join(one["name"] for one in self._api.me()["workspaces"])

    def __repr__(self) -> str:
        named, known = self.__dict__.get("_attachment"), self.__dict__.get("_fetched")
        if named is None:  # a traceback shows one that could not be made
            return object.__repr__(self)
        subscription = named.subscription_id or (known["subscription_id"] if known else "")
        group = named.resource_group or (known["resource_group"] if known else "")
        return (
            f"Workspace.create(name={named.workspace_name!r}, subscription_id={subscription!r}, "
            f"resource_group={group!r})"
        )

    def __deepcopy__(self, memo: Any) -> Workspace:
        return self

    @property
    def name(self) -> str:
        """Its name."""
        return self._attachment.workspace_name

    @property
    def subscription_id(self) -> str:
        """The subscription that its configuration files carry."""
        return self._attachment.subscription_id or self._record["subscription_id"]

    @property
    def resource_group(self) -> str:
        """The resource group that its configuration files carry."""
        return self._attachment.resource_group or self._record["resource_group"]

    @property
    def location(self) -> str:
        """Where it is, in words of its owner."""
        return self._record["location"]

    @property
    def sku(self) -> str:
        """Always `Basic`: there are no editions."""
        return "Basic"

    @property
    def tags(self) -> dict[str, str]:
        """Always empty: workspaces have no tags."""
        return {}

    @property
    def discovery_url(self) -> str:
        """The address of the API."""
        return f"{self._api.url}/api/v1"

    @property
    def service_context(self) -> Any:
        """Of Azure's services, which Studio has not."""
        raise unsupported("Workspace.service_context")

    @property
    def compute_targets(self) -> dict[str, Any]:
        """Its compute targets by name."""
        from azureml.core.compute import ComputeTarget

        return {target.name: target for target in ComputeTarget.list(self)}

    @property
    def experiments(self) -> dict[str, Experiment]:
        """Its experiments by name, without archived ones."""
        from azureml.core.experiment import Experiment

        return {experiment.name: experiment for experiment in Experiment.list(self)}

    @property
    def environments(self) -> dict[str, Environment]:
        """The environments that were registered, by name."""
        from azureml.core.environment import Environment

        return Environment.list(self)

    def get_run(self, run_id: str) -> Run:
        """The run of this id, whichever experiment it is in. Raises ServiceException (404)."""
        from azureml.core.run import Run

        return Run.get(self, run_id)

    def get_details(self) -> dict[str, Any]:
        """What is known of it, under the names of Azure's."""
        record = self._record
        scope = scope_of(self.subscription_id, self.resource_group, self.name)
        return {
            "id": scope,
            "name": self.name,
            "location": record["location"],
            "type": "Microsoft.MachineLearningServices/workspaces",
            "tags": {},
            "sku": "Basic",
            "workspaceid": scope,
            "description": record["description"],
            "friendlyName": self.name,
            "creationTime": record["created_at"],
            "discoveryUrl": self.discovery_url,
        }

    def get_portal_url(self) -> str:
        """The address of its page."""
        return self._record["url"]

    def get_mlflow_tracking_uri(self, _with_auth: bool = False) -> str:
        """Studio does not speak MLflow's protocol."""
        raise unsupported("Workspace.get_mlflow_tracking_uri")

    def write_config(self, path: str | None = None, file_name: str | None = None) -> None:
        """Write `<path>/.azureml/config.json`, which `from_config` finds from there and from below."""
        scope = scope_of(self.subscription_id, self.resource_group, self.name)
        _project_file.write(path or ".", scope, file_name)

    def get_default_compute_target(self, type: str) -> Any:
        """The default compute target, whatever type is asked for; None without one."""
        from azureml.core.compute import ComputeTarget

        return next((target for target in ComputeTarget.list(self) if target._record["is_default"]), None)

    @staticmethod
    def create(
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        create_resource_group: bool = True,
        sku: str = "basic",
        tags: dict[str, str] | None = None,
        friendly_name: str | None = None,
        storage_account: Any = None,
        key_vault: Any = None,
        app_insights: Any = None,
        container_registry: Any = None,
        adb_workspace: Any = None,
        primary_user_assigned_identity: Any = None,
        cmk_keyvault: Any = None,
        resource_cmk_uri: Any = None,
        hbi_workspace: bool = False,
        default_cpu_compute_target: Any = None,
        default_gpu_compute_target: Any = None,
        private_endpoint_config: Any = None,
        private_endpoint_auto_approval: bool = True,
        exist_ok: bool = False,
        show_output: bool = True,
        user_assigned_identity_for_cmk_encryption: Any = None,
        system_datastores_auth_mode: str = "accessKey",
        v1_legacy_mode: Any = None,
    ) -> Workspace:
        """With `exist_ok`, the workspace of this name. Making one is not a matter of scripts here."""
        if exist_ok:
            return Workspace.get(name, auth, subscription_id, resource_group)
        raise unsupported("Workspace.create", _BY_HAND)

    @staticmethod
    def setup() -> None:
        """Of Azure's services, which Studio has not."""
        raise unsupported("Workspace.setup")

    def _refuse(self, name: str) -> Any:
        raise unsupported(f"Workspace.{name}")

    def delete(self, delete_dependent_resources: bool = False, no_wait: bool = False) -> None:
        """Not a matter of scripts here."""
        raise unsupported("Workspace.delete", _BY_HAND)

    def update(
        self,
        friendly_name: str | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        image_build_compute: Any = None,
        service_managed_resources_settings: Any = None,
        primary_user_assigned_identity: Any = None,
        allow_public_access_when_behind_vnet: Any = None,
        v1_legacy_mode: Any = None,
    ) -> Any:
        """Not a matter of scripts here."""
        raise unsupported("Workspace.update", _BY_HAND)

    def update_dependencies(self, container_registry: Any = None, force: bool = False) -> None:
        """Of Azure's services, which Studio has not."""
        self._refuse("update_dependencies")

    def add_private_endpoint(
        self,
        private_endpoint_config: Any,
        private_endpoint_auto_approval: bool = True,
        location: str | None = None,
        show_output: bool = True,
        tags: dict[str, str] | None = None,
    ) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("add_private_endpoint")

    def delete_private_endpoint_connection(self, private_endpoint_connection_name: str) -> None:
        """Of Azure's services, which Studio has not."""
        self._refuse("delete_private_endpoint_connection")

    def diagnose_workspace(self, diagnose_parameters: Any) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("diagnose_workspace")

    def list_connections(self, category: str | None = None, target: str | None = None) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("list_connections")

    def get_connection(self, name: str) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("get_connection")

    def set_connection(self, name: str, category: str, target: str, authType: str, value: str) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("set_connection")

    def delete_connection(self, name: str) -> None:
        """Of Azure's services, which Studio has not."""
        self._refuse("delete_connection")

    def list_keys(self) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("list_keys")

    def sync_keys(self, no_wait: bool = False) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("sync_keys")

    def get_default_datastore(self) -> Any:
        """Of Azure's data stores, which Studio has not."""
        return self._refuse("get_default_datastore")

    def set_default_datastore(self, name: str) -> None:
        """Of Azure's data stores, which Studio has not."""
        self._refuse("set_default_datastore")

    def get_default_keyvault(self) -> Any:
        """Of Azure's key vaults, which Studio has not."""
        return self._refuse("get_default_keyvault")

    @property
    def datastores(self) -> Any:
        """Of Azure's data stores, which Studio has not."""
        return self._refuse("datastores")

    @property
    def datasets(self) -> Any:
        """Of Azure's data sets, which Studio has not."""
        return self._refuse("datasets")

    @property
    def models(self) -> Any:
        """Of Azure's model registry, which Studio has not."""
        return self._refuse("models")

    @property
    def images(self) -> Any:
        """Of Azure's deployments, which Studio has not."""
        return self._refuse("images")

    @property
    def webservices(self) -> Any:
        """Of Azure's deployments, which Studio has not."""
        return self._refuse("webservices")

    @property
    def linked_services(self) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("linked_services")

    @property
    def private_endpoints(self) -> Any:
        """Of Azure's services, which Studio has not."""
        return self._refuse("private_endpoints")
