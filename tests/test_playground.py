"""The playground's server: whom it lets in, how many kernels it starts, and how it ends."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import psutil
import pytest
from toys import free_port, printed, served

from cfg_tutorial.app import cli

if not find_spec("voila"):
    pytest.skip("Voila is not installed", allow_module_level=True)

COMMAND = [sys.executable, "-m", "cfg_tutorial.app.cli", "playground", "--no-browser"]


class Site:
    """A playground that is served, and requests to it."""

    def __init__(self, port, folder, process):
        self.port, self.process = port, process
        found = re.fullmatch(rf"http://127\.0\.0\.1:{port}/\?token=([\w-]{{32}})", printed(folder))
        self.token = found[1]
        self.cookie = {"Cookie": self.get(f"/?token={self.token}").headers["Set-Cookie"]}

    def get(self, path="/", method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    def kernels(self):
        found = []
        for part in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has just ended
                found += [part] if "ipykernel" in " ".join(part.cmdline()) else []
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("playground"), free_port()
    with served([*COMMAND, f"--port={port}"], port, folder, os.environ) as process:
        yield Site(port, folder, process)


PATHS = ["/", "/voila/static/voila.js", "/api/kernels/00000000-0000-0000-0000-000000000000", "/x"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_without_the_token_nothing_is_served(site, path, method):
    """A request without the token of the printed address is refused, whatever it asks for.

    Before: every user of the machine could connect.
    """
    for headers in ({}, {"Cookie": f"cfg-tutorial-{site.port}=guess"}, {"Cookie": '"=;\xff'}):
        answer = site.get(path, method, **headers)
        assert answer.status == 403 and "token" in answer.text
    assert site.get(f"{path}?token=guess", method).status == 403
    assert not site.kernels()


@pytest.mark.parametrize("path", PATHS)
def test_another_name_of_the_server_is_refused(site, path):
    """A request whose Host is not this machine's own address is refused, with the token too.

    Before: a name that was made to point here could read the widgets' messages.
    """
    for host in ("evil.example", f"evil.example:{site.port}", "127.0.0.1", "127.0.0.1:1", ""):
        for where in (path, f"/?token={site.token}"):
            assert site.get(where, Host=host, **site.cookie).status == 403
    assert not site.kernels()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_what_another_site_asks_for_is_refused(site, headers):
    """A picture or script of another site that asks for the page is refused, with the cookie too.

    Before: each such request started a kernel of 630 MB.
    """
    for path in PATHS:
        assert site.get(path, **headers, **site.cookie).status == 403
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    upgrade |= {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    channels = f"{PATHS[2]}/channels"
    assert site.get(channels, **headers, **site.cookie, **upgrade).status == 403
    assert not site.kernels()


def test_the_token_becomes_a_cookie_that_other_sites_cannot_use(site):
    """The token leaves the address at once, for a cookie of this site alone."""
    answer = site.get(f"/?token={site.token}", Sec_Fetch_Site="cross-site")  # from the file opened
    assert answer.status == 200 and 'http-equiv="refresh" content="0; url=/"' in answer.text
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_a_page_that_is_left_ends_its_kernel(site):
    """A page that is closed or loaded anew ends its kernel at once.

    Before: Voila's own check refused the page's last request, so three reloads filled the server.
    """
    page = site.get("/", **site.cookie).text
    kernel = re.search(r'"kernelId": "([0-9a-f-]+)"', page)[1]
    assert len(site.kernels()) == 1
    own = {"Origin": f"http://127.0.0.1:{site.port}", **site.cookie}
    assert site.get(f"/voila/api/shutdown/{kernel}", "POST", **own).status == 204
    assert not site.kernels()


def test_ten_requests_start_three_kernels(site):
    """Of ten pages at once three are served and seven are told why not.

    Before: ten kernels of 630 MB each.
    """
    most = []
    with ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(site.get, "/", **site.cookie) for _ in range(10)]
        while not all(answer.done() for answer in answers):
            most.append(len(site.kernels()))
            time.sleep(0.1)
    codes = sorted(answer.result().status for answer in answers)
    assert codes == [200] * 3 + [503] * 7 and max(most) == 3 == len(site.kernels())
    refused = site.get("/", **site.cookie)
    assert "At most 3 pages at once" in refused.reason and refused.reason in refused.text
    assert "://" not in refused.text, "it loads something from outside"


def test_a_port_that_is_taken_gives_way_to_one_that_is_printed(tmp_path):
    """Where the port is taken the next free one is served, and printed.

    Before: 8866 was printed and 8867 served.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with started(tmp_path, port) as (process, address):
            other = int(address.split(":")[2].split("/")[0])
            assert other != port
            listening = psutil.Process(process.pid).net_connections("inet")
            here = [c.laddr for c in listening if c.status == psutil.CONN_LISTEN]
            assert [(place.ip, place.port) for place in here] == [("127.0.0.1", other)]


@contextlib.contextmanager
def started(folder, port):
    """Start the command in a folder; yield it and the address that it prints."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONUNBUFFERED": "1"}
    log = (folder / "log.txt").open("w", encoding="utf-8")
    process = subprocess.Popen(
        [*COMMAND, f"--port={port}"], cwd=folder, env=environment, stdout=log, stderr=log
    )
    try:
        for _ in range(600):
            if "The playground is at" in (folder / "log.txt").read_text(encoding="utf-8"):
                break
            assert process.poll() is None, (folder / "log.txt").read_text(encoding="utf-8")
            time.sleep(0.1)
        yield process, printed(folder)
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name == "nt", reason="no such signals on this system")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_all_that_it_started(tmp_path, number):
    """SIGTERM and Ctrl-C end the server and its kernels, without a traceback.

    Before: SIGTERM left Voila and its kernels running.
    """
    with started(tmp_path, free_port()) as (process, address):
        port = int(address.split(":")[2].split("/")[0])
        site = Site(port, tmp_path, process)
        assert site.get("/", **site.cookie).status == 200
        parts = psutil.Process(process.pid).children(recursive=True)
        assert site.kernels()
        process.send_signal(number)
        assert process.wait(30) == 0
        _, alive = psutil.wait_procs(parts, timeout=30)
    assert alive == [] and "Traceback" not in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999", "http"])
def test_a_port_that_cannot_be_is_refused(port, capsys):
    """A port that is none is one line that says what a port is.

    Before: Voila started and failed with a traceback.
    """
    with pytest.raises(SystemExit) as stop:
        cli.main(["playground", f"--port={port}"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and port in said
    assert "from 1 to 65535" in said or "invalid port value" in said
