"""Checks a machine, one line a requirement. Knows nothing of the package, so can run alone."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

Findings = Iterator[tuple[bool, str, str]]  # whether all is well, what was found, the remedy
GIB, NAME = 2**30, "cfg-tutorial"
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml"}
PACKAGE = Path(__file__).resolve().parents[1]
DATA = PACKAGE / "data" if (PACKAGE / "data").is_dir() else PACKAGE.parent / "data"
PIP = f'"{sys.executable}" -m pip install'
PAIR = "import torch, torchaudio.functional, torchaudio.transforms"
AGAIN = "`git checkout -- data` in a clone, else install cfg-tutorial once more"
HOME = "name a folder of your own in CFG_TUTORIAL_CACHE"


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is missing"


def release(text: str) -> list[int]:
    """Return a version's numbers without closing zeros: [2, 11] for '2.11.0+cpu'."""
    return [int(part) for part in re.sub(r"(\.0+)*([^\d.].*)?$", "", text).split(".") if part]


def machine() -> Findings:
    """Look at the Python, the cores, the memory (a container's limit too) and the disk."""
    text = f"Python {sys.version.split()[0]} at {sys.executable} (3.11 or newer)"
    yield sys.version_info >= (3, 11), text, "install a newer Python"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield (count or 1) > 1, f"cores: {count} (2 or more)", "all works, in twice the time"
    try:
        import psutil

        free, limit = psutil.virtual_memory().available, Path("/sys/fs/cgroup/memory.max")
        if limit.exists() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
            free = min(free, int(text))
        text = f"memory free: {free / GIB:.1f} GiB (3 or more)"
        yield free >= 3 * GIB, text, "close other programs, or `cfg-tutorial atlas --workers 1`"
    except ImportError:
        yield False, "memory free: unknown without psutil", f"{PIP} psutil"
    try:
        free = shutil.disk_usage(Path.cwd()).free
        yield free >= GIB, f"disk free: {free / GIB:.1f} GiB (1 or more)", "make room on this disk"
    except OSError as error:
        yield False, f"the current folder is gone: {error.strerror}", "change to one that exists"


def is_found(name: str) -> bool:
    """Return whether a package's module is there to be imported, and import none."""
    try:
        return find_spec(MODULES.get(name, name.replace("-", "_"))) is not None
    except (ImportError, ValueError):
        return False


def packages() -> Findings:
    """Compare each direct dependency with its lower bound, and import none."""
    try:
        needed = "\n".join(requires(NAME) or [])
    except PackageNotFoundError:
        clone = (PACKAGE.parent / "pyproject.toml").exists()
        remedy = f'{PIP} -e "{PACKAGE.parent}"' if clone else "install it from where you have it"
        yield False, f"{NAME} is not installed in this Python", remedy
        return
    for name, bound in re.findall(r"^([\w-]+)>=([\d.]+)$", needed, re.MULTILINE):
        text, remedy = f"{name} {installed(name)} ({bound} or newer)", f'{PIP} "{name}>={bound}"'
        good = release(installed(name)) >= release(bound)
        if good and not is_found(name):
            good, text = False, f"{name} is in the list of packages, but its files are not there"
            remedy = f"{PIP} --force-reinstall --no-deps {name}"
        yield good, text, remedy


def audio() -> Findings:
    """Load torchaudio beside torch in a process of its own: a mismatch can end the process."""
    run = subprocess.run([sys.executable, "-c", PAIR], capture_output=True, text=True)
    text = f"torchaudio {installed('torchaudio')} beside torch {installed('torch')} "
    why = (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1]
    text += f"does not load, so audio and text do not: {why}" if run.returncode else "loads"
    yield not run.returncode, text, f"{PIP} --upgrade --force-reinstall torch torchaudio"


def kernel() -> Findings:
    """Compare the Python of the notebook kernel 'python3' with the one that runs now."""
    from jupyter_client.kernelspec import KernelSpecManager

    remedy = f'"{sys.executable}" -m ipykernel install --sys-prefix --name python3'
    try:
        found = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except Exception as error:  # there is none, or its file is damaged
        yield False, f"the notebook kernel 'python3' cannot be started: {error}", remedy
        return
    if re.fullmatch(r"python[\d.]*", found):  # Jupyter runs its own Python for a bare name
        found = sys.executable
    # Folders, since python, python3 and python3.11 of one environment are one.
    same = Path(found).parent.resolve() == Path(sys.executable).parent.resolve()
    yield same, f"the notebook kernel 'python3' runs {found}", remedy


def shipped() -> Findings:
    """Hold the data against checksums.txt, whose lines are a SHA-256 and a file's name."""
    try:
        lines = (DATA / "checksums.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        yield False, f"data/checksums.txt cannot be read: {error}", AGAIN
        return
    sums = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
    for name in sorted({*sums, *(path.name for path in DATA.glob("*.safetensors"))}):
        try:
            whole = hashlib.sha256((DATA / name).read_bytes()).hexdigest() == sums.get(name)
            text = "agrees with its checksum" if whole else "differs from its checksum, or has none"
            if name.endswith(".safetensors"):
                with contextlib.suppress(ImportError):  # `packages` says so
                    from safetensors import safe_open

                    with safe_open(DATA / name, framework="numpy"):
                        text += " and opens"
            yield whole, f"data/{name} {text}", AGAIN
        except Exception as error:
            yield False, f"data/{name} does not open: {error}", AGAIN


def writable() -> Findings:
    """Write into each folder, or where it does not exist yet, into the nearest one above."""
    named = os.environ.get("CFG_TUTORIAL_CACHE")
    for folder in (Path("atlas"), Path(named or "~/.cache/cfg_tutorial")):
        try:
            folder = folder.expanduser().absolute()
            there = next(place for place in (folder, *folder.parents) if place.exists())
            tempfile.TemporaryFile(dir=there).close()
            yield True, f"{folder} can be written", ""
        except RuntimeError as error:  # ~ is nowhere
            yield False, f"{folder} is nowhere: {error}", HOME
        except OSError as error:
            said = f"{folder} cannot be written: {error.strerror or error}"
            yield False, said, f"work in a folder of your own, and {HOME}"


def main() -> int:
    """Print a line for each requirement; return 1 if there was a problem, else 0."""
    problems = 0
    for check in (machine, packages, audio, kernel, shipped, writable):
        try:
            for good, text, remedy in check():
                print(f"[ok] {text}" if good else f"[problem] {text} -> {remedy}", flush=True)
                problems += not good
        except ImportError as error:  # what the check itself needs
            print(f"[problem] {check.__name__}: {error} -> {PIP} {str(error.name).split('.')[0]}")
            problems += 1
        except Exception as error:
            said = f"{check.__name__}: {str(error) or type(error).__name__}"
            print(f"[problem] {said} -> mend what is said here and above, then ask again")
            problems += 1
    print(f"problems: {problems}")
    return int(problems > 0)


if __name__ == "__main__":
    raise SystemExit(main())
