"""The page on one's own data, models and methods: each piece of code on it runs, and holds."""

import re

import pytest
import torch
from toys import ROOT

import cfg_tutorial as ct

PAGE = (ROOT / "docs" / "your_own.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(words):
    """Run the piece of code that has some words in it; return its names."""
    (code,) = [one for one in CODE if words in one]
    lines = [line for line in code.splitlines() if line.strip() and "import " not in line]
    names = {"__name__": "__main__"}
    exec(code, names)
    return names, len(lines)


def test_there_is_a_piece_for_each():
    assert len(CODE) == 4


def test_data(tmp_path, monkeypatch):
    monkeypatch.setenv("CFG_TUTORIAL_CACHE", str(tmp_path))
    names, lines = run("from_arrays")
    assert lines <= 15 and set(names["table"].source) == {"exact", "mine"}
    assert names["pictures"].shape == (16, 1, 8, 8)


def test_a_network_of_diffusers():
    pytest.importorskip("diffusers")
    names, lines = run("UNet2DModel")
    assert lines <= 15 and torch.isfinite(names["x"]).all()


def test_generate_with_a_schedule_and_as_transformers_has_it():
    names, lines = run("LogitsProcessor")
    assert names["texts"].shape == (2, 10)
    body = re.search(r"class Guide.*?written = 0", PAGE, re.DOTALL)[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15
    net, prompt, negative, how = (names[n] for n in ("net", "prompt", "negative", "how"))
    net.lm_head.weight.data *= 12  # not trained, it would say nearly the same after any prompt
    torch.manual_seed(1)
    ours = net.generate(prompt, logits_processor=[names["Guide"](net, negative, 2.5, 8)], **how)
    torch.manual_seed(1)
    theirs = net.generate(prompt, guidance_scale=2.5, negative_prompt_ids=negative, **how)
    assert torch.equal(ours, theirs)
    torch.manual_seed(1)
    assert not torch.equal(ours, net.generate(prompt, **how))


def test_a_method():
    names, lines = run("@ct.method")
    assert lines <= 15 and set(names["table"].method) == {"cfg", "clipped"}


def test_forbidden_words_stay_forbidden_and_no_number_is_lost():
    tables = torch.tensor([[[0.5, 0.5, 0.0, 0.0]], [[0.2, 0.0, 0.8, 0.0]]])
    model = ct.TokenMixture(tables, torch.eye(2).double())
    tokens, level = torch.full((2, 1), model.mask_token), torch.tensor(1.0)
    for scale in (0.0, 1.0, 2.0, -1.0, torch.tensor([3.0, 0.5])):
        found = ct.guided(model, scale)(tokens, level, torch.tensor([0, 1]))
        assert not torch.isnan(found).any() and found[..., 3].isneginf().all()


def test_a_sampler_of_ones_own():
    @ct.sampler
    def sample_half(model, x, sigmas, label, seed=0, rows=None):
        for sigma, after in zip(sigmas, sigmas[1:], strict=False):
            x = model(x, sigma, label).lerp(x, after / sigma)
            yield x

    domain = ct.load("mixtures")
    how = {"label": 0, "n": 30, "progress": False}
    model = ct.guided(domain.exact(), 2.0)
    ours = domain.sample(model, sampler=sample_half, **how)
    assert torch.equal(ours, domain.sample(model, sampler=ct.sample_euler, **how))
    with pytest.raises(ValueError, match="'rule'"):
        ct.sampler(lambda model, x: x)
    with pytest.raises(ValueError, match="'label'"):
        sample_half(model, torch.zeros(2, 2), torch.tensor([1.0, 0]), torch.tensor([0, 9]))
