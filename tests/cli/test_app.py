"""Tests of the commands: what they pass to their recipe, what they print, how they end; and of
options that take several words.
"""

from __future__ import annotations

import errno
import inspect
import itertools
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import results
from typer.testing import CliRunner, Result

import openrealm
from openrealm.cli import app, main, training_commands
from openrealm.cli.app import spread
from openrealm.errors import InputError, Stopped
from openrealm.progress import Progress
from openrealm.settings.presets import PRESETS

RETURNED = {
    "ingest": results.INGESTED,
    "pretrain": results.TRAINED,
    "finetune": results.TRAINED,
    "index": results.INDEXED,
    "evaluate": results.EVALUATED,
    "search": results.SEARCHED,
    "fill": results.FILLED,
    "ask": results.ASKED,
    "report": results.REPORTED,
    "info": results.WHOLE,
    "export": results.EXPORTED,
    "import_weights": results.IMPORTED,
    "demo": results.DEMONSTRATED,
}


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> dict[str, mock.Mock]:
    """Recipes that return at once, and that take exactly the arguments of the real ones."""
    return {name: results.stub(monkeypatch, name, result) for name, result in RETURNED.items()}


def given_to(stub: mock.Mock) -> tuple[dict[str, Any], Progress]:
    """What a recipe or method was given, the workspace's folder by that name, and the progress."""
    call = stub.call_args
    given = dict(inspect.signature(stub).bind(*call.args, **call.kwargs).arguments)
    if "self" not in given:
        return given, given.pop("progress")
    opened = given.pop("self")
    return {"workspace": opened.directory, **given}, opened._progress


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="openrealm")


# What a command line means ------------------------------------------------------------------------

