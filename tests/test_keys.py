"""Keys: what makes another result has another key, and what makes the same has the same again."""

import collections
import functools
import importlib
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import cfg_tutorial as ct
from cfg_tutorial import training
from cfg_tutorial.domains.mixtures import Mixtures
from cfg_tutorial.keys import Unkeyed, key_of
from cfg_tutorial.sweep import cell_key, make_cells

SCALES = [0.0, 1.0, 3.0]
STEPS = {"train_steps": 30, "progress": False}


def rule(text, **names):
    """Return the function ``f`` that a text defines, as a notebook's cell would."""
    space = {"ct": ct, "torch": torch, "functools": functools, "__name__": "__main__", **names}
    exec(compile(textwrap.dedent(text), f"<cell {len(text)}>", "exec"), space)
    return space["f"]


PLAIN = "def f(model, scale):\n    return ct.guided(model, scale)\n"
BIG = "def f(model, scale):\n    return ct.guided(model, scale * table.mean())\n"
HELPED = "def f(model, scale):\n    return helper(model, scale)\n"
KNOB = "def f(model, scale, *, knob={}):\n    return ct.guided(model, knob * scale)\n"
CLASS = """
class Rule:
    factor = {}
    def __call__(self, model, scale):
        return ct.guided(model, self.factor * scale)
f = Rule()
"""
DEEP = """
def f(model, scale):
    def inner(s):
        return {} * s
    return ct.guided(model, inner(scale))
"""
SAID = 'def f(model, scale):\n    """{}."""\n    return ct.guided(model, scale)\n'
table = torch.zeros(5000)
other = table.clone()
other[2500] = 1e-3  # repr leaves the middle out


@pytest.mark.parametrize(
    "one, two",
    [
        (rule(PLAIN), rule(PLAIN.replace("scale)\n", "2 * scale)\n", 2))),
        (rule(BIG, table=table), rule(BIG, table=other)),
        (rule(BIG, table=table.numpy()), rule(BIG, table=other.numpy())),
        (rule(HELPED, helper=rule(PLAIN)), rule(HELPED, helper=rule(KNOB.format(2)))),
        (rule(KNOB.format(1)), rule(KNOB.format(2))),
        (rule(KNOB.format(1).replace("*, ", "")), rule(KNOB.format(2).replace("*, ", ""))),
        (rule(CLASS.format(1)), rule(CLASS.format(2))),
        (rule(DEEP.format(1)), rule(DEEP.format(2))),
        (functools.partial(rule(PLAIN), scale=2), functools.partial(rule(PLAIN), scale=3)),
        (lambda m, s, t=table: ct.guided(m, s), lambda m, s, t=other: ct.guided(m, s)),
        (rule("import math\ndef f(m, s):\n    return ct.guided(m, s * math.pi)"),
         rule("import math\ndef f(m, s):\n    return ct.guided(m, s * math.e)")),
        (rule(HELPED, helper=nn.Linear(2, 2)), rule(HELPED, helper=nn.Linear(2, 2))),
    ],
)  # fmt: skip
def test_what_does_something_else_has_another_key(one, two):
    """A function that computes something else has another key, wherever the change is.

    Before: globals, helpers, keyword defaults, class attributes and long tensors did not count.
    """
    assert key_of(one) != key_of(two)


def scaled(by):
    """Return ``ct.guided`` decorated in three ways, each with a factor."""

    @functools.wraps(ct.guided)
    def wrapped(model, scale):
        return ct.guided(model, by * scale)

    @functools.cache
    def factor():
        return by

    class Rule:
        def __init__(self):
            functools.update_wrapper(self, rule(PLAIN))
            self.by = by

        def __call__(self, model, scale):
            return ct.guided(model, self.by * scale)

    return [wrapped, lambda model, scale: ct.guided(model, factor() * scale), Rule()]


def network(change=None):
    """Return a network, always with the same numbers, changed."""
    torch.manual_seed(0)
    act = nn.SiLU()
    net = nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2))
    if change == "buffer":
        net.register_buffer("k", torch.ones(1), persistent=False)
    if change == "hook":
        net.register_forward_hook(lambda module, x, y: 2 * y)
    if change == "frozen":
        net[0].weight.requires_grad_(False)
    if change == "shared":
        net.append(act)
    if change == "tied":
        net[2].weight = net[0].weight
    return net


