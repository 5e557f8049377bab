"""The README's examples, run as a reader would; what it promises is there."""

import re

import matplotlib
import pytest
import torch
from toys import ROOT

import cfg_tutorial as ct

README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_after(words: str) -> str:
    return re.search(r"```python\n(.*?)```", README[README.index(words) :], re.DOTALL)[1]


def test_your_own_network_in_15_lines():
    code = code_after("<!-- example -->")
    lines = [line for line in code.splitlines() if line.strip()]
    assert len([line for line in lines if "import " not in line]) <= 15
    torch.manual_seed(0)
    found = {}

    def note(scale, coverage):
        found[scale] = coverage

    exec(code, {"print": note})
    assert found[0].alignment == pytest.approx(0.5, abs=0.04)
    assert found[1].validity > 0.85 and found[1].alignment > 0.6
    assert found[8].alignment > found[1].alignment > found[0].alignment + 0.1
    assert found[8].effective_modes < found[1].effective_modes - 2


def test_first_example():
    matplotlib.use("agg")
    said = []
    exec(code_after("## Use it"), {"print": said.append})
    assert isinstance(said[0], ct.Coverage) and said[0].alignment > 0.75


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) >= 4
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_table_names_every_notebook():
    written = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert written == set(re.findall(r"notebooks/(\w+)\.ipynb", README))