CASES = [
    (
        "ingest a.txt 'my docs' --to ws --remove x --remove y --preset tiny --config c.toml "
        "--set corpus.vocab_size=500 --strict --rechunk",
        "ingest",
        {
            "workspace": Path("ws"),
            "sources": [Path("a.txt"), Path("my docs")],
            "remove": ["x", "y"],
            "settings": ("tiny", Path("c.toml"), ["corpus.vocab_size=500"]),
            "strict": True,
            "rechunk": True,
        },
    ),
    (
        "pretrain ws --start scratch --preset adapt --config c.toml --set realm.steps=5 "
        "--set seed=1 --texts a.txt b.txt --queries q.jsonl --run mine",
        "pretrain",
        {
            "workspace": Path("ws"),
            "settings": (
                Path("ws"),
                "scratch",
                "adapt",
                Path("c.toml"),
                ["realm.steps=5", "seed=1"],
            ),
            "texts": [Path("a.txt"), Path("b.txt")],
            "queries": Path("q.jsonl"),
            "resume": False,
            "run": "mine",
        },
    ),
    (
        "finetune ws --qa a.jsonl b.jsonl --dev d.jsonl --dev e.jsonl --config c.toml "
        "--set qa.steps=9 --dev-split --run mine",
        "finetune",
        {
            "workspace": Path("ws"),
            "qa": [Path("a.jsonl"), Path("b.jsonl")],
            "dev": [Path("d.jsonl"), Path("e.jsonl")],
            "settings": (Path("ws"), "mine", Path("c.toml"), ["qa.steps=9"]),
            "dev_split": True,
            "resume": False,
            "run": "mine",
        },
    ),
    (
        "pretrain ws --start scratch --preset adapt --config c.toml --set realm.steps=5 "
        "--set seed=1 --texts a.txt b.txt --queries q.jsonl --resume --run mine",
        "pretrain",
        {
            "workspace": Path("ws"),
            "settings": (
                Path("ws"),
                "mine",
                ["realm.steps=5", "seed=1"],
                "scratch",
                "adapt",
                Path("c.toml"),
            ),
            "texts": [Path("a.txt"), Path("b.txt")],
            "queries": Path("q.jsonl"),
            "resume": True,
            "run": "mine",
        },
    ),
    (
        "finetune ws --qa a.jsonl b.jsonl --dev d.jsonl --dev e.jsonl --config c.toml "
        "--set qa.steps=9 --dev-split --resume --run mine",
        "finetune",
        {
            "workspace": Path("ws"),
            "qa": [Path("a.jsonl"), Path("b.jsonl")],
            "dev": [Path("d.jsonl"), Path("e.jsonl")],
            "settings": (Path("ws"), "mine", ["qa.steps=9"], Path("c.toml")),
            "dev_split": True,
            "resume": True,
            "run": "mine",
        },
    ),
    (
        "index ws --check --fleet 10.0.0.1:6379 --storage s3://bucket/x --run mine",
        "index",
        {
            "workspace": Path("ws"),
            "check": True,
            "fleet": "10.0.0.1:6379",
            "storage": "s3://bucket/x",
            "run": "mine",
        },
    ),
    (
        "evaluate ws --qa a b --beir d e --queries f --probe --baseline bm25 "
        "--stage ict --raw-match --regex-anywhere --read 9 --limit 10 --run mine",
        "evaluate",
        {
            "workspace": Path("ws"),
            "qa": [Path("a"), Path("b")],
            "beir": [Path("d"), Path("e")],
            "queries": [Path("f")],
            "probe": True,
            "baseline": "bm25",
            "stage": "ict",
            "raw_match": True,
            "regex_anywhere": True,
            "read": 9,
            "limit": 10,
            "run": "mine",
        },
    ),
    (
        "search 'wörk späce' 'größte Stadt' -k 3 --stage ict --run mine",
        "search",
        {
            "workspace": Path("wörk späce"),
            "text": "größte Stadt",
            "k": 3,
            "stage": "ict",
            "run": "mine",
        },
    ),
    (
        "fill ws 'Lima is in [MASK] .' -k 3 --top 2 --stage ict --run mine",
        "fill",
        {
            "workspace": Path("ws"),
            "text": "Lima is in [MASK] .",
            "k": 3,
            "top": 2,
            "stage": "ict",
            "run": "mine",
        },
    ),
    (
        "ask ws 'Where is Lima?' -k 3 --top 2 --run mine",
        "ask",
        {"workspace": Path("ws"), "question": "Where is Lima?", "k": 3, "top": 2, "run": "mine"},
    ),
    (
        "report ws --compare a b --compare c --to out --limit 9 --run mine",
        "report",
        {
            "workspace": Path("ws"),
            "compare": ["a", "b", "c"],
            "to": Path("out"),
            "limit": 9,
            "run": "mine",
        },
    ),
    ("info ws --run mine", "info", {"workspace": Path("ws"), "run": "mine"}),
    (
        "export ws --to parquet --output out --stage ict --push me/rivers --public --run mine",
        "export",
        {
            "workspace": Path("ws"),
            "to": "parquet",
            "output": Path("out"),
            "stage": "ict",
            "push": "me/rivers",
            "public": True,
            "run": "mine",
        },
    ),
    (
        "import a google/b --to ws --stage qa --run mine --set seed=1",
        "import_weights",
        {
            "workspace": Path("ws"),
            "sources": ["a", "google/b"],
            "stage": "qa",
            "run": "mine",
            "changes": {"seed": 1},
        },
    ),
    (
        "demo --to d --seed 3 --set realm.steps=5",
        "demo",
        {
            "directory": Path("d"),
            "settings": openrealm.preset("adapt", seed=3, realm={"steps": 5}),
            "from_scratch": False,
        },
    ),
    (
        "demo --to d --from-scratch",
        "demo",
        {"directory": Path("d"), "settings": openrealm.preset("tiny"), "from_scratch": True},
    ),
]


def _workspace(given: dict[str, Any]) -> set[str]:
    return {"workspace"} & set(given)


@pytest.mark.parametrize(("line", "recipe", "wanted"), CASES, ids=[case[1] for case in CASES])
def test_a_command_passes_all_its_options_to_one_recipe(
    stubs: dict[str, mock.Mock],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    recipe: str,
    wanted: dict[str, Any],
) -> None:
    for read in ("settings_given", "settings_of_new_run", "settings_over_run"):
        monkeypatch.setattr(training_commands, read, lambda *given: given)
    lower = lambda *given, others: (*given, *others)  # noqa: E731
    monkeypatch.setattr(training_commands, "settings_to_resume", lower)
    result = run(*shlex.split(line))
    assert result.exit_code == 0, result.stderr
    given, progress = given_to(stubs[recipe])
    assert callable(progress.task)
    assert given == wanted
    parameters = set(inspect.signature(stubs[recipe]).parameters)
    assert set(given) | {"progress"} == parameters - {"self"} | {"progress", *_workspace(given)}
    assert sum(stub.call_count for stub in stubs.values()) == 1


