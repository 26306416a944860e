"""Tests of the installer's choice of torch, and of the pins against the declared dependencies."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
NOT_PINNED = {
    "spacy",  # the extra `ner` is for those who have a pipeline, and so a spaCy
    "openrealm-starter",  # lies in the checkout
}


def _load_installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("installer", ROOT / "scripts" / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


installer = _load_installer()
Torch = installer.Torch


# The build of torch -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "installed", "system", "has_gpu", "expected"),
    [
        # A bare machine.
        ("auto", None, "Linux", False, Torch.CPU),
        ("auto", None, "Linux", True, Torch.DEFAULT),
        ("auto", None, "Darwin", False, Torch.DEFAULT),
        ("auto", None, "Windows", False, Torch.DEFAULT),
        # The user's word goes before what the machine looks like.
        ("cuda", None, "Linux", False, Torch.DEFAULT),
        ("cpu", None, "Linux", True, Torch.CPU),
        ("cpu", None, "Darwin", False, Torch.DEFAULT),
        # What is installed stays, whoever built it.
        ("auto", "2.13.0+cpu", "Linux", False, Torch.KEEP),
        ("auto", "2.13.0+cpu", "Linux", True, Torch.KEEP),
        ("auto", "2.9.1+rocm6.3", "Linux", False, Torch.KEEP),
        ("auto", "2.13.0", "Linux", False, Torch.KEEP),
        ("auto", "2.13.0", "Darwin", False, Torch.KEEP),
        # Unless it is not what was asked for.
        ("cuda", "2.13.0+cpu", "Linux", True, Torch.DEFAULT),
        ("cuda", "2.13.0", "Linux", True, Torch.KEEP),
        ("cpu", "2.13.0", "Linux", False, Torch.CPU),
        ("cpu", "2.13.0+cpu", "Linux", False, Torch.KEEP),
        ("cpu", "2.13.0", "Darwin", False, Torch.KEEP),
    ],
)
def test_torch_comes_as_asked_for_and_else_as_the_machine_needs_it(
    wanted: str, installed: str | None, system: str, has_gpu: bool, expected: Any
) -> None:
    choice = installer.choose_torch(
        wanted=wanted, installed=installed, system=system, has_gpu=has_gpu
    )
    assert choice is expected


class _Pip:
    """Records what pip is asked, and fails where told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: bool) -> None:
        self.asked: list[list[str]] = []
        self.outcomes = list(outcomes)
        monkeypatch.setattr(installer, "run_pip", self)

    def __call__(self, arguments: list[str], *, stderr: int | None = None) -> bool:
        self.asked.append(arguments)
        return self.outcomes.pop(0)


def test_the_cpu_build_is_sought_where_pip_looks_and_then_at_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pip = _Pip(monkeypatch, False, True)
    installer.install_cpu_torch("2.13.0")
    assert all("torch==2.13.0+cpu" in arguments for arguments in pip.asked)
    assert ["--index-url" in arguments for arguments in pip.asked] == [False, True]


def test_a_cpu_build_that_pip_finds_by_itself_needs_no_other_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pip = _Pip(monkeypatch, True)
    installer.install_cpu_torch("2.13.0")
    assert len(pip.asked) == 1


def test_without_a_cpu_build_the_large_one_is_not_taken_but_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pip = _Pip(monkeypatch, False, False)
    with pytest.raises(SystemExit, match="TORCH=cuda"):
        installer.install_cpu_torch("2.13.0")
    assert len(pip.asked) == 2


def test_another_build_is_installed_over_a_present_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # pip takes 2.13.0+cpu for 2.13.0 and would leave it.
    pip = _Pip(monkeypatch, True, True)
    for version, forced in ((None, False), ("2.13.0+cpu", True)):
        monkeypatch.setattr(installer, "installed_torch", lambda version=version: version)
        installer.install_default_torch("2.13.0")
        assert ("--force-reinstall" in pip.asked[-1]) is forced


def test_an_installed_torch_of_any_version_is_pinned_so_that_pip_keeps_it() -> None:
    text = "tokenizers==1\ntorch==2.13.0\ntorchmetrics==3\n"
    pinned = installer.pin_torch(text, "2.9.1+rocm6.3")
    assert pinned == "tokenizers==1\ntorch==2.9.1+rocm6.3\ntorchmetrics==3\n"


@pytest.mark.parametrize("has_weights", [True, False])
def test_the_starter_is_installed_where_its_weights_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_weights: bool
) -> None:
    pip = _Pip(monkeypatch, True, True)
    monkeypatch.setattr(installer, "STARTER", tmp_path)
    (tmp_path / "openrealm_starter" / "model").mkdir(parents=True)
    if has_weights:
        (tmp_path / "openrealm_starter" / "model" / "starter.json").touch()
    installer.install_package("torch==2.13.0\n")
    assert (str(tmp_path) in pip.asked[-1]) is has_weights
    assert f"{ROOT}[dev]" in pip.asked[-1]


def test_the_starter_is_of_a_version_that_its_extra_allows() -> None:
    own, beside = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for folder in ("", "starter")
    )
    [extra] = map(Requirement, own["optional-dependencies"]["starter"])
    assert extra.name == beside["name"] and beside["version"] in extra.specifier


def test_a_machine_without_the_nvidia_tool_has_no_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not installer.has_nvidia_gpu()


@pytest.mark.parametrize(
    ("script", "has_gpu"),
    [
        ("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", True),
        ("echo 'No devices were found'", False),
        ("echo 'NVIDIA-SMI has failed: GPU driver missing'; exit 9", False),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="runs a shell script")
def test_a_gpu_counts_when_the_nvidia_tool_lists_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, has_gpu: bool
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installer.has_nvidia_gpu() is has_gpu


# The pins -----------------------------------------------------------------------------------------


def _pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def _requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    found = [Requirement(line) for line in chain(project["dependencies"], *extras)]
    return [r for r in found if r.name != "openrealm" and r.name not in NOT_PINNED]


@pytest.mark.parametrize("requirement", _requirements(), ids=str)
def test_every_dependency_is_pinned_to_a_version_that_it_allows(requirement: Requirement) -> None:
    assert _pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_no_pin_is_to_a_local_build_that_only_one_machine_has() -> None:
    assert [name for name, version in _pins().items() if version.local] == []


def test_the_installer_finds_the_pin_of_torch() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert Version(installer.pinned_torch(text)) == _pins()["torch"]
    with pytest.raises(SystemExit, match="pins no torch"):
        installer.pinned_torch("numpy==2.4.6\n")
