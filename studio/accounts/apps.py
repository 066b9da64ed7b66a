"""The accounts app: people, workspaces, roles, tokens, sessions."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Accounts; imports nothing of runs."""

    name = "studio.accounts"
    label = "accounts"