def test_decorators_and_nesting_count():
    """What is under a decorator or in a cache counts, and so does how values are nested.

    Before: a wrapped function had the key of the one that it is called after.
    """
    for one, two, plain in zip(scaled(1), scaled(2), [ct.guided] * 3, strict=True):
        assert len({key_of(one), key_of(two), key_of(plain)}) == 3
    assert key_of([[1], 2]) != key_of([[1, 2]])
    assert key_of({"a": {"x": 1}, "b": 2}) != key_of({"a": {"x": 1, "b": 2}})
    assert key_of(np.ma.array([1, 2], mask=[0, 1])) != key_of(np.ma.array([1, 2], mask=[1, 0]))
    assert key_of(collections.defaultdict(lambda: 1)) != key_of(collections.defaultdict(lambda: 2))
    for kind in ("enum.IntEnum", "float", "dict"):
        texts = [f"import enum\nclass f({kind}):\n    {{}}def k(s): return {k}" for k in (2, 3)]
        lines = [t.format("A = 1\n    " if "Enum" in kind else "") for t in texts]
        assert key_of(rule(lines[0])) != key_of(rule(lines[1]))
        assert key_of(rule(lines[0])) == key_of(rule(lines[0]))


@pytest.mark.parametrize("change", ["buffer", "hook", "frozen", "shared", "tied"])
def test_what_a_network_does_counts_beside_its_weights(change):
    """Hooks, buffers that are not saved, frozen, tied and repeated parts change a network's key.

    Before: its weights and public attributes alone did.
    """
    assert key_of(network()) == key_of(network()) != key_of(network(change))


def test_modules_of_ones_own_count_as_they_are_now(tmp_path, monkeypatch):
    """A helper module counts by the values that are used of it, at any depth, as loaded.

    Before: the text of its file, which may have been edited since, and not what that imports.
    """
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_inner.py").write_text("K = 1.0\n", encoding="utf-8")
    (tmp_path / "own_outer.py").write_text("from own_inner import K\n", encoding="utf-8")
    outer = importlib.import_module("own_outer")
    within = "def f(m, s):\n    from own_outer import K\n    return ct.guided(m, s * K)"
    rules = [rule("import own_outer\ndef f(m, s):\n    return ct.guided(m, s * own_outer.K)")]
    rules.append(rule(within))
    keys = [key_of(one) for one in rules]
    (tmp_path / "own_outer.py").write_text("K = 0.0\n", encoding="utf-8")  # not loaded yet
    assert [key_of(one) for one in rules] == keys
    outer.K = 0.0
    assert all(key_of(one) != key for one, key in zip(rules, keys, strict=True))


def test_modules_that_import_each_other_have_a_key(tmp_path, monkeypatch):
    """Two helper modules that import each other count by what is used of both.

    Before: no end to it, so that a method that used them had no key.
    """
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = "import own_right\nK = 1.0\ndef f():\n    return own_right.own_left.K * own_right.J\n"
    (tmp_path / "own_left.py").write_text(text, encoding="utf-8")
    (tmp_path / "own_right.py").write_text("import own_left\nJ = 1.0\n", encoding="utf-8")
    left, right = map(importlib.import_module, ("own_left", "own_right"))
    method = rule("import own_left\ndef f(m, s):\n    return ct.guided(m, s * own_left.f())")
    keys = [[key_of(one) for one in (method, left, left.f)]]
    for module, name in ((left, "K"), (right, "J")):
        setattr(module, name, 2.0)
        keys.append([key_of(one) for one in (method, left, left.f)])
    assert all(len({*of_one}) == 3 for of_one in zip(*keys, strict=True))


@pytest.mark.parametrize("put", ["training_batch", "data", "diffusion", "deviation"])
def test_a_domain_that_is_changed_in_place_has_another_key(put):
    """What is put on a domain of the package counts.

    Before: the weights of the domain as it was came back.
    """
    domain = ct.load("mixtures")
    key = domain.key()
    if put == "diffusion":
        kind = type("Mine", (ct.Gaussian,), {"loss": lambda self, *a: super(kind, self).loss(*a)})
        domain.diffusion = kind(**vars(domain.diffusion))
    else:
        grid = ct.load("mixtures", layout="grid")
        setattr(domain, put, 0.02 if put == "deviation" else getattr(grid, put))
    assert domain.key() != key == ct.load("mixtures").key()


