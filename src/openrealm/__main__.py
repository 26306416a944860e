"""Lets ``python -m openrealm`` stand for the command ``openrealm``."""

from __future__ import annotations

from openrealm.cli import main

if __name__ == "__main__":
    main()