@pytest.mark.parametrize(
    ("line", "recipe"),
    [
        ("ingest a.txt --to ws", "ingest"),
        ("pretrain ws", "pretrain"),
        ("finetune ws --qa a", "finetune"),
        ("index ws", "index"),
        ("evaluate ws --probe", "evaluate"),
        ("search ws x", "search"),
        ("fill ws x", "fill"),
        ("ask ws x", "ask"),
        ("report ws", "report"),
        ("info ws", "info"),
        ("export ws --to faiss", "export"),
        ("import a --to ws", "import_weights"),
        ("demo", "demo"),
    ],
)
def test_what_is_not_given_is_what_the_recipe_takes_by_default(
    stubs: dict[str, mock.Mock], line: str, recipe: str
) -> None:
    signature = inspect.signature(stubs[recipe])
    assert run(*line.split()).exit_code == 0
    given, _ = given_to(stubs[recipe])
    for name, parameter in signature.parameters.items():
        if parameter.default is not parameter.empty and name not in ("progress", *line.split()):
            is_given = (recipe, name) in {
                ("ingest", "sources"),
                ("import_weights", "sources"),
                ("finetune", "qa"),
                ("evaluate", "probe"),
                ("demo", "settings"),
                ("import_weights", "changes"),
            }
            assert is_given or given[name] == parameter.default, name


def test_after_two_dashes_a_text_may_begin_with_a_dash(stubs: dict[str, mock.Mock]) -> None:
    assert run("search", "ws", "--", "-40 degrees --json").exit_code == 0
    assert given_to(stubs["search"])[0]["text"] == "-40 degrees --json"


def test_the_workspace_may_come_after_an_option(stubs: dict[str, mock.Mock]) -> None:
    assert run("evaluate", "--qa", "a", "--qa", "b", "ws").exit_code == 0
    assert stubs["evaluate"].call_args.args == (Path("ws"),)
    assert stubs["evaluate"].call_args.kwargs["qa"] == [Path("a"), Path("b")]


@pytest.mark.parametrize(
    "line",
    [
        "search ws",
        "search ws x y",
        "search ws x -k 0",
        "search ws x -k many",
        "ingest a.txt",
        "finetune ws",
        "export ws",
        "ask ws x --nonsense",
        "evaluate ws --limit 0",
        "serach ws x",
    ],
)
def test_a_wrong_command_line_ends_with_status_2_and_no_traceback(
    stubs: dict[str, mock.Mock], line: str
) -> None:
    result = run(*line.split())
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output
    assert not any(stub.called for stub in stubs.values())


def test_a_mistyped_command_is_answered_with_the_right_one() -> None:
    assert "'search'" in run("serach", "ws", "x").stderr


# Results ------------------------------------------------------------------------------------------


def _say(*given: Any, progress: Progress | None = None, **more: Any) -> Any:
    (progress or given[0]._progress).say("under way")
    return mock.DEFAULT


@pytest.mark.parametrize(
    "line",
    [
        "search ws x",
        "fill ws x",
        "ask ws x",
        "report ws",
        "info ws",
        "evaluate ws --probe",
        "index ws --check",
        "ingest a --to ws",
        "pretrain ws",
        "finetune ws --qa a",
        "export ws --to openrealm",
        "demo",
        "import a --to ws",
        "config --preset tiny",
    ],
)
def test_json_is_one_document_and_all_of_standard_output(
    stubs: dict[str, mock.Mock], line: str
) -> None:
    for stub in stubs.values():
        stub.side_effect = _say
    result = run(*line.split(), "--json")
    assert result.exit_code == 0
    assert isinstance(json.loads(result.stdout), dict)
    assert "under way" not in result.stdout
    assert ("under way" in result.stderr) == (not line.startswith("config"))


def test_json_holds_all_fields_of_the_result(stubs: dict[str, mock.Mock]) -> None:
    found = json.loads(run("ask", "ws", "x", "--json").stdout)
    assert found["has_reader"] is True
    assert found["answers"]["answers"][0]["text"] == "Perú"
    place = found["answers"]["answers"][0]["evidence"][0]
    assert (place["start"], place["stop"], place["chunk"]["document_id"]) == (123, 127, "lima")
    assert found["answers"]["no_answer"] == 0.125


