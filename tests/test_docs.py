"""Tests of the documents: their links, commands, settings and Python are those of the package."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path

import pytest
import typer

from openrealm.errors import ConfigError
from openrealm.settings import ServeConfig, Settings, checked, preset_settings, resolve
from openrealm.settings.config import merge, override, parse_toml
from openrealm.settings.removed import REMOVED, RENAMED

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
PACKAGE = ROOT / "src" / "openrealm"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_SHELL = ("sh", "bash", "console")
_PYTHON = ("python", "py")
_SUFFIXES = (".py", ".jsonl", ".safetensors")
_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, language and text."""

    page: Path
    language: str
    text: str


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _blocks(*languages: str) -> list[Block]:
    return [
        Block(page, language, text)
        for page in PAGES
        for language, text in _FENCE.findall(page.read_text(encoding="utf-8"))
        if language in languages
    ]


def _prose(page: Path) -> str:
    """A page without its fenced blocks and its comments."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def _commands(text: str) -> Iterator[list[str]]:
    """The simple commands of shell text, without comments, pipes and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        skip = False
        for word in lexer:
            if set(word) <= set("|&;"):
                yield words
                words = []
            elif set(word) <= set("<>"):
                skip = True
            elif skip:
                skip = False
            else:
                words.append(word)
        yield words


def _openrealm_lines() -> list[tuple[str, list[str]]]:
    found = []
    for block in _blocks(*_SHELL):
        for words in _commands(block.text):
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words = words[1:]  # VARIABLE=value before a command
            if words and Path(words[0]).name == "openrealm":
                found.append((_name(block.page), words[1:]))
    return found


def _click_command(name: str) -> typer.core.TyperCommand:
    from openrealm.cli import app

    group = typer.main.get_command(app)
    assert name in group.commands, f"there is no command '{name}'"  # type: ignore[attr-defined]
    command: typer.core.TyperCommand = group.commands[name]  # type: ignore[attr-defined]
    return command


def _cases(pairs: list[tuple[str, list[str]]]) -> list[object]:
    return [pytest.param(words, id=f"{page}: {shlex.join(words)}") for page, words in pairs]


# Links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_point_at_files_and_headings_that_exist(page: Path) -> None:
    for text, target in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"[{text}]({target}) points nowhere"
        assert there.is_relative_to(ROOT), f"[{text}]({target}) leaves the repository"
        if anchor:
            assert anchor in _anchors(there), f"[{text}]({target}): there is no such heading"


def _anchors(page: Path) -> set[str]:
    headings = _HEADING.findall(_prose(page))
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_name_that_links_to_a_module_is_defined_in_it(page: Path) -> None:
    for text, target in _LINK.findall(_prose(page)):
        if not target.endswith(".py") or not re.fullmatch(r"`[\w.]+`", text):
            continue
        name = text.strip("`")
        if name.endswith(".py"):
            continue
        tree = ast.parse((page.parent / target).read_text(encoding="utf-8"))
        assert name in _defined(tree), f"{target} defines no {name}"


