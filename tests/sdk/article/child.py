"""A script that a parent submits; it tells whose child it is."""

import argparse

from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--fruit")
fruit = parser.parse_args().fruit

child_run = Run.get_context()
print(f"{fruit} of parent {child_run.parent.id}")
child_run.log("fruit", fruit)
if fruit == "Rotten":
    raise SystemExit(1)
