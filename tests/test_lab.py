"""The widgets where people meet them: a real JupyterLab and a real Voila, in a real browser."""

import contextlib
import json
import os
import shutil
import sys
from importlib.util import find_spec

import psutil
import pytest
from toys import free_port, printed, served, violations

from cfg_tutorial.app import playground
from cfg_tutorial.domains import DOMAINS

QUIET = {  # no question about news over the picture, and every cell in the page, seen or not
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
PICTURE = "figure img[src^='data:image/png']"


@contextlib.contextmanager
def opened(browser, address):
    """Open a page; at the end it has asked no other machine and nothing has gone wrong."""
    wrong = []
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda r: (
            r.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))
            or wrong.append(r.url)
        ),
    )
    page.goto(address)
    yield page
    page.close()
    assert wrong == []


def changes(page, before: str) -> str:
    """Return the words of the first visible picture once they are others than before."""
    for _ in range(200):
        words = page.locator(f"{PICTURE}:visible").first.get_attribute("alt")
        if words != before:
            return words
        page.wait_for_timeout(100)
    raise AssertionError(f"the picture stays at {before!r}")


def try_explorer(page, anew: bool = True) -> None:
    """Move the slider, press play, sample another class: the one picture changes each time."""
    pictures = page.locator(f"{PICTURE}:visible")
    pictures.first.scroll_into_view_if_needed()
    words = pictures.first.get_attribute("alt")
    assert "guidance_scale 3" in words
    handle = page.locator(".noUi-handle:visible").first
    handle.focus()
    source = pictures.first.get_attribute("src")
    page.keyboard.press("ArrowRight")
    words = changes(page, words)
    assert "guidance_scale 4" in words and pictures.first.get_attribute("src") != source
    page.get_by_label("guidance_scale", exact=True).locator("visible=true").first.select_option("0")
    words = changes(page, words)
    assert "guidance_scale 0" in words
    page.locator("button:visible", has_text="Play").first.click()
    words = changes(page, words)
    assert "guidance_scale 0.5" in words
    page.locator("button:visible", has_text="Play").first.click()
    if anew:
        page.wait_for_timeout(1000)
        words = pictures.first.get_attribute("alt")
        page.get_by_label("class", exact=True).locator("visible=true").first.select_option(index=1)
        changes(page, words)
    assert pictures.count() == 1, "one picture, not a pile"


def has_run(page, which: str, seconds: int) -> bool:
    """Wait until a code cell, the first or the last, has been run."""
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    for _ in range(10 * seconds):
        prompt = prompts.first if which == "first" else prompts.last
        if prompt.inner_text().strip("[]: ").isdigit():
            return True
        page.wait_for_timeout(100)
    return False


def run_all(page) -> None:
    """Press "Run All Cells"; again where a kernel that has just started did not hear it."""
    for _ in range(3):
        page.wait_for_timeout(2000)
        page.locator(".lm-MenuBar-item", has_text="Run").click()
        page.locator(".lm-Menu-item", has_text="Run All Cells").first.click()
        page.wait_for_timeout(1000)
        if has_run(page, "first", 30):
            return
    raise AssertionError("the kernel runs nothing")


def test_a_lesson_in_jupyterlab(browser, root, tmp_path):
    if not find_spec("jupyterlab"):
        pytest.skip("JupyterLab is not installed")
    for name, values in QUIET.items():
        path = tmp_path / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / "lessons").mkdir()
    shutil.copy(root / "notebooks/00_start_here.ipynb", tmp_path / "lessons")
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token="]
    command += [f"--ServerApp.root_dir={tmp_path / 'lessons'}"]
    address = f"http://127.0.0.1:{port}/lab/tree/00_start_here.ipynb"
    with (
        served(command, port, tmp_path, os.environ),
        opened(browser, address) as page,
    ):
        page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
        page.locator("text=| Idle").first.wait_for()
        assert page.locator(PICTURE).count() == 0, "the kept copy holds a picture, no dead widget"
        assert page.locator("text=Error displaying widget").count() == 0
        run_all(page)
        page.locator(PICTURE).first.wait_for(timeout=240_000)
        assert has_run(page, "last", 240)
        complaints = page.locator(".jp-OutputArea-output[data-mime-type*='stderr']")
        assert [text for text in complaints.all_inner_texts() if text.strip()] == []
        try_explorer(page)
        found = violations(page, ".jp-OutputArea-output:has(figure img)")
        # ipywidgets names no slider's handle; the scale's drop-down beside it has a name.
        assert len(found.pop("aria-input-field-name", [])) <= 1
        assert found == {}
        page.screenshot(path=tmp_path / "lab.png")

        choice = page.locator(".widget-radio-box input").first
        choice.scroll_into_view_if_needed()
        choice.check()
        page.locator("button", has_text="Keep my prediction").first.click()
        page.locator("button", has_text="Show what was measured").first.click()
        page.locator("text=Measured:").first.wait_for()
        kept = json.loads((tmp_path / "lessons/predictions.json").read_text(encoding="utf-8"))
        assert len(kept) == 1
        page.screenshot(path=tmp_path / "predict.png")


def test_the_playground_in_voila(browser, tmp_path):
    if not find_spec("voila"):
        pytest.skip("Voila is not installed")
    port = free_port()
    command = [sys.executable, "-m", "cfg_tutorial.app.cli", "playground", "--no-browser"]
    with (
        served([*command, f"--port={port}"], port, tmp_path, os.environ) as server,
        opened(browser, printed(tmp_path)) as page,
    ):
        page.locator(PICTURE).first.wait_for()
        listening = {
            one.laddr.ip
            for one in psutil.Process(server.pid).net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}, "served to this machine alone"
        assert page.locator("[role='tab'], .lm-TabBar-tab").all_inner_texts() == list(DOMAINS)
        for i, name in enumerate(DOMAINS):
            page.locator("[role='tab'], .lm-TabBar-tab").nth(i).click()
            page.locator(f"{PICTURE}:visible").first.wait_for(timeout=180_000)
            try_explorer(page, anew=name in ("mixtures", "text"))
            assert page.locator("audio:visible").count() == (4 if name == "audio" else 0)
            page.screenshot(path=tmp_path / f"{name}.png")


def test_without_voila_one_is_told_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(playground, "find_spec", lambda name: None)
    assert playground.main(1) == 1
    assert "-m pip install voila" in capsys.readouterr().err
