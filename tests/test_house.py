"""Tests of the figures of the house, with a package of a few lines."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parent.parent / "scripts" / "house.py"

# `search` imports one module more than the others, and a package that is heavy by its name.
FILES = {
    "torch.py": "",
    "openrealm/__init__.py": "",
    "openrealm/__main__.py": """
import sys
command = sys.argv[1]
if command == "pretrain":
    from openrealm.training import Realm, Warmup
    Warmup().step()
    Realm().step()
    Realm().step(again=True)
if command == "search":
    import torch
    from . import index
print("found")
""",
    "openrealm/training/__init__.py": """
from openrealm.training.loss import loss, step
from ..index import search, unused as _

class Warmup:
    name = "warmup"

    def step(self):
        from openrealm.late import late
        late()

class Realm:
    name = "realm"

    def step(self, again=False):
        import openrealm.constants
        step(1)
        if again:
            Warmup().step()
        return loss()
""",
    "openrealm/training/loss.py": "def loss():\n    return 1.0\n\ndef step(n):\n    return n\n",
    "openrealm/index.py": "def search():\n    pass\n\ndef unused():\n    pass\n",
    "openrealm/late.py": "def late():\n    pass\n",
    "openrealm/constants.py": "import openrealm.late\n\nclass Names:\n    one = 1\n",
    "openrealm/options.py": """
from dataclasses import dataclass, field
PRESETS: dict = {"small": {"loop": {"every": 3}}, "large": {"seed": 1}}

@dataclass
class Loop:
    every: int = 1
    keep: tuple = (1, 2)

@dataclass
class Settings:
    seed: int = 0
    loop: Loop = field(default_factory=Loop)
""",
}


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_figures_are_those_of_the_package_in_the_folder(
    house: ModuleType, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house.main(["--json", "--source", str(source)])
    found = json.loads(capsys.readouterr().out)
    ours = [text for name, text in FILES.items() if name != "torch.py"]
    assert found["files"] == 8 and found["lines"] == sum(len(t.splitlines()) for t in ours)
    assert found["long_files"] == {} and found["long_functions"] == []
    # Two import `index` and `late`, and nobody `options`.
    assert found["one_importer"] == ["openrealm.constants", "openrealm.training.loss"]
    assert found["settings"] == 3 and found["in_no_preset"] == ["loop.keep"]
    assert {name: one["modules"] for name, one in found["imported"].items()} == {
        "import openrealm": 1,
        "ingest": 1,
        "info": 1,
        "search": 2,
        "ask": 1,
        "serve --help": 1,
    }
    assert found["imported"]["search"]["packages"] == {"index": 1}
    assert found["imported"]["search"]["heavy"] == ["torch"]
    assert found["imported"]["ask"]["heavy"] == []
    # The first joint step alone, and functions alone: `constants` has none.
    files = ["training/__init__.py", "training/loss.py"]
    lines = sum(len(FILES[f"openrealm/{name}"].splitlines()) for name in files)
    for preset in ("paper", "adapt"):
        assert found["joint_step"][preset] == {"files": files, "lines": lines}


def test_a_function_is_as_long_as_its_body_without_the_docstring(house: ModuleType) -> None:
    body = "\n".join(f"        x{number} = {number}" for number in range(51))
    head = "class A:\n    def long(\n        self,\n    ):\n"
    text = f'{head}        """One.\n\n        Two.\n        """\n{body}\n'
    text += "def outer():\n    async def inner():\n        pass\n    return inner\n"
    lengths = dict(house.functions_of(ast.parse(text)))
    assert lengths == {"A.long": 51, "outer": 3, "outer.inner": 1}


def test_what_is_too_long_is_listed(house: ModuleType, source: Path) -> None:
    (source / "openrealm" / "late.py").write_text("def late():\n" + "    pass\n" * 451)
    found = house.measured(source)
    assert found.long_files == {"openrealm/late.py": 452}
    assert found.long_functions == [house.Function("openrealm/late.py", "late", 451)]
    shown = house.text(found)
    assert "files over 450 lines: 1\n     452  openrealm/late.py\n" in shown
    assert "     451  openrealm/late.py: late\n" in shown
    assert "settings: 3, 1 of them in no preset\n" in shown


def test_a_package_that_it_cannot_measure_is_refused_by_name(
    house: ModuleType, source: Path
) -> None:
    main = source / "openrealm" / "__main__.py"
    main.write_text("")
    with pytest.raises(SystemExit, match="no `step` of a stage called realm"):
        house.measured(source)
    main.write_text("raise SystemExit('no disk')")
    with pytest.raises(SystemExit, match=r"(?s)ingest.*no disk"):
        house.measured(source)
    (source / "openrealm" / "options.py").write_text("")
    with pytest.raises(SystemExit, match="no module of the package defines Settings"):
        house.measured(source)


@pytest.mark.slow
def test_the_real_package_can_be_measured(house: ModuleType) -> None:
    found = house.measured(PATH.parent.parent / "src")
    assert found.settings > len(found.in_no_preset) > 0
    assert found.imported["search"].modules > found.imported["serve --help"].modules > 1
    assert {"torch", "numpy"} <= set(found.imported["search"].heavy)
    paper, adapt = (set(found.joint_step[name].files) for name in ("paper", "adapt"))
    assert "models/likelihood.py" in paper & adapt and len(adapt) > len(paper)
