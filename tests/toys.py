"""What several tests share: toy models and samplers, laws of tokens, and what is asserted of both.

No file of tests takes anything from another: it is here, or a fixture in conftest.py.
"""

import collections
import contextlib
import importlib.util
import itertools
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from importlib import resources
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from scipy.stats import chi2
from torch import nn

import cfg_tutorial as ct

ROOT = Path(__file__).parents[1]
ODE = [ct.sample_euler, ct.sample_heun, ct.sample_dpmpp_2m]
ALL = [*ODE, ct.sample_ancestral]
TWO = [[0.8, 0.2], [0.2, 0.8]]  # the weights of two modes in two classes


def message(call, *parts):
    """Assert that a call raises a ValueError in the form of the project, with parts in it."""
    with pytest.raises(ValueError) as caught:
        call()
    text = str(caught.value)
    assert re.match(r"The (.*parameters?|domain) .*must .*\. Got .* instead\.", text, re.DOTALL), (
        text
    )
    for part in parts:
        assert str(part) in text, text


def last(states):
    """Return the last of some states."""
    return collections.deque(states, maxlen=1)[0]


def loaded(path):
    """Return the module that a file, named from the project's folder, holds."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def violations(page, selector: str) -> dict[str, list[str]]:
    """Return the serious violations that axe finds inside an element."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    (script,) = [p for p in resources.files(package.__name__).iterdir() if p.name == "axe.min.js"]
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("(inside) => axe.run(inside)", selector)["violations"]
    return {
        v["id"]: [node["html"][:80] for node in v["nodes"]]
        for v in found
        if v["impact"] in ("serious", "critical")
    }


# Models


class Counter:
    """A model that differs in every argument, works row by row, and counts its rows."""

    num_classes = null_label = 3
    p_uncond = 0.1

    def __init__(self):
        self.calls = []

    def __call__(self, x, level, label):
        self.calls.append(len(x))
        level = torch.as_tensor(level, dtype=x.dtype).expand(len(x))[:, None]
        return torch.tanh(x + label.to(x)[:, None]) * (1 + level) + 0.3 * label.to(x)[:, None]


class Dropping(nn.Module):
    """A network that drops numbers in training and notes the modes it runs in; or that breaks."""

    num_classes = null_label = 1
    p_uncond = 0.2

    def __init__(self, fails=False):
        super().__init__()
        self.layer, self.drop = nn.Linear(2, 2), nn.Dropout(0.5)
        self.fails, self.seen = fails, []

    def forward(self, x, level, label):
        self.seen.append((self.training, self.drop.training, torch.is_grad_enabled()))
        if self.fails and len(self.seen) > 3:
            raise RuntimeError("broken")
        return self.drop(self.layer(x))


# Class 0 forbids word 0 and no class forbids word 1, each at the first of two places.
FORBIDDING = [[[0.0, 0.5, 0.5], [0.2, 0.3, 0.5]], [[0.25, 0.0, 0.75], [0.4, 0.3, 0.3]]]


class Words:
    """A model of tokens by laws (labels, places or 1 for all, words), the last of no label."""

    p_uncond = 0.15

    def __init__(self, laws=FORBIDDING):
        self.laws = torch.tensor(laws)
        self.num_classes = self.null_label = len(laws) - 1
        self.mask_token = self.vocab_size = self.laws.shape[-1]

    def __call__(self, x, level, label):
        return self.laws[label].log().expand(-1, x.shape[1], -1)


def sharp(domain, factor):
    """Return the domain's network, not trained, sharp enough that what it is told shows."""
    torch.manual_seed(0)
    model = domain.model().eval()
    with torch.no_grad():
        for weight in model.net.parameters():
            if weight.ndim > 1:
                weight.mul_(factor)
    return model


# Laws of tokens, without the package


def all_states(length, words):
    """Return every row of tokens, in the order of a flattened table: (words ** length, length)."""
    return torch.tensor(list(itertools.product(range(words), repeat=length)))