@pytest.mark.parametrize(
    "make",
    [
        lambda blank: rule(blank + PLAIN),
        lambda blank: rule(blank + BIG, table=table.clone()),
        lambda blank: rule(blank + HELPED, helper=rule(blank + blank + PLAIN)),
        lambda blank: rule(blank + KNOB.format(2)),
        lambda blank: rule(blank + CLASS.format(2)),
        lambda blank: rule(blank + DEEP.format(2)),
        lambda blank: functools.partial(rule(blank + KNOB.format(1)), knob=3.0),
        lambda blank: ct.interval(3.0, lo=0.2, hi=1.6),
        lambda blank: {"b": [1, 2.5], "a": (np.float32(3), {1, 2, 3})},
    ],
)
def test_what_does_the_same_has_the_same_key(make):
    """Blank lines, comments, file names and addresses change no key.

    Before: a line above, or a restart of the kernel, and nothing was found again.
    """
    assert key_of(make("")) == key_of(make("\n\n# a comment\n"))


def test_keys_are_those_of_another_process():
    """Another process finds what this one kept.

    Before: addresses were part of a key.
    """
    text = f"""
    import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
    import test_keys as t
    rules = [t.rule(t.PLAIN), t.rule(t.CLASS.format(2)), t.rule(t.BIG, table=t.table),
             t.functools.partial(t.rule(t.KNOB.format(1)), knob=2)]
    print(*map(t.key_of, [*rules, t.Thrice(), t.ct.load("mixtures").first_model(0)]))
    print(t.Thrice().key(), *(t.ct.load(name).key() for name in ("mixtures", "images", "text")))
    """
    runs = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] and len(set(runs[0].split())) == 10


@pytest.mark.parametrize("value", [threading.Lock(), sys.stdout, (i for i in range(3))])
def test_what_has_no_key_is_said(value):
    """Of an open file or a lock no key is made: an error says so.

    Before: its address was its key.
    """
    with pytest.raises(Unkeyed):
        key_of(rule(HELPED, helper=value))


# Domains


class Thrice(Mixtures):
    """Mixtures of one's own: the data times a factor, and a layer of one's own."""

    factor = 3.0

    def __init__(self, layer=nn.SiLU):
        super().__init__()
        self.layer = layer

    def data(self, *how, **more):
        batch = super().data(*how, **more)
        return batch._replace(x=batch.x * self.factor)

    def network(self):
        net = super().network()
        net.leave = nn.Sequential(self.layer(), net.leave)
        return net


def test_other_data_and_another_layer_are_trained_anew(tmp_path, monkeypatch):
    """Weights are known by data and network: another of either is trained anew.

    Before: data times 3 gave the weights of before in .005 s.
    """
    run = {**STEPS, "folder": tmp_path}
    plain = ct.load("mixtures").train(**run)
    found = [Thrice().train(**run), Thrice(nn.Tanh).train(**run)]
    monkeypatch.setattr(Thrice, "factor", 2.0)
    found.append(Thrice().train(**run))
    hashes = [training.weights_hash(model) for model in (plain, *found)]
    assert len(set(hashes)) == 4 and len(list(tmp_path.iterdir())) == 4
    assert training.weights_hash(Thrice().train(**run)) == hashes[-1]
    assert len(list(tmp_path.iterdir())) == 4  # found again


class Outside(Mixtures):
    """Mixtures whose network depends on what no code of theirs holds."""

    def network(self):
        net = super().network()
        net.leave = nn.Sequential(getattr(nn, os.environ["LAYER"])(), net.leave)
        return net


def test_a_network_is_known_by_what_it_is(tmp_path, monkeypatch):
    """A network that depends on what no code holds is known by its weights.

    Before: only the domain's name and numbers counted.
    """
    found = []
    for layer in ("SiLU", "Tanh"):
        monkeypatch.setenv("LAYER", layer)
        domain = Outside()
        domain.train(folder=tmp_path, **STEPS)
        found += [domain.key(), key(domain, "trained")]
    assert found[0] == found[2] and found[1] != found[3]
    assert len(list(tmp_path.iterdir())) == 2


def test_data_of_a_domain_that_is_changed_in_place(tmp_path, monkeypatch):
    """A hook put on an object counts.

    Before: only the class was looked at.
    """
    domain = ct.load("mixtures")
    key, real = domain.key(), domain.data
    monkeypatch.setattr(domain, "data", lambda *a, **k: real(*a, **k)._replace(x=0))
    assert domain.key() != key


