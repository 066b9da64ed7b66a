"""`python -m studio_client.cli`, the same as `studio`."""

from studio_client.cli.entry import main

main()