def test_ask_before_fine_tuning_says_so_and_shows_search_results(
    stubs: dict[str, mock.Mock],
) -> None:
    stubs["ask"].return_value = results.ASKED_WITHOUT_READER
    result = run("ask", "my ws", "What is Lima the capital of?")
    assert result.exit_code == 0
    assert "has no QA reader" in result.stdout
    assert "openrealm finetune 'my ws' --qa FILE" in result.stdout
    assert "Lima is the capital of Perú." in result.stdout


def test_info_on_a_damaged_workspace_ends_with_status_1(stubs: dict[str, mock.Mock]) -> None:
    stubs["info"].return_value = results.DAMAGED
    result = run("info", "ws")
    assert result.exit_code == 1
    assert "text.arrow is damaged" in result.stdout
    assert json.loads(run("info", "ws", "--json").stdout)["problems"]


def test_config_prints_toml_with_a_comment_for_every_setting() -> None:
    result = run("config", "--preset", "tiny")
    assert tomllib.loads(result.stdout)["model"]["query_tokens"] == 40
    lines = result.stdout.splitlines()
    for before, line in itertools.pairwise(lines):
        assert "=" not in line or line.startswith("#") or before.startswith("#")
    assert json.loads(run("config", "--preset", "tiny", "--json").stdout) == tomllib.loads(
        result.stdout
    )


# Errors -------------------------------------------------------------------------------------------


def test_a_users_error_is_one_sentence_and_status_2(stubs: dict[str, mock.Mock]) -> None:
    stubs["search"].side_effect = InputError("there is no\nfile 'x'; name another")
    result = run("search", "ws", "x")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "openrealm: there is no file 'x'; name another\n"


def test_debug_shows_the_traceback_of_a_users_error(stubs: dict[str, mock.Mock]) -> None:
    stubs["search"].side_effect = InputError("there is no file 'x'")
    result = run("search", "ws", "x", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("openrealm: there is no file 'x'\n")


def test_an_unexpected_error_is_one_sentence_that_names_debug_and_status_1(
    stubs: dict[str, mock.Mock],
) -> None:
    stubs["search"].side_effect = ZeroDivisionError("division by zero")
    result = run("search", "ws", "x")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert "--debug" in result.stderr
    shown = run("search", "ws", "x", "--debug")
    assert "Traceback" in shown.stderr
    assert shown.exit_code == 1


def test_ctrl_c_is_one_line_and_status_130(stubs: dict[str, mock.Mock]) -> None:
    stubs["ingest"].side_effect = KeyboardInterrupt
    result = run("ingest", "a", "--to", "ws")
    assert result.exit_code == 130
    assert result.output == "interrupted\n"


def test_stopped_training_says_how_to_go_on_and_ends_with_status_130(
    stubs: dict[str, mock.Mock],
) -> None:
    stubs["pretrain"].side_effect = Stopped("stopped after step 5; everything is saved")
    result = run("pretrain", "my ws", "--run", "r1")
    assert result.exit_code == 130
    assert result.stderr == (
        "openrealm: stopped after step 5; everything is saved\n"
        "to go on: openrealm pretrain 'my ws' --run r1 --resume\n"
    )
    stubs["finetune"].side_effect = Stopped("stopped")
    result = run("finetune", "ws", "--qa", "a b.jsonl", "--dev", "d")
    assert result.exit_code == 130
    assert "openrealm finetune ws --qa 'a b.jsonl' --dev d --resume\n" in result.stderr


def test_a_scheduler_that_asks_training_to_end_sees_status_0(stubs: dict[str, mock.Mock]) -> None:
    stubs["pretrain"].side_effect = Stopped("stopped after step 5", by_system=True)
    result = run("pretrain", "ws")
    assert result.exit_code == 0
    assert "to go on: openrealm pretrain ws --resume" in result.stderr


def test_sigterm_between_two_stages_is_such_a_request(stubs: dict[str, mock.Mock]) -> None:
    stubs["pretrain"].side_effect = lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    result = run("pretrain", "ws")
    assert result.exit_code == 0
    assert "what was done is saved" in result.stderr
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_full_disk_is_one_sentence_and_status_2(stubs: dict[str, mock.Mock]) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "ws/runs/run-001/x")
    stubs["pretrain"].side_effect = error
    result = run("pretrain", "ws")
    assert result.exit_code == 2
    assert result.stderr == (
        "openrealm: the disk is full (ws/runs/run-001/x); free some space and go on\n"
    )
    stubs["pretrain"].side_effect = OSError(errno.EIO, "Input/output error")
    assert run("pretrain", "ws").exit_code == 1


