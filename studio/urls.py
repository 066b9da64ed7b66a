"""Where each part of Studio is mounted."""

from django.urls import include, path

urlpatterns = [
    path("", include("studio.accounts.urls")),
    path("", include("runs.urls")),
    path("api/", include("runs.api.urls")),
]

handler400 = "runs.middleware.bad_request"
handler500 = "runs.middleware.server_error"
