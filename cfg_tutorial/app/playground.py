"""Serves the playground notebook to this machine alone. Knows nothing of what is in it."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from cfg_tutorial.training import data_path

ADDRESS = "127.0.0.1"
# What widgets need under Voila; other extensions, made for a newer JupyterLab, stop in it.
EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8"]


def command(port: int, browser: bool = True) -> list[str]:
    """Return the command that serves the playground under Voila."""
    options = [f"--Voila.ip={ADDRESS}", f"--port={port}", "--template=offline"]
    options += [f"--VoilaConfiguration.extension_allowlist={name}" for name in EXTENSIONS]
    if not browser:
        options.append("--no-browser")
    path = data_path("playground.ipynb", "notebooks")
    return [sys.executable, "-m", "voila", str(path), *options]


def environment() -> dict[str, str]:
    """Return the environment that lets Voila find the template that loads nothing from outside."""
    ours = str(Path(__file__).with_name("jupyter"))
    return {
        **os.environ,
        "JUPYTER_PATH": os.pathsep.join([ours, os.environ.get("JUPYTER_PATH", "")]),
    }


def main(port: int, browser: bool = True) -> int:
    """Serve the playground until it is interrupted; return the exit status."""
    if find_spec("voila") is None:
        print(
            "The playground needs Voila, which is missing here. Install it with\n"
            f'  "{sys.executable}" -m pip install voila',
            file=sys.stderr,
        )
        return 1
    print(f"The playground is at http://{ADDRESS}:{port}/ ; Ctrl-C ends it.", flush=True)
    try:
        return subprocess.call(command(port, browser), env=environment())
    except KeyboardInterrupt:
        return 0