def test_another_error_in_training_does_not_say_how_to_go_on(
    stubs: dict[str, mock.Mock],
) -> None:
    stubs["pretrain"].side_effect = InputError("the loss is nan")
    assert run("pretrain", "ws").stderr == "openrealm: the loss is nan\n"


def test_verbose_shows_log_lines_of_the_package_only_while_the_command_runs(
    stubs: dict[str, mock.Mock],
) -> None:
    import logging

    def chatty(*_: Any, **__: Any) -> Any:
        logging.getLogger("openrealm.index").info("opened")
        logging.getLogger("other").info("not ours")
        return mock.DEFAULT

    stubs["search"].side_effect = chatty
    assert "opened" not in run("search", "ws", "x").stderr
    shown = run("search", "ws", "x", "--verbose").stderr
    assert "INFO openrealm.index: opened" in shown
    assert "not ours" not in shown
    assert logging.getLogger("openrealm").handlers == []


# The program --------------------------------------------------------------------------------------


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **changes}


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"openrealm {openrealm.__version__}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_every_command_is_there_under_both_names(flag: str) -> None:
    commands = [case[0].split()[0] for case in CASES] + ["config"]
    overview = run(flag).stdout
    for command in commands:
        assert f"  {command} " in overview
        assert f"Usage: openrealm {command} " in run(command, flag).stdout


def test_help_names_every_preset() -> None:
    wanted = next(line for line in run("pretrain", "-h").stdout.splitlines() if "--preset" in line)
    for preset in PRESETS:
        assert preset in wanted


def test_help_takes_less_than_half_a_second_of_a_processor() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "openrealm", "--help"],
            env=environment(),
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


def test_main_reads_the_programs_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stubs: dict[str, mock.Mock]
) -> None:
    monkeypatch.setattr(sys, "argv", ["openrealm", "search", "ws", "x"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "Lima" in capsys.readouterr().out


# Stands in for what the package does, so that nothing heavy has to be imported.
STUBBED = """
import sys
import openrealm
from openrealm.errors import InputError
def preset(name):
    if name == "bad":
        raise InputError("there is no 'größe Москва'")
openrealm.preset = preset
openrealm.settings_text = lambda settings: "a = 1\\n" * 100_000
from openrealm.cli import main
main()
"""


def test_a_closed_pipe_is_no_error_to_complain_about() -> None:
    # Python's unbuffered output takes a short write for a whole one.
    buffered = {k: v for k, v in environment().items() if k != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", STUBBED, "config"],
        env=buffered,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "a = 1\n"
        process.stdout.close()
        complaint = process.stderr.read()
        process.wait()
    assert complaint == ""
    assert process.returncode == 141


def test_letters_that_the_terminal_lacks_are_escaped() -> None:
    result = subprocess.run(
        [sys.executable, "-c", STUBBED, "config", "--preset", "bad"],
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "gr\\xf6\\xdfe" in result.stderr


SPREAD = [
    ("ws --qa a b c", "ws --qa a --qa b --qa c"),
    ("--qa a ws", "--qa a ws"),
    ("--qa a ws b", "--qa a ws b"),  # too much, and refused as such afterwards
    ("ws --qa a --json b", "ws --qa a --json b"),
    ("ws --qa a b --run r --dev d e", "ws --qa a --qa b --run r --dev d --dev e"),
    ("ws --qa=a b", "ws --qa=a --qa b"),
    ("ws --qa a -- b", "ws --qa a -- b"),
    ("ws --qa -", "ws --qa -"),
    ("ws --run --qa a", "ws --run --qa a"),
    ("ws --qa", "ws --qa"),
    ("", ""),
]


@pytest.mark.parametrize(("given", "wanted"), SPREAD)
def test_words_after_a_repeatable_option_belong_to_it_once_the_workspace_is_named(
    given: str, wanted: str
) -> None:
    words = spread(given.split(), num_arguments=1, repeatable={"--qa", "--dev"}, single={"--run"})
    assert words == wanted.split()
