"""Where each part of Studio is mounted."""

from django.urls import include, path

urlpatterns = [
    path(
        "api/", include("runs.api.urls")
    ),  # first: what scripts ask often need not be compared with every page
    path("", include("studio.accounts.urls")),
    path("", include("runs.urls")),
]

handler400 = "runs.middleware.bad_request"
handler500 = "runs.middleware.server_error"
