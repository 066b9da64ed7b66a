"""The addresses of the API. Anybody gets as far as its operations; each of them says who may call it."""

from django.urls import path

from runs.api.api import api
from runs.api.docs import docs
from studio.accounts.permissions import public

addresses = api.urls
for pattern in addresses[0]:
    public(pattern.callback)  # type: ignore[type-var]

urlpatterns = [
    path("v1/", addresses),
    path("docs", docs, name="api-docs"),
]
