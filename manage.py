#!/usr/bin/env python
"""Django's entry point for every command of Studio."""

import os
import sys

OLDEST = (3, 11)
OWN_PYTHON = os.path.join(os.path.dirname(os.path.abspath(__file__)), ".venv", "bin", "python")


def use_own_python() -> None:
    """Go on in the Python that `make run` has made, for whoever typed `python manage.py` outside of it."""
    try:
        import django  # noqa: F401
    except ModuleNotFoundError:
        if os.path.exists(OWN_PYTHON) and sys.prefix != os.path.dirname(os.path.dirname(OWN_PYTHON)):
            os.execv(OWN_PYTHON, [OWN_PYTHON, *sys.argv])  # noqa: S606
        refuse_old_python()
        sys.exit("Studio is not installed here: make run, or pip install -r requirements.txt.")


def refuse_old_python() -> None:
    """End with one line where Python is too old."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"Studio needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is Python {found}.")


def main() -> None:
    """Run the command that the command line names."""
    use_own_python()
    refuse_old_python()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError, OperationalError

    if "up" in sys.argv[1:2]:
        from studio.options import apply_options

        apply_options(sys.argv[2:])
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"studio: {error}")
    except DatabaseError as error:
        # The other kinds are mistakes of ours in what was asked.
        if type(error) not in (DatabaseError, OperationalError) or "--traceback" in sys.argv:
            raise
        sys.exit(f"studio: The database cannot be used: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
