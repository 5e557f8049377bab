"""Files, progress and threads: whole writes, caches, shipped paths. Knows no model."""

import getpass
import glob
import hashlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, get_args, get_origin

import psutil
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm


def data_path(name: str, folder: str = "data") -> Path:
    """Return the path of a shipped file, in the wheel or in the source tree."""
    package = Path(__file__).parent
    inside = package / folder / name
    return inside if inside.exists() else package.parent / folder / name


def progress_bar(
    states: Iterable | None, total: int, desc: str, progress: bool | int, **options: Any
) -> Any:
    """Return a text-mode tqdm bar; progress is False for none, True, or the line it is drawn on.

    In a file, where a bar is a line each time it moves, it moves twice a minute, and there is none
    where several lines are drawn on.
    """
    line = None if isinstance(progress, bool) else progress
    moves = is_screen(options.get("file") or sys.stderr)
    options = {"mininterval": 0.5 if moves else 30, **options}
    return tqdm(
        states,
        total=total,
        desc=desc,
        disable=progress is False or not moves and line is not None,
        position=line,
        leave=options.pop("leave", line is None),
        ascii=True,
        ncols=78,
        **options,
    )


def is_screen(file: Any) -> bool:
    """Return whether a bar can be drawn over what a file shows: a terminal, or a notebook."""
    return file.isatty() or type(file).__module__.startswith("ipykernel")


SCHEMA = "1"  # of safetensors files: what their metadata hold, and how
_luck = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's own generator begin at a seed inside, and go on after it as if nothing had been.

    The generator is the process's: threads that draw from it wait for each other.
    """
    with _luck, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one thread of one process at a time, of this user and machine, work on a file."""
    real = os.path.realpath(path)  # Path.resolve raises where links lead round in a circle
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:24]
    user = getattr(os, "getuid", getpass.getuser)()
    folder = Path(tempfile.gettempdir()) / f"cfg_tutorial-{user}"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        yield


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch use a number of threads inside, None its own choice.

    Small networks need one: two on a busy machine wait for each other, up to 80 times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def version() -> str:
    """Return the package's version, as checkpoints and results name it."""
    return metadata.version("cfg-tutorial")


def cache_folder() -> Path:
    """Return where trained weights are kept: $CFG_TUTORIAL_CACHE, or one in the home folder."""
    named = os.environ.get("CFG_TUTORIAL_CACHE")
    try:
        return Path(named or "~/.cache/cfg_tutorial").expanduser()
    except RuntimeError as error:
        said = "There is no home folder to keep trained weights in: name a folder of your own in"
        raise RuntimeError(f"{said} CFG_TUTORIAL_CACHE, or pass folder.") from error


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``path`` when all went well, and nothing otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        pid = old.suffixes[-2][1:].split("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            old.unlink(missing_ok=True)  # of a process that was killed as it wrote
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replaced(path) as partial:
        partial.write_bytes(content)


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write a safetensors file, with what it is about (JSON) and a sum, whole or not at all."""
    apart = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    config = to_json(about)
    with replaced(path) as partial:
        about_file = {"config": config, "sum": _sum(apart, config), "schema": SCHEMA}
        save_file(apart, partial, metadata=about_file)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the configuration of a file.

    Raises
    ------
    FileNotFoundError : there is no such file
    ValueError : it is damaged, or not of this package; names the file and the reason
    """
    try:
        if not path.is_file():
            raise FileNotFoundError(f"No checkpoint at {path}. Train one with domain.train().")
        with safe_open(path, framework="pt") as file:
            kept = file.metadata() or {}
            # Copies: a mapped file cannot be replaced on Windows, and can be cut short anywhere.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if (schema := kept.get("schema", SCHEMA)) != SCHEMA:
            raise ValueError(f"it has version {schema} of these files, and {SCHEMA} is read here")
        about = json.loads(kept["config"])
        if not isinstance(about, dict) or not _is_shallow(about):
            raise ValueError("its configuration is no object, or nested too deeply")
        if kept.get("sum") != _sum(tensors, kept["config"]):
            raise ValueError("its content is not what was written")
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a reader makes of damaged bytes
        raise ValueError(
            f"The 'path' parameter of load_checkpoint must be a whole checkpoint of this package, "
            f"a safetensors file with its configuration inside. Got {path}, which is not "
            f"({type(error).__name__}: {error}) instead: delete it."
        ) from error
    return tensors, about


def _sum(tensors: dict[str, Tensor], config: str) -> str:
    """Return the hash of what a file holds."""
    digest = hashlib.sha256(config.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + as_bytes(tensor))
    return digest.hexdigest()


def as_bytes(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor's numbers, of any type."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def to_json(value: Any) -> str:
    """Return JSON of a value in which numbers may be numpy's or torch's."""
    return json.dumps(value, default=lambda number: number.item())


def _is_shallow(value: Any, most: int = 50) -> bool:
    """Return whether a JSON value is nested no deeper than what compares and shows it can go."""
    inside = value.values() if isinstance(value, dict) else value
    return not isinstance(value, dict | list) or (
        most > 0 and all(_is_shallow(one, most - 1) for one in inside)
    )


def fits(value: Any, kind: Any) -> bool:
    """Return whether a JSON value is of a type such as dict[str, list[float]].

    A float may be written as an integer that is not too large for one; a bool is no number.
    """
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if origin is float:
        return type(value) is float or type(value) is int and abs(value) < 2**1023
    if type(value) is not origin or not inside:
        return type(value) is origin
    if origin is dict:
        return all(fits(k, inside[0]) and fits(v, inside[1]) for k, v in value.items())
    return all(fits(one, inside[0]) for one in value)
