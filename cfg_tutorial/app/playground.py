"""The command that serves the playground, to its user alone. Knows nothing of the page."""

import contextlib
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from importlib.util import find_spec
from pathlib import Path

ADDRESS = "127.0.0.1"
NUM_TRIED = 50  # ports from the one that is asked for


def main(port: int, browser: bool = True) -> int:
    """Serve the playground until it is interrupted or terminated; return the exit status.

    The address that is printed carries a token, without which nothing is served.
    """
    if find_spec("voila") is None:
        print(
            "The playground needs Voila, which is missing here. Install it with\n"
            f'  "{sys.executable}" -m pip install voila',
            file=sys.stderr,
        )
        return 1
    free = free_port(port)
    if free is None:
        last = min(port + NUM_TRIED, 65536) - 1
        print(f"No port from {port} to {last} is free: name another with --port.", file=sys.stderr)
        return 1
    # Voila looks there for the template that loads nothing from outside.
    ours = str(Path(__file__).with_name("jupyter"))
    os.environ["JUPYTER_PATH"] = os.pathsep.join([ours, os.environ.get("JUPYTER_PATH", "")])
    from cfg_tutorial.app.server import serve

    token = secrets.token_urlsafe(24)
    address = f"http://{ADDRESS}:{free}/?token={token}"

    def ready() -> None:
        print(f"The playground is at {address} ; Ctrl-C ends it.", flush=True)
        if browser:
            webbrowser.open(page.as_uri())

    with tempfile.TemporaryDirectory() as folder:
        # A file that only its user reads: the command line of a browser is seen by others.
        page = Path(folder) / "playground.html"
        page.write_text(f'<meta http-equiv="refresh" content="0; url={address}">', encoding="utf-8")
        with contextlib.suppress(KeyboardInterrupt):  # before it listened
            serve(ADDRESS, free, token, ready)
    return 0


def free_port(first: int) -> int | None:
    """Return a port that nobody listens at: the first of some, or None."""
    for port in range(first, min(first + NUM_TRIED, 65536)):
        with socket.socket() as one:
            if os.name != "nt":  # a port that was left a moment ago is free
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((ADDRESS, port))
                return port
            except OSError:
                continue
    return None
