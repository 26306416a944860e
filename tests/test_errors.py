"""Tests of the exception tree, and of commands that messages suggest."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from openrealm import errors
from openrealm.cli.app import app

COMMANDS = "|".join(command.name or "" for command in app.registered_commands)


def _exceptions() -> dict[str, type]:
    return dict(inspect.getmembers(errors, inspect.isclass))


def test_every_exception_can_be_caught_as_the_root() -> None:
    assert len(_exceptions()) > 1
    for cls in _exceptions().values():
        assert issubclass(cls, errors.OpenRealmError)


def test_the_root_is_no_builtin_error_that_a_bug_could_raise() -> None:
    assert errors.OpenRealmError.__bases__ == (Exception,)


def test_the_drawn_tree_names_every_exception_and_no_other() -> None:
    drawn = set(re.findall(r"^ +(?:[├└]── )?(\w+)(?: {2,}|$)", errors.__doc__ or "", re.MULTILINE))
    assert drawn == set(_exceptions())


def test_a_suggested_command_is_read_by_a_shell_as_it_was_meant() -> None:
    words = ["openrealm", "ask", "my notes/it's", "Who repaired it?", "--set", "a=b c"]
    assert shlex.split(errors.shell_command(*words)) == words
    assert errors.shell_command("openrealm", "info", Path("notes")) == "openrealm info notes"


def _commands_without_quotes(tree: ast.AST) -> Iterator[str]:
    """Strings that put a value into a command as it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "{}" for p in node.values]
            text = "".join(map(str, parts))
            if re.search(rf"(openrealm ({COMMANDS}) [^,;(]*|--(set|to|run) [\w.=]*){{}}", text):
                yield text


def test_no_message_puts_a_path_into_a_command_without_quotes() -> None:
    [wrong] = _commands_without_quotes(ast.parse("f'make one: openrealm ingest A --to {place}'"))
    assert wrong.endswith("--to {}")
    found = [
        f"{path.name}: {text}"
        for path in sorted(Path(errors.__file__).parent.rglob("*.py"))
        for text in _commands_without_quotes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