class Tables:
    """A model of any joint laws, one table (words, words, ...) a label, the last without one."""

    p_uncond = 0.5

    def __init__(self, *laws):
        self.laws = torch.as_tensor(np.array(laws), dtype=torch.float64)
        self.num_classes = self.null_label = len(laws) - 1
        self.length, self.vocab_size = self.laws.ndim - 1, self.laws.shape[1]
        self.mask_token = self.vocab_size
        self.states = all_states(self.length, self.vocab_size)
        self.rows, self.levels, self.seen = [], [], []

    def __call__(self, tokens, level, label):
        self.rows.append(len(tokens))
        self.levels.append(level)
        self.seen.append(tokens)
        asked = torch.cat([tokens, label[:, None]], 1)
        rows, back = asked.unique(dim=0, return_inverse=True)
        at = rows[:, None, :-1]
        fits = ((at == self.states) | (at == self.mask_token)).all(2)
        joint = fits * self.laws.flatten(1)[rows[:, -1]]
        words = torch.nn.functional.one_hot(self.states, self.vocab_size).double()
        law = torch.einsum("ns,slw->nlw", joint, words) / joint.sum(1)[:, None, None]
        return law.nan_to_num(0).log()[back]


def power(cond, uncond, s):
    """Return cond^s uncond^(1 - s), 0 where either is, with no rule for 0 at 0 or 1 needed."""
    both = (cond > 0) & (uncond > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.exp(s * np.log(cond) + (1 - s) * np.log(uncond))
    return np.where(both, found, cond if s == 1 else uncond if s == 0 else 0.0)


def tilted(cond, uncond, s):
    """Return p_c^s p_u^(1 - s) and its sum Z."""
    law = power(np.array(cond, float), np.array(uncond, float), s)
    return law / law.sum(), law.sum()


def p_value(counts, law):
    """Return the chi-square test's p-value; what the law forbids must not have come at all."""
    counts, law = np.ravel(counts), np.ravel(law)
    expected = counts.sum() * law[law > 0] / law.sum()
    if counts[law == 0].any():
        return 0.0
    assert expected.min() > 4  # else the chi-square law does not hold
    statistic = ((counts[law > 0] - expected) ** 2 / expected).sum()
    return chi2.sf(statistic, len(expected) - 1)


def nelbo(model, law, label=0):
    """Return the mean over rows, numbers of masked places and their choice, of the bound."""
    length = model.length
    states, total = all_states(length, model.vocab_size), 0.0
    labels = torch.full((len(states),), label)
    for number in range(1, length + 1):
        chosen = list(itertools.combinations(range(length), number))
        for places in chosen:
            hidden = states.clone()
            hidden[:, places] = model.mask_token
            log_prob = model(hidden, torch.tensor(number / length), labels)
            cost = -log_prob.gather(2, states[..., None])[:, places, 0].sum(1)
            mean = (law * cost.masked_fill(law == 0, 0)).sum().item()
            total += length / number * mean / len(chosen) / length
    return total


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def served(command, port, folder, environment):
    """Run a server with none of the machine's settings, wait until it answers, and end it."""
    environment = {key: value for key, value in environment.items() if "JUPYTER" not in key} | {
        "JUPYTER_PATH": environment.get("JUPYTER_PATH", ""),
        "JUPYTER_PREFER_ENV_PATH": "1",
        **{f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")},
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join([os.getcwd(), environment.get("PYTHONPATH", "")]),
    }
    environment.pop("MPLBACKEND", None)  # as for a person: the kernel chooses
    log = (folder / "log.txt").open("w", encoding="utf-8")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/static/", timeout=2)
            except urllib.error.HTTPError:
                break
            except OSError:
                assert server.poll() is None, (folder / "log.txt").read_text(encoding="utf-8")
                time.sleep(0.2)
        yield server
    finally:
        parts = [*psutil.Process(server.pid).children(recursive=True), server]
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        for part in parts[:-1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.kill()
        log.close()


def printed(folder) -> str:
    """Return the address that the playground, served in a folder, has printed."""
    log = (folder / "log.txt").read_text(encoding="utf-8")
    return re.search(r"The playground is at (\S+)", log)[1]
