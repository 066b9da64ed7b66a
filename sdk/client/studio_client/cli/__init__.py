"""The command line, `studio`: the REST API for people and scripts, shaped like `az ml`."""
