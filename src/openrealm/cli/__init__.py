"""The command ``openrealm``: parse, call one recipe, print; knows nothing of how the work is done.

Importing this package imports typer and the standard library; recipes are imported by the command
that calls them.
"""

from openrealm.cli.app import app, main

__all__ = ["app", "main"]
