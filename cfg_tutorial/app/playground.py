"""Serves the playground notebook to this machine alone. Knows nothing of what is in it."""

import subprocess
import sys
from importlib.util import find_spec

from cfg_tutorial.training import data_path

ADDRESS = "127.0.0.1"


def command(port: int, browser: bool = True) -> list[str]:
    """Return the command that serves the playground under Voila."""
    options = [f"--Voila.ip={ADDRESS}", f"--port={port}"]
    if not browser:
        options.append("--no-browser")
    path = data_path("playground.ipynb", "notebooks")
    return [sys.executable, "-m", "voila", str(path), *options]


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
        return subprocess.call(command(port, browser))
    except KeyboardInterrupt:
        return 0
