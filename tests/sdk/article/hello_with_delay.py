"""A script that takes its time."""

import time

print("Starting a long run", flush=True)
time.sleep(600)
