"""Installs openrealm and the pinned versions into the Python that runs this script.

Its one decision is the build of torch: a CPU build unless the machine has an NVIDIA GPU, since the
build that pip takes on Linux brings several gigabytes of CUDA libraries. It needs nothing but the
standard library and pip; `make` calls it with the virtual environment's Python.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "starter"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
_CPU_SUFFIX = "+cpu"
_TORCH_PIN = re.compile(r"^torch==(\S+)\s*$", re.MULTILINE)


class Torch(Enum):
    """Where torch comes from."""

    KEEP = "the torch that is installed"
    CPU = "a build for CPUs, to be asked for by name"
    DEFAULT = "the build that pip takes by itself"


def choose_torch(*, wanted: str, installed: str | None, system: str, has_gpu: bool) -> Torch:
    """Where torch is to come from.

    Args:
        wanted: ``auto``, ``cpu`` or ``cuda``, as the user said.
        installed: The version of an installed torch, with its local part (``2.13.0+cpu``).
        system: As `platform.system` says.
        has_gpu: Whether an NVIDIA GPU answers.
    """
    # On PyPI only Linux has CUDA builds, by torch 2.13 for ARM too.
    default_is_cpu = system != "Linux"
    if installed is not None:
        is_cpu = default_is_cpu or installed.endswith(_CPU_SUFFIX)
        fits = {"auto": True, "cpu": is_cpu, "cuda": not installed.endswith(_CPU_SUFFIX)}
        if fits[wanted]:
            return Torch.KEEP
    if wanted == "cuda" or default_is_cpu or (wanted == "auto" and has_gpu):
        return Torch.DEFAULT
    return Torch.CPU


def pinned_torch(constraints: str) -> str:
    """The version that the constraints pin torch to."""
    found = _TORCH_PIN.search(constraints)
    if found is None:
        raise SystemExit("constraints.txt pins no torch; it needs a line such as torch==2.13.0")
    return found[1]


def pin_torch(constraints: str, version: str) -> str:
    """The constraints with torch pinned to a version, so that pip leaves an installed one alone."""
    return _TORCH_PIN.sub(f"torch=={version}", constraints)


def install_cpu_torch(version: str) -> None:
    """Installs the CPU build from wherever pip looks, else from PyTorch's own index."""
    # Without its dependencies: PyTorch's index has other versions of them than the pinned ones.
    command = ["install", "--no-deps", f"torch=={version}{_CPU_SUFFIX}"]
    if run_pip(command, stderr=subprocess.DEVNULL):  # a miss here is the usual case, no error
        return
    if run_pip([*command, "--index-url", CPU_WHEELS, "--retries", "2"]):
        return
    raise SystemExit(
        f"No CPU build of torch {version} for Python {platform.python_version()} was found, neither"
        f" where pip looks nor at {CPU_WHEELS}; go on with `make TORCH=cuda ...` (several GB), with"
        " another Python (`make clean`, then `make PYTHON=python3.11 ...`), or install a torch of"
        " your own into .venv first."
    )


def install_default_torch(version: str) -> None:
    """Installs the build that pip takes by itself, in place of another build if there is one."""
    replace = ["--force-reinstall"] if installed_torch() is not None else []
    if not run_pip(["install", "--no-deps", *replace, f"torch=={version}"]):
        raise SystemExit(f"pip could not install torch {version}; its reason stands above")


def install_package(constraints: str) -> None:
    """Installs openrealm and its starter, editable, with all that developers and demo need."""
    # Before 23.3 pip overlooks extras spelt with "_", and lxml's, which trafilatura needs, is.
    run_pip(["install", "pip>=23.3"])
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "constraints.txt"
        pins.write_text(constraints, encoding="utf-8")
        editable = [f"{ROOT}[dev]", *([str(STARTER)] if has_starter(STARTER) else [])]
        wanted = [word for place in editable for word in ("-e", place)]
        if not run_pip(["install", "-c", str(pins), *wanted]):
            raise SystemExit("pip could not install the libraries; its reason stands above")


def has_starter(folder: Path) -> bool:
    """Whether the first weights lie in a folder: a checkout may come without them."""
    return (folder / "openrealm_starter" / "model" / "starter.json").is_file()


def installed_torch() -> str | None:
    """The version of the torch that this Python sees."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver lists a GPU; its tool alone may lie on a machine without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def run_pip(arguments: Sequence[str], *, stderr: int | None = None) -> bool:
    """Runs pip for this Python and tells whether it succeeded."""
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, *quiet]
    return subprocess.run(command, stderr=stderr, check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Installs everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda"), default="auto")
    wanted = parser.parse_args(arguments).torch
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    choice = choose_torch(
        wanted=wanted,
        installed=installed_torch(),
        system=platform.system(),
        has_gpu=has_nvidia_gpu(),
    )
    print(f"torch: {choice.value}", flush=True)
    if choice is Torch.CPU:
        install_cpu_torch(pinned_torch(constraints))
    elif choice is Torch.DEFAULT:
        install_default_torch(pinned_torch(constraints))
    print("openrealm and its libraries (one to three minutes)", flush=True)
    version = installed_torch()
    install_package(pin_torch(constraints, version) if version else constraints)


if __name__ == "__main__":
    main()
