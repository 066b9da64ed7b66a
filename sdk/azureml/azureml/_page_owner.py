"""What experiments and runs have in common: a page on the server, and how they show themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from studio_client.api import Api


class PageOwner:
    """Something with a page on the server. Prints as its fields; in a notebook with links besides."""

    DELIM = ","
    EXPERIMENT_ID_PATH = "{}/experiments/id/{}"
    EXPERIMENT_NAME_PATH = "{}/experiments/{}"
    TID_FMT = "tid={}"
    WORKSPACE_FMT = "wsid={}"

    _shown_as: ClassVar[str]
    _page_title: ClassVar[str]

    if TYPE_CHECKING:

        @property
        def _api(self) -> Api: ...

        @property
        def _record(self) -> Any: ...

        def _fields(self) -> dict[str, Any]: ...

    def __repr__(self) -> str:
        from studio_client.reprs import text_table

        try:
            return text_table(self._shown_as, self._fields())
        except AttributeError:  # what made it has failed, and a traceback shows what there is of it
            return object.__repr__(self)

    def _repr_html_(self) -> str:
        from studio_client.reprs import DOCS_PAGE, html_table

        links = {
            self._page_title: (self.get_portal_url(), "Link to Studio"),
            "Docs Page": (self._api.url + DOCS_PAGE, "Link to Documentation"),
        }
        return html_table(self._fields(), links)

    @property
    def portal_url(self) -> str:
        """The address of the server."""
        return self._api.url

    def get_portal_url(self) -> str:
        """The address of its page."""
        address: str = self._record["url"]
        return address

    @classmethod
    def get_docs_url(cls) -> str:
        """Where the API of the server is described."""
        from studio_client.reprs import DOCS_PAGE

        from azureml._connection import connect

        return connect().url + DOCS_PAGE
