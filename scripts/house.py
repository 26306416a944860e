"""Prints how large the house is: files, functions, settings, what a command imports, and how many
files one joint step leads through.

    python scripts/house.py [--json] [--source src]

Everything is found by walking the package and by running its commands on a tiny workspace, in
processes of their own, so that another version of it can be measured as well (``--source``). A
minute of one core.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import inspect
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "openrealm"
LONG_FILE, LONG_FUNCTION = 450, 50
# Each takes from a tenth of a second to several seconds to import.
HEAVY = frozenset(
    [
        "bm25s",
        "fastapi",
        "huggingface_hub",
        "jaxtyping",
        "matplotlib",
        "numpy",
        "pandas",
        "pyarrow",
        "pypdf",
        "ray",
        "rich",
        "safetensors",
        "scipy",
        "sentence_transformers",
        "sklearn",
        "tokenizers",
        "torch",
        "trafilatura",
        "transformers",
        "uvicorn",
    ]
)
CITIES = ("Aldera", "Bresk", "Cazimir", "Dunmore", "Elvast", "Farholm", "Gildan", "Hathor")
RIVERS = ("Tamsin", "Velle", "Orin", "Sable", "Mirn", "Kesh", "Lune", "Pell")

FEW_STEPS = (
    "device=cpu",
    "realm.steps=1",
    "realm.batch_size=4",
    "retrieval.k=4",
    "loop.num_probe=2",
)
SMALL_BERT = (
    "model.bert.layers=1",
    "model.bert.hidden=16",
    "model.bert.heads=2",
    "model.bert.intermediate=16",
)
# What is left of each preset is what decides on the code that a step runs through.
PRESETS = {
    "paper": (*FEW_STEPS, *SMALL_BERT, "ict.steps=1", "ict.batch_size=4"),
    "adapt": FEW_STEPS,
}


@dataclass(frozen=True)
class Function:
    """A function and how long it is.

    Attributes:
        file: Where it is.
        name: With its class.
        lines: From the first to the last line of its body, the docstring left out.
    """

    file: str
    name: str
    lines: int


@dataclass(frozen=True)
class Imported:
    """What has been imported when a command ends.

    Attributes:
        modules: How many modules of the package.
        packages: The same by its packages; a module at its top counts for itself.
        heavy: Packages of others that take long to import.
    """

    modules: int
    packages: Mapping[str, int]
    heavy: Sequence[str]


@dataclass(frozen=True)
class Touched:
    """The files whose functions run in one joint step, and their length."""

    files: Sequence[str]
    lines: int


@dataclass(frozen=True)
class House:
    """All figures.

    Attributes:
        files: Modules of the package.
        lines: Of all of them.
        long_files: Length of those that are too long.
        long_functions: The longest first.
        one_importer: Modules that exactly one other imports.
        settings: Values that a run is made from.
        in_no_preset: Those that no preset sets.
        imported: By command.
        joint_step: By preset.
    """

    files: int
    lines: int
    long_files: Mapping[str, int]
    long_functions: Sequence[Function]
    one_importer: Sequence[str]
    settings: int
    in_no_preset: Sequence[str]
    imported: Mapping[str, Imported]
    joint_step: Mapping[str, Touched]


# The text of the package ------------------------------------------------------------------------


def modules_of(source: Path) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for path in sorted((source / PACKAGE).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions_of(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, int]]:
    """Every function with the lines of its body."""
    for node in ast.iter_child_nodes(tree):
        name = inside
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{inside}.{node.name}".lstrip(".")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield name, (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        yield from functions_of(node, name)


def imports_of(tree: ast.AST, name: str, modules: Mapping[str, Path]) -> set[str]:
    """The modules of the package that a module imports, wherever in its text."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = name.split(".")
            if modules[name].name != "__init__.py":
                within = within[:-1]
            above = within[: len(within) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            named = {f"{base}.{alias.name}" for alias in node.names}
            # Whoever takes names out of a package's own module imports that.
            found |= {full if full in modules else base for full in named}
    return (found & modules.keys()) - {name}


def one_importer(trees: Mapping[str, ast.AST], modules: Mapping[str, Path]) -> list[str]:
    """The modules that exactly one other imports."""
    times = Counter(
        imported for name, tree in trees.items() for imported in imports_of(tree, name, modules)
    )
    return sorted(
        name for name, path in modules.items() if times[name] == 1 and path.stem != "__init__"
    )


def home_of(wanted: str, trees: Mapping[str, ast.AST]) -> str:
    """The module that defines a class or a constant."""
    for name, tree in trees.items():
        for node in ast.iter_child_nodes(tree):
            targets: list[ast.expr] = [node.target] if isinstance(node, ast.AnnAssign) else []
            targets += node.targets if isinstance(node, ast.Assign) else []
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            names |= {node.name} if isinstance(node, ast.ClassDef) else set()
            if wanted in names:
                return name
    raise SystemExit(f"no module of the package defines {wanted}")


# The package at work ----------------------------------------------------------------------------


def settings_of(settings_home: str, presets_home: str) -> dict[str, list[str]]:
    """Names of all settings of a run, and of those that some preset sets."""

    def leaves(value: Any, prefix: str) -> Iterator[str]:
        if is_dataclass(value):
            for field in fields(value):
                if not field.metadata.get("is_fixed"):
                    yield from leaves(getattr(value, field.name), f"{prefix}.{field.name}")
        elif isinstance(value, dict):
            for key, part in value.items():
                yield from leaves(part, f"{prefix}.{key}")
        else:
            yield prefix[1:]

    settings = import_module(settings_home).Settings()
    presets = import_module(presets_home).PRESETS.values()
    chosen = {name for preset in presets for name in leaves(preset, "")}
    return {"all": list(leaves(settings, "")), "in_presets": sorted(chosen)}


class StepWatch:
    """A profiler that notes the files whose functions run while the first joint step does."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._step: FrameType | None = None

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Called by the interpreter at every call and return."""
        code = frame.f_code
        if event == "call":
            if self._step is None and code.co_name == "step":
                stage = getattr(frame.f_locals.get("self"), "name", None)
                self._step = frame if stage == "realm" else None
            # Modules and classes that a step imports are no functions that it calls.
            if self._step is not None and code.co_flags & inspect.CO_OPTIMIZED:
                self.files.add(code.co_filename)
        elif event == "return" and frame is self._step:
            sys.setprofile(None)


def run_watched(report: Path, arguments: Sequence[str]) -> None:
    """Runs a command in this process, and leaves behind what it imported and stepped through."""
    watch = StepWatch()

    def write() -> None:
        sys.setprofile(None)
        report.write_text(json.dumps({"modules": [*sys.modules], "files": [*watch.files]}))

    atexit.register(write)
    if not arguments:
        import_module(PACKAGE)
        return
    sys.argv = [PACKAGE, *arguments]
    if arguments[0] == "pretrain":
        sys.setprofile(watch)
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)


