"""Where a container image would come from."""

from __future__ import annotations

from azureml._sections import Section


class RegistryIdentity(Section):
    """Who asks a registry; kept, not used."""

    _defaults = {"resource_id": lambda: None, "client_id": lambda: None}


class ContainerRegistry(Section):
    """Address and user of a registry; kept, not used."""

    _defaults = {
        "address": lambda: None,
        "username": lambda: None,
        "password": lambda: None,
        "registry_identity": lambda: None,
    }

    def to_dict(self) -> dict[str, object]:
        """Without the password, which belongs into no file and on no page."""
        return {**super().to_dict(), "password": None}
