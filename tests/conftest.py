"""What holds for every test: one thread, no connection, and the same examples every time."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "agg"

import shutil
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]


class Connection(Exception):
    """A test tried to reach another machine."""


def is_local(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else address
    if host in (None, "", "localhost") or not isinstance(address, tuple):
        return True  # a socket in the file system, or this machine
    try:
        return ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def no_connection():
    """Make every attempt to reach another machine an error."""

    def guarded(name):
        original = getattr(socket.socket, name)

        def method(self, *args):
            address = args[-1]
            if not is_local(address):
                raise Connection(f"A test opens no connection. Got {address!r} instead.")
            return original(self, *args)

        return method

    lookup = socket.getaddrinfo

    def guarded_lookup(host, *args, **kwargs):
        if not is_local((host,)):
            raise Connection(f"A test looks up no other machine. Got {host!r} instead.")
        return lookup(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(name))
        patch.setattr(socket, "getaddrinfo", guarded_lookup)
        yield


@pytest.fixture(autouse=True)
def figures():
    """Let pyplot forget each test's figures."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """The files that git holds or would take; without git, all but what is hidden."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = [p for p in ROOT.rglob("*") if not any(q.startswith(".v") for q in p.parts)]
    return sorted({path for path in found if path.is_file()})


@pytest.fixture(scope="module")  # not longer: its event loop would be in others' way
def browser():
    """Chromium, without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
