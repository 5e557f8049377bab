"""Voila behind a gate, with a few kernels. Knows nothing of the notebook that it serves."""

import asyncio
import hmac
import signal
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, RequestHandler
from voila.app import Voila

from cfg_tutorial.files import data_path

NUM_KERNELS = 3  # 630 MB each
# What widgets need under Voila; other extensions, made for a newer JupyterLab, stop in it.
EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8"]
# The token becomes a cookie on a page of its own: so it leaves the address, and what follows comes
# from this site, however the visitor came.
WELCOME = (
    '<!doctype html><link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0; url=/"><p>Opening the playground.'
)


class FewKernels(AsyncMappingKernelManager):
    """Starts a few kernels and no more, and ends those that no page is connected to."""

    cull_idle_timeout, cull_interval = 60, 15  # in seconds
    transport_encryption = "auto"  # else every kernel warns of eavesdroppers

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.turn = asyncio.Lock()

    async def start_kernel(self, **options: Any) -> str:  # type: ignore[override]
        for _ in range(30):
            if len(self) < NUM_KERNELS:
                break
            await asyncio.sleep(0.1)  # a page that is loaded anew comes before its old kernel ends
        async with self.turn:
            if len(self) >= NUM_KERNELS:
                said = f"At most {NUM_KERNELS} pages at once. Close one, wait a minute, and reload."
                raise HTTPError(503, reason=said)
            return await super().start_kernel(**options)

    async def shutdown_all(self, now: bool = True) -> None:  # type: ignore[override]
        """Kill: a kernel that is interrupted while it starts prints a traceback."""
        await super().shutdown_all(now=now)


class Gate:
    """Says which requests are let in: those of this user's browser, from this site."""

    def __init__(self, address: str, port: int, token: str):
        end = "" if port == 80 else f":{port}"  # as browsers write it
        self.hosts = {f"{name}{end}" for name in (address, "localhost")}
        self.token, self.cookie = token, f"cfg-tutorial-{port}"

    def is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    def refusal(self, request: HTTPServerRequest) -> str:
        """Return why a request is refused, "" if it is not."""
        if request.headers.get("Host", "").lower() not in self.hosts:
            return "This server has another name."  # a name that was made to point here
        if request.path == "/" and self.is_token(_argument(request, "token")):
            return ""
        origin = request.headers.get("Origin", "").lower().removeprefix("http://")
        foreign = request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if foreign or (origin and origin not in self.hosts):
            return "Another site may not ask for this."
        if not self.is_token(_cookie(request, self.cookie)):
            return "Open the address that the command printed, with its token."
        return ""


class _Answer(RequestHandler):
    """Answers for the gate: a refusal, or a welcome with the cookie."""

    def initialize(self, gate: Gate, refusal: str) -> None:
        self.gate, self.refusal = gate, refusal

    def prepare(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        if self.refusal:
            self.set_status(403)
            self.finish(self.refusal)
            return
        self.set_cookie(self.gate.cookie, self.gate.token, httponly=True, samesite="Strict")
        self.finish(WELCOME)


class Server(Voila):
    """Voila, whose every request goes through the gate."""

    gate: Gate
    ready: Callable[[], None]

    def listen(self) -> None:
        behind = self.app.find_handler

        def find_handler(request: HTTPServerRequest, **options: Any) -> Any:
            refusal = self.gate.refusal(request)
            if refusal or _argument(request, "token"):
                about = {"gate": self.gate, "refusal": refusal}
                return self.app.get_handler_delegate(request, _Answer, about)
            return behind(request, **options)

        self.app.find_handler = find_handler
        # The gate asks for more than this check, which stops a page that is left from saying so.
        self.app.settings["disable_check_xsrf"] = True
        self.ioloop = IOLoop.current()
        # Not as an exception in whatever runs, and also where a shell ignores an interrupt.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop_soon)
        super().listen()

    def _stop_soon(self, *_: Any) -> None:
        self.ioloop.add_callback_from_signal(self.ioloop.stop)

    def launch_browser(self) -> None:
        self.ready()  # called once it listens


def serve(address: str, port: int, token: str, ready: Callable[[], None]) -> None:
    """Serve the playground until an interrupt or SIGTERM; end its kernels.

    Parameters
    ----------
    ready : called once the server listens
    """
    server = Server()
    server.gate, server.ready = Gate(address, port, token), ready
    options = [f"--Voila.ip={address}", f"--port={port}", "--Voila.port_retries=0"]
    options += ["--Voila.log_level=ERROR", "--template=offline", "--Voila.open_browser=True"]
    options += [f"--VoilaConfiguration.extension_allowlist={name}" for name in EXTENSIONS]
    server.initialize([str(data_path("playground.ipynb", "notebooks")), *options])
    server.voila_configuration.multi_kernel_manager_class = FewKernels
    server.start()


def _argument(request: HTTPServerRequest, name: str) -> str:
    return request.arguments.get(name, [b""])[-1].decode(errors="replace")


def _cookie(request: HTTPServerRequest, name: str) -> str:
    try:
        found = SimpleCookie(request.headers.get("Cookie", "")).get(name)
    except Exception:  # whatever is wrong with it
        return ""
    return found.value if found else ""