def _defined(tree: ast.AST, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names |= {prefix + node.name} | _defined(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            names |= {prefix + t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(prefix + node.target.id)
    return names


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=_name)
def test_every_page_is_linked_from_the_readme(page: Path) -> None:
    targets = {target for _, target in _LINK.findall((ROOT / "README.md").read_text("utf-8"))}
    assert _name(page) in targets


# Commands and settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("words", _cases(_openrealm_lines()))
def test_a_command_line_shown_is_one_that_the_program_takes(words: list[str]) -> None:
    if words[0].startswith("-"):
        assert words[0] in ("--help", "-h", "--version")
        return
    command = _click_command(words[0])
    if "--help" not in words:
        with command.make_context(words[0], words[1:]):
            pass  # parsed, not executed


def test_trainings_shown_fit_the_corpus_that_was_ingested_for_them() -> None:
    """`pretrain` refuses a corpus whose chunks are longer than its preset's model can read."""
    cut = {"notes": preset_settings("adapt").corpus.chunking}
    trainings = []
    for page, words in _openrealm_lines():
        if page == "docs/log.md" or words[0] not in ("ingest", "pretrain") or "--config" in words:
            continue
        context = _click_command(words[0]).make_context(words[0], words[1:])
        given = context.params
        if words[0] == "ingest":
            if given["to"] is not None and not given["remove"]:
                settings = resolve(preset=given["preset"], assignments=given["assignments"])
                cut.setdefault(str(given["to"]), settings.corpus.chunking)
        elif not given["resume"]:
            trainings.append((shlex.join(words), given))
    assert len(trainings) > 20
    for line, given in trainings:
        workspace = Path(given["workspace"]).name
        settings = resolve(preset=given["preset"], assignments=given["assignments"])
        corpus = replace(settings.corpus, chunking=cut.get(workspace, cut["notes"]))
        try:
            checked(replace(settings, corpus=corpus))
        except ConfigError as error:
            pytest.fail(f"{line}: {error}")


def test_commands_named_in_a_sentence_exist_with_their_options() -> None:
    for page in PAGES:
        for span in _CODE_SPAN.findall(_prose(page)):
            words = span.split()
            if words[0] != "openrealm" or len(words) == 1:
                continue
            if not re.fullmatch(r"[a-z]+", words[1]):
                continue
            command = _click_command(words[1])
            known = {name for param in command.params for name in param.opts}
            given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert given <= known, f"{_name(page)}: `{span}`"


def test_settings_shown_exist_and_take_the_value_shown() -> None:
    shown, limits = [], []
    for _, words in _openrealm_lines():
        for number, word in enumerate(words):
            for value in _assigned(words[number:]) if word == "--set" else ():
                (limits if words[1] == "serve" else shown).append(value)
    for page in PAGES:
        shown += re.findall(r"`--set ([\w.]+=[^`\s]+)`", _prose(page))
    shown = [assignment for assignment in shown if assignment != "section.key=value"]
    assert shown
    for assignment in shown:
        override(preset_settings("adapt"), [assignment])
    for assignment in limits:
        override(ServeConfig(), [assignment])


def test_the_servers_limits_are_all_listed_with_their_defaults() -> None:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (\S+) \| \w", page, flags=re.MULTILINE))
    defaults = {
        name: f"{value:g}" if value < 1e5 else str(value)
        for name, value in vars(ServeConfig()).items()
    }
    assert {name: listed.get(name) for name in defaults} == defaults


def _assigned(words: list[str]) -> Iterator[str]:
    """What follows ``--set``, up to the next option."""
    for word in words[1:]:
        if word.startswith("-") or "=" not in word:
            return
        yield word


def test_dotted_settings_named_in_a_sentence_exist_or_did_when_the_record_was_made() -> None:
    defaults = Settings()
    sections = {name for name, value in vars(defaults).items() if is_dataclass(value)}
    for page in PAGES:
        for span in _CODE_SPAN.findall(_prose(page)):
            path = re.match(_WORDS, span)
            parts = path[0].split(".") if path else []
            if len(parts) < 2 or parts[0] not in sections or f".{parts[-1]}" in _SUFFIXES:
                continue
            if ".".join(parts) in {*REMOVED, *RENAMED} and _is_record(page):
                continue
            value: object = defaults
            for part in parts:
                assert hasattr(value, part), f"{_name(page)}: `{span}`"
                value = getattr(value, part)


def _is_record(page: Path) -> bool:
    """Whether a page tells what was so at a time."""
    return page.name in ("log.md", "CHANGELOG.md") or page.parent.name == "decisions"


@pytest.mark.parametrize("block", _blocks("toml"), ids=lambda block: _name(block.page))
def test_a_toml_file_shown_is_a_valid_configuration(block: Block) -> None:
    merge(preset_settings("adapt"), parse_toml(block.text, name="the block"))


def test_make_targets_shown_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    lines = [words for block in _blocks(*_SHELL) for words in _commands(block.text)]
    lines += [span.split() for page in PAGES for span in _CODE_SPAN.findall(_prose(page))]
    for words in lines:
        if words and words[0] == "make":
            named = {word for word in words[1:] if re.fullmatch(r"[a-z]+", word)}
            assert named <= targets, shlex.join(words)


# Python -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", _blocks(*_PYTHON), ids=lambda block: _name(block.page))
def test_python_shown_compiles_and_its_imports_and_calls_are_the_packages(block: Block) -> None:
    tree = ast.parse(block.text)
    known = dict(_imported(tree))
    assert known, "a snippet imports what it uses"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = known.get(node.value.id)
            if inspect.ismodule(module):
                assert hasattr(module, node.attr), f"{module.__name__} has no {node.attr}"
        if isinstance(node, ast.Call):
            _check_call(node, known)


@pytest.mark.parametrize("block", _blocks(*_PYTHON), ids=lambda block: _name(block.page))
def test_python_shown_imports_public_names_alone(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("openrealm"):
            continue
        module = importlib.import_module(str(node.module))
        for alias in node.names:
            is_package = (PACKAGE / alias.name / "__init__.py").is_file()
            is_public = alias.name in getattr(module, "__all__", ())
            assert is_public or (node.module == "openrealm" and is_package), alias.name


def _imported(tree: ast.AST) -> Iterator[tuple[str, object]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                yield alias.asname or alias.name.partition(".")[0], module
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):  # a module inside a package
                    importlib.import_module(f"{node.module}.{alias.name}")
                yield alias.asname or alias.name, getattr(module, alias.name)


def _check_call(node: ast.Call, known: dict[str, object]) -> None:
    """Compares the arguments with the signature, where the function is the package's own."""
    function: object = None
    if isinstance(node.func, ast.Name):
        function = known.get(node.func.id)
    elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        function = getattr(known.get(node.func.value.id), node.func.attr, None)
    own = getattr(function, "__module__", "") or ""
    unpacked = any(isinstance(a, ast.Starred) for a in node.args)
    if not callable(function) or not own.startswith("openrealm") or unpacked:
        return
    keywords = {word.arg: None for word in node.keywords if word.arg is not None}
    inspect.signature(function).bind(*node.args, **keywords)


# The file tree ------------------------------------------------------------------------------------


def _tree() -> dict[str, str]:
    """Paths below the repository in the README's tree, each with its clause."""
    here = [b for b in _blocks("text") if b.page.name == "README.md"]
    blocks = [b for b in here if b.text.startswith("src/openrealm/")]
    assert len(blocks) == 1
    folders: list[str] = []
    found = {}
    for line in blocks[0].text.splitlines():
        name, clause = line.strip().split(None, 1) if " " in line.strip() else (line.strip(), "")
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name]
        found["".join(folders[: depth + 1])] = clause.strip()
    return found


def test_the_readmes_tree_lists_exactly_the_top_level_modules() -> None:
    prefix = "src/openrealm/"
    listed = {path.removeprefix(prefix) for path in _tree() if path.startswith(prefix)} - {""}
    top = {name for name in listed if "/" not in name.rstrip("/")}
    assert top == _modules(PACKAGE)


def _modules(folder: Path) -> set[str]:
    modules = {path.name for path in folder.glob("*.py")}
    packages = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    return modules | packages


def test_everything_in_the_readmes_tree_exists_and_has_a_clause() -> None:
    for path, clause in _tree().items():
        assert (ROOT / path).exists(), path
        assert clause or path == "src/openrealm/", path
