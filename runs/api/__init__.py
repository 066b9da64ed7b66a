"""The REST API of Studio, version 1: routers by noun over the services, and one description of them all."""
