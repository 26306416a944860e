"""Tests of the comparison of losses, mostly with a package that trains nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny import documents
from trained import SHAPE

from openrealm.settings import resolve

ROOT = Path(__file__).parents[2]
# Does what the real one does for the benchmark: it reads settings and documents, and writes
# numbers that depend on both. The loss of its last joint step is that of a parameter.
PACKAGE = """
import json, sys
from pathlib import Path

command, place, *rest = sys.argv[1:]
if command == "ingest":
    Path(rest[rest.index("--to") + 1]).mkdir()
    Path(rest[rest.index("--to") + 1], "size").write_text(str(Path(place).stat().st_size))
    sys.exit()
settings = dict(part.split("=") for part in rest if "=" in part)
size, run = int(Path(place, "size").read_text()), Path(place, "runs", "run-001")
run.mkdir(parents=True)
with open(run / "metrics.jsonl", "w") as file:
    for step in range(1, int(settings["realm.steps"]) + 1):
        loss = size / step + (CHANGE if step == 20 else 0.0)
        record = {"stage": "realm", "step": step, "total_step": step, "train/loss": loss}
        file.write(json.dumps({**record, "seconds/reading": id(record) * 1e-9}) + "\\n")
"""


@pytest.fixture(scope="module")
def same_losses() -> ModuleType:
    path = ROOT / "benchmarks" / "same_losses.py"
    spec = importlib.util.spec_from_file_location("same_losses", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["same_losses"] = module
    spec.loader.exec_module(module)
    return module


def metrics(*records: dict[str, object]) -> str:
    return "".join(json.dumps({"stage": "realm", **record}) + "\n" for record in records)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose one commit holds the package that trains nothing."""
    package = tmp_path / "repository" / "src" / "openrealm"
    (package / "almanac").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "almanac" / "articles.jsonl").write_text("{}\n" * 7)
    change_last_loss(package, by=0.0)
    root = tmp_path / "repository"
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def change_last_loss(package: Path, *, by: float) -> None:
    (package / "__main__.py").write_text(f"CHANGE = {by}\n{PACKAGE}")


def test_the_working_tree_is_compared_with_the_revision(
    same_losses: ModuleType,
    repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["HEAD", "--keep", str(tmp_path / "kept")]
    assert same_losses.main(given, root=repository) == 0
    said = capsys.readouterr().out
    assert "realm    20 steps, equal\n" in said and "left out" in said
    change_last_loss(repository / "src" / "openrealm", by=1e-4)
    assert same_losses.main(given, root=repository) == 1
    # A third of seven lines of three characters is three lines: 9 / 20.
    assert "differ first at step 20, train/loss: 0.45 before, 0.4501 now" in capsys.readouterr().out
    assert same_losses.main([*given, "--tolerance", "2e-4"], root=repository) == 0
    assert "equal within 0.0002; largest difference 1.0e-04" in capsys.readouterr().out
    # What the revision gave is there already, for these settings and documents.
    trained: list[Path] = []
    original = same_losses.train
    monkeypatch.setattr(
        same_losses,
        "train",
        lambda source, training: trained.append(source) or original(source, training),
    )
    same_losses.main(given, root=repository)
    assert trained == [repository / "src"]
    assert same_losses.main([*given, "--set-old", "realm.steps=19"], root=repository) == 1
    assert len(trained) == 3
    assert "19 steps with a loss before, 20 now" in capsys.readouterr().out


def test_a_beir_folder_adds_its_first_documents(
    same_losses: ModuleType,
    repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "cranfield"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text("{}\n" * 40)
    small, large = (
        same_losses.trainings(repository, folder, number, ["seed=3"])[1] for number in (2, 30)
    )
    assert (small.name, small.preset, small.documents) == ("cranfield", "adapt", b"{}\n{}\n")
    assert small.assignments[-1] == "seed=3" and small.digest != large.digest
    given = ["HEAD", "--keep", str(tmp_path / "kept"), "--beir", str(folder)]
    assert same_losses.main(given, root=repository) == 0
    said = capsys.readouterr().out
    assert said.count("20 steps, equal") == 2 and "left out" not in said


def test_a_command_that_fails_ends_the_comparison_with_what_it_said(
    same_losses: ModuleType, repository: Path, tmp_path: Path
) -> None:
    (repository / "src" / "openrealm" / "__main__.py").write_text("raise SystemExit('no disk')")
    with pytest.raises(SystemExit, match=r"(?s)openrealm ingest .*no disk"):
        same_losses.main(["HEAD", "--keep", str(tmp_path)], root=repository)
    with pytest.raises(SystemExit, match="git rev-parse"):
        same_losses.main(["nowhere"], root=repository)


def test_times_are_not_compared_and_names_of_one_side_are_told(same_losses: ModuleType) -> None:
    first = {"step": 1, "total_step": 6, "train/loss": 2.0, "realm/p_null": math.nan}
    old = metrics({**first, "speed/tokens_per_second": 5.0, "realm/p_unread": 0.1, "time": 8.0})
    new = metrics({**first, "index/staleness_seconds": 5.0, "realm/p_in_batch": 0.1})
    before, now = (same_losses.numbers(side)["realm"] for side in (old, new))
    said = "1 steps, equal; only before: realm/p_unread; only now: realm/p_in_batch"
    assert same_losses.verdict(before, now, 0.0) == (True, said)


def test_the_first_and_the_largest_difference_are_told_by_the_steps_of_their_stage(
    same_losses: ModuleType,
) -> None:
    def side(*losses: float) -> str:
        steps = enumerate(losses, 11)
        probe = {"event": "probe", "total_step": 12, "probe/utility": losses[-1]}
        return metrics(*({"total_step": n, "train/loss": loss} for n, loss in steps), probe)

    before, now = (same_losses.numbers(s)["realm"] for s in (side(4.0, 0.5), side(5.0, math.nan)))
    equal, said = same_losses.verdict(before, now, 0.1)
    assert not equal
    assert "first at step 1, train/loss: 4.0 before, 5.0 now (2.0e-01)" in said
    assert "most at step 2, probe/utility: 0.5 before, nan now (inf)" in said
    assert same_losses.verdict(before, {}, 0.1) == (False, "2 steps with a loss before, 0 now")


@pytest.mark.slow
def test_both_trainings_are_taken_by_the_real_command_line(
    same_losses: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "corpus.jsonl").write_text("{}\n")
    almanac, adapt = same_losses.trainings(ROOT, tmp_path, 1, [])
    for training in (almanac, adapt):
        settings = resolve(preset=training.preset, assignments=training.assignments)
        assert settings.realm.steps == 20
    found = [{"id": d.id, "title": d.title, "text": d.text} for d in documents()]
    lines = "".join(json.dumps(record) + "\n" for record in found).encode()
    shrunk = (*SHAPE, "ict.steps=1", "warmup.steps=1", "realm.steps=2", "loop.log_every=1")
    training = same_losses.Training("tiny", lines, "tiny", (*almanac.assignments, *shrunk))
    numbers = same_losses.numbers(same_losses.train(ROOT / "src", training))
    assert {stage: max(of)[0] for stage, of in numbers.items()} == {
        "ict": 1,
        "warmup": 2,
        "realm": 4,
    }
    assert all(math.isfinite(value) for value in numbers["realm"].values())
