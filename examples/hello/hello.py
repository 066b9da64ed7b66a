"""The smallest run: say hello, count, and leave a file behind."""

import argparse
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--name", default="world", help="who is greeted")
parser.add_argument("--seconds", type=int, default=5, help="how long to count")
options = parser.parse_args()

print(f"Hello {options.name}!", flush=True)
for second in range(1, options.seconds + 1):
    time.sleep(1)
    print(f"\r{second} of {options.seconds} s", end="", flush=True)

outputs = Path("outputs")
outputs.mkdir(exist_ok=True)
(outputs / "hello.txt").write_text(f"Hello {options.name}!\n")
print("\nThe greeting is in outputs/hello.txt", flush=True)