def test_what_cannot_be_keyed_is_trained_and_not_kept(tmp_path):
    """What has no key is trained, said, and not kept.

    Before: it was kept under a key of less.
    """
    domain = Thrice()
    domain.file = threading.Lock()
    with pytest.warns(UserWarning, match=r"not kept: lock.* has no key"):
        domain.train(folder=tmp_path, **STEPS)
    assert not list(tmp_path.iterdir())


def changed(domain, **attributes):
    for name, value in attributes.items():
        setattr(domain, name, value)
    return domain


def key(domain, source="exact", method=ct.guided, **more):
    (cell,) = make_cells([domain], source, {"m": method}, [0], SCALES, 100, **more)
    return cell_key(cell)


def test_a_cells_key_knows_domain_sampler_steps_and_model(monkeypatch):
    """A cell is known by domain, sampler, steps, recipe and model.

    Before: other steps gave 3.94 effective modes where 3.49 were right.
    """
    load = functools.partial(ct.load, "mixtures")
    keys = [
        key(load()),
        key(changed(load(), num_steps=9)),
        key(load(), num_steps=7),
        key(changed(load(), sampler=ct.sample_heun)),
        key(load(layout="grid")),
        key(Thrice()),
        key(load(), "shipped"),
        key(load(), "trained"),
        key(changed(load(), recipe={**load().recipe, "lr": 1e-3}), "trained"),
        key(Thrice(nn.Tanh), "trained"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(changed(load(), num_steps=7)) == key(load(), num_steps=7)


def test_a_method_without_a_key_is_run_each_time(tmp_path):
    """A method without a key is run each time, with a warning.

    Before: its text was its key.
    """

    class Locked:
        def __init__(self):
            self.runs, self.lock = [], threading.Lock()

        def __call__(self, model, scale):
            self.runs.append(1)
            return ct.guided(model, scale)

    method = Locked()
    run = {"source": "exact", "n": 160, "folder": tmp_path}
    for _ in range(2):
        with pytest.warns(UserWarning, match="run anew each time"):
            ct.sweep(["mixtures"], SCALES, {"mine": method}, [0], **run)
    assert len(method.runs) == 2


def test_two_domains_of_one_name_are_refused():
    """Two domains of one name in a sweep are an error that says how to name them.

    Before: both were averaged into one curve.
    """
    ring, grid = ct.load("mixtures"), ct.load("mixtures", layout="grid")
    with pytest.raises(ValueError, match=r"different names.*Got \['mixtures'\]"):
        ct.sweep([ring, grid], SCALES, source="exact", seeds=[0], n=20)
    grid.name = "grid"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ct.sweep([ring, grid], SCALES, source="exact", seeds=[0], n=20)
    assert set(found.domain) == {"mixtures", "grid"}


def test_use_does_not_change_a_key():
    """A domain of one's own has the same key after it was measured, drawn and swept."""

    class Own(type(ct.load("mixtures"))):
        name = "own"

    domain = Own()
    key = domain.key()
    domain.measure(domain.data(400).x, domain.data(400).label)
    domain.exact_law(3.0, 0)
    assert domain.shape == (2,)
    assert domain.key() == key == Own().key()


# Threads


@pytest.mark.parametrize("names", [["mixtures"], ["mixtures", "text"]])
def test_training_in_threads_gives_the_weights_of_training_in_turn(tmp_path, names):
    """Threads train the weights that training in turn gives.

    Before: all seeds' weights differed, and were kept.
    """
    work = [(name, seed) for name in names for seed in range(3)] * 2  # each asked for twice at once

    def train(folder, one):
        return training.weights_hash(ct.load(one[0]).train(one[1], folder=folder, **STEPS))

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(functools.partial(train, tmp_path / "a"), work))
    alone = [train(tmp_path / "b", one) for one in work]
    assert together == alone and len(set(alone)) == len(work) / 2
    assert not list(tmp_path.rglob("*.training")) and not list(tmp_path.rglob("*.partial"))


def test_many_threads_save_one_file(tmp_path):
    """Threads that save one file at once all succeed, and it is whole.

    Before: 170 of 400 saves failed.
    """
    from cfg_tutorial import files

    def save(i):
        files.save_tensors(tmp_path / "one", {"x": torch.full((1000,), i)}, {"i": i})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(save, range(400)))
    found, about = files.load_tensors(tmp_path / "one")
    assert (found["x"] == about["i"]).all() and [p.name for p in tmp_path.iterdir()] == ["one"]