@dataclass(frozen=True)
class Commands:
    """Runs the commands of the package in a folder, each in a process of its own."""

    source: Path
    folder: Path

    def __call__(self, *arguments: str) -> dict[str, list[str]]:
        """What one has imported, and stepped through."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        self.inside("run", str(report), *arguments)
        found: dict[str, list[str]] = json.loads(report.read_text(encoding="utf-8"))
        return found

    def inside(self, *arguments: str) -> str:
        """Calls this script in a process that finds the package; what it printed.

        Raises:
            SystemExit: It failed; with what it said.
        """
        environment = {**os.environ, "PYTHONPATH": str(self.source), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(Path(__file__).resolve()), "--inside", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-2000:]}")
        return done.stdout


def imported(modules: Sequence[str]) -> Imported:
    """What counts of all that Python has imported."""
    ours = [name.split(".") for name in modules if name.split(".")[0] == PACKAGE]
    packages = Counter(name[1] for name in ours if len(name) > 1)
    heavy = HEAVY & {name.split(".")[0] for name in modules}
    return Imported(len(ours), dict(packages.most_common()), sorted(heavy))


def touched(files: Sequence[str], source: Path) -> Touched:
    """What counts of all files whose functions ran.

    Raises:
        SystemExit: There was no joint step.
    """
    ours = sorted(path for file in files if (path := Path(file)).is_relative_to(source / PACKAGE))
    if not ours:
        raise SystemExit("no `step` of a stage called realm was seen")
    names = [str(path.relative_to(source / PACKAGE)) for path in ours]
    return Touched(names, sum(map(_num_lines, ours)))


def documents() -> str:
    """A few documents as JSON lines, in which a fact is told twice."""
    found = []
    for city, river in zip(CITIES, RIVERS, strict=True):
        texts = {
            city: f"{city} lies on the river {river}. Many people visit {city} in summer.",
            river: f"The river {river} is long and slow. Ships sail on it as far as {city}.",
        }
        found += [{"id": name, "title": name, "text": text} for name, text in texts.items()]
    return "".join(json.dumps(record) + "\n" for record in found)


def at_work(run: Commands) -> tuple[dict[str, Imported], dict[str, Touched]]:
    """What the commands import, and what a joint step of each preset runs through."""
    (run.folder / "documents.jsonl").write_text(documents(), encoding="utf-8")
    found = {f"import {PACKAGE}": imported(run()["modules"])}
    steps = {}
    for preset, changes in PRESETS.items():
        given = ["--preset", preset, *(part for change in changes for part in ("--set", change))]
        found["ingest"] = imported(run("ingest", "documents.jsonl", "--to", preset)["modules"])
        steps[preset] = touched(run("pretrain", preset, *given)["files"], run.source)
    for command, *asked in (["info"], ["search", CITIES[0]], ["ask", f"Where is {CITIES[0]}?"]):
        found[command] = imported(run(command, "adapt", *asked)["modules"])
    found["serve --help"] = imported(run("serve", "--help")["modules"])
    return found, steps


def measured(source: Path) -> House:
    """All figures of the package in a folder."""
    modules = modules_of(source)
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules.items()}
    lengths = {str(path.relative_to(source)): _num_lines(path) for path in modules.values()}
    functions = [
        Function(str(modules[module].relative_to(source)), name, lines)
        for module, tree in trees.items()
        for name, lines in functions_of(tree)
        if lines > LONG_FUNCTION
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = Commands(source, Path(folder))
        homes = (home_of(name, trees) for name in ("Settings", "PRESETS"))
        settings = json.loads(run.inside("settings", *homes))
        commands, steps = at_work(run)
    return House(
        files=len(modules),
        lines=sum(lengths.values()),
        long_files={file: lines for file, lines in lengths.items() if lines > LONG_FILE},
        long_functions=sorted(functions, key=lambda function: -function.lines),
        one_importer=one_importer(trees, modules),
        settings=len(settings["all"]),
        in_no_preset=[name for name in settings["all"] if name not in settings["in_presets"]],
        imported=commands,
        joint_step=steps,
    )


def text(house: House) -> str:
    """The figures for a reader."""
    lines = [f"files: {house.files}, {house.lines:,} lines"]
    lines += [f"files over {LONG_FILE} lines: {len(house.long_files)}"]
    lines += [f"    {count:4}  {file}" for file, count in house.long_files.items()]
    lines += [f"functions over {LONG_FUNCTION} lines: {len(house.long_functions)}"]
    lines += [f"    {f.lines:4}  {f.file}: {f.name}" for f in house.long_functions]
    lines += [f"modules with one importer: {len(house.one_importer)}"]
    lines += [f"settings: {house.settings}, {len(house.in_no_preset)} of them in no preset"]
    lines += ["modules imported:"]
    for command, found in house.imported.items():
        large = ", ".join(
            f"{name} {number}" for name, number in found.packages.items() if number > 1
        )
        lines += [f"    {command:16} {found.modules:4}  {large}".rstrip()]
        lines += [f"{'':27}{', '.join(found.heavy) or 'nothing heavy'}"]
    lines += ["files that a joint step runs through:"]
    for preset, step in house.joint_step.items():
        lines += [f"    {preset:16} {len(step.files):4}, {step.lines:,} lines"]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the package's folder")
    parser.add_argument("--json", action="store_true", help="one JSON document, with all names")
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    match given.inside:
        case None:
            house = measured(given.source.resolve())
            print(json.dumps(asdict(house), indent=1) if given.json else text(house), end="")
        case ["settings", *homes]:
            print(json.dumps(settings_of(*homes)))
        case ["run", report, *command]:
            run_watched(Path(report), command)


if __name__ == "__main__":
    main()
