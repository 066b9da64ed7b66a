"""A script that makes a batch of children and logs to each."""

from azureml.core import Run

run = Run.get_context()

children = run.create_children(count=5)
for number, child in enumerate(children):
    child.log(name="Hello from child run ", value=number)
    child.complete()
