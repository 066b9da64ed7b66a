"""`python -m studio_client.hand_in`: send what a script has left in the folder that STUDIO_SPOOL_DIR names.

The node of a submitted run calls it when the script has ended, as long as the run's token is valid.
"""

from __future__ import annotations

import sys

from studio_client.spool import sync_all

PATIENCE_S = 60.0


def main() -> int:
    """Send; say what came of it on standard output. 1 if something could not be sent."""
    results = sync_all(patience_s=PATIENCE_S)
    for one in results:
        if one.entries:
            sys.stdout.write(f"{one.entries} metrics that the script had left were sent.\n")
        if one.problem:
            sys.stdout.write(f"Metrics that the script had left could not be sent: {one.problem}\n")
    return int(any(one.problem for one in results))


if __name__ == "__main__":
    sys.exit(main())
