"""Writes docs/cli.md: every command's ``--help``, and beside it the same in Python.

``--check`` writes nothing and ends with status 1 where the file is not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from typer.testing import CliRunner

from openrealm.cli import app
from openrealm.cli.app import COMMANDS, name_of

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

INTRODUCTION = """\
# The command line

<!-- Written by scripts/write_cli_reference.py from the commands' own help: do not edit. -->

Every command takes a *workspace*, the folder that holds the chunk store (`WS/corpus/`) and the \
runs (`WS/runs/RUN/`), and works on the newest run unless `--run` names another. In Python \
`openrealm.open(WS)` is the workspace, and each command a method of it, which returns an object \
whose fields `--json` prints; the few that need no workspace are functions of `openrealm`.

- **Results** go to standard output, with `--json` as exactly one JSON document; progress and log \
lines go to standard error, as bars on a terminal and as a plain line now and then elsewhere.
- **Several values** of an option follow it once the workspace has been named (`openrealm evaluate \
WS --qa *.jsonl`), or repeat it (`--qa a.jsonl --qa b.jsonl`). After `--` nothing is an option: \
`openrealm search WS -- "-40 degrees"`.
- **Settings** come from a preset, over it a TOML file (`--config`), over both `--set \
section.key=value`; `openrealm config` prints all of them with their explanations.
- **Ctrl-C** during training saves a checkpoint and says how to go on; a second one ends at once.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | something unexpected (`--debug` shows where), or `info` found damage |
| 2 | an error that you can mend; one sentence on standard error says how |
| 130 | Ctrl-C (training that SIGTERM has stopped, with everything saved, ends with 0) |
| 141 | whoever read the output has gone (`\\| head`) |
"""

EQUIVALENTS = {
    "ingest": """
report = openrealm.open("WS").ingest("documents")
print(report.added, report.chunks)
for problem in report.problems:
    print(problem)
""",
    "pretrain": """
run = openrealm.open("WS").pretrain(openrealm.preset("adapt", realm={"steps": 500}))
for stage, measured in run.stages.items():
    print(stage, measured)
""",
    "finetune": """
run = openrealm.open("WS").finetune("train.jsonl", dev="dev.jsonl")
print(run.stages["qa"])
""",
    "index": """
report = openrealm.open("WS").index(check=True)
print(report.generation, report.chunks, report.dim)
""",
    "worker": """
openrealm.refresh_worker("WS")
""",
    "evaluate": """
report = openrealm.open("WS").evaluate(qa="dev.jsonl", probe=True, baseline="bm25")
for row in report.rows:
    print(row.data, row.system, {name: value.mean for name, value in row.measures.items()})
""",
    "search": """
with openrealm.open("WS") as workspace:  # keeps model and index in memory
    for found in workspace.search(["capital of Peru", "longest river"], k=5):
        for hit in found.hits:
            print(hit.score, hit.chunk.title, hit.chunk.text)
""",
    "fill": """
found = openrealm.open("WS").fill("Paris is the capital of [MASK] .").fillings
for filling in found.fillings:
    print(filling.text, filling.p_y)
    for candidate, p_y_given_z in zip(found.candidates, filling.p_y_given_z):
        print("  ", candidate.p_z, p_y_given_z, candidate.chunk)
""",
    "ask": """
found = openrealm.open("WS").ask("What is the capital of Peru?")
for answer in found.answers.answers if found.answers else ():
    place = answer.evidence[0]
    print(answer.text, answer.probability, place.chunk.document_id, place.start, place.stop)
""",
    "serve": """
openrealm.serve("WS", port=8080)  # until Ctrl-C or SIGTERM
""",
    "report": """
written = openrealm.open("WS").report(compare=["run-001"])
print(written.page, written.pictures)
for sentence in written.summary:
    print(sentence)
""",
    "info": """
workspace = openrealm.open("WS")
print(len(workspace.documents()), [run.name for run in workspace.runs])
print(workspace.info().problems)  # reads everything
""",
    "config": """
print(openrealm.settings_text(openrealm.preset("adapt")))
""",
    "export": """
report = openrealm.open("WS").export("sentence-transformers")
print(report.directory, report.files)
""",
    "import": """
report = openrealm.import_weights("WS", sources=["weights", "weights/block_records.npy"])
for part in report.parts:
    print(part.kind, part.tensors, part.parameters, part.dropped)
print(report.run, report.stages, report.blocks, report.vectors, report.notes)
""",
    "demo": """
report = openrealm.demo("demo")
print(report.stages[-1], report.plot)
""",
}


def reference() -> str:
    """The whole document."""
    parts = [INTRODUCTION, _section([])]
    for function in COMMANDS:
        command = name_of(function)
        parts.append(_section([command]))
        parts.append(f"In Python:\n\n```python\n{python(command)}```\n")
    return "\n".join(parts)


def python(command: str) -> str:
    """What a command does, as a whole Python program."""
    return f"import openrealm\n{EQUIVALENTS[command]}"


def _section(words: Sequence[str]) -> str:
    # The runner fixes the width of the help, whatever terminal this runs in.
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="openrealm")
    if result.exit_code != 0:
        raise RuntimeError(f"--help of {words} ended with status {result.exit_code}")
    title = " ".join(["openrealm", *words])
    help_text = "\n".join(line.rstrip() for line in result.stdout.strip().splitlines())
    return f"## {title}\n\n```text\n{help_text}\n```\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the file; the exit status."""
    parser = argparse.ArgumentParser(description="Writes docs/cli.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; is it up to date?")
    check = parser.parse_args(arguments).check
    text = reference()
    if not check:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{TARGET} is not up to date; run: python {sys.argv[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
