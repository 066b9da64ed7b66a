"""The addresses of accounts."""

from django.urls import path

from studio.accounts import views

urlpatterns = [
    path("healthz", views.health, name="health"),
    # Signing in and out
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-in/<str:token>/", views.sign_in_link, name="sign-in-link"),
    path("sign-out/", views.sign_out, name="sign-out"),
    # The person
    path("account/", views.account, name="account"),
    path("workspace/", views.workspace_switch, name="workspace-switch"),
    # Members
    path("members/", views.member_list, name="member-list"),
    path("members/<str:username>/role/", views.member_role, name="member-role"),
    path("members/<str:username>/link/", views.member_link, name="member-link"),
    path("members/<str:username>/remove/", views.member_remove, name="member-remove"),
    # Tokens
    path("tokens/", views.token_list, name="token-list"),
    path("tokens/<str:prefix>/revoke/", views.token_revoke, name="token-revoke"),
]
