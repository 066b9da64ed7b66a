"""A script that says hello."""

print("Hello!")
