"""Studio, a self-hosted run studio."""

VERSION = "1.0.0"
