"""A method of one's own, made of a rule: it agrees with guidance where it is guidance."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys import TWO, last, message

import cfg_tutorial as ct
from cfg_tutorial.keys import key_of


@ct.method
def plain(cond, uncond, scale):
    """Guidance itself."""
    return uncond + scale * (cond - uncond)


@ct.method
def shrunk(cond, uncond, scale, keep=1.0, *, power):
    """Guidance of a difference that is scaled and raised to a power."""
    difference = keep * (cond - uncond)
    return uncond + scale * difference.abs() ** power * difference.sign()


def mixture():
    return ct.GaussianMixture(torch.tensor([[-1.0, 0], [1.0, 0.5]]), torch.full((2,), 0.1), TWO)


class Counting(nn.Module):
    """A model that remembers how many rows it was asked, and with which labels."""

    num_classes = null_label = 2
    edges = (0.7,)

    def __init__(self):
        super().__init__()
        self.inside, self.rows = mixture(), []

    def forward(self, x, level, label):
        self.rows.append(len(x))
        return self.inside(x, level, label)


def asked(n=6, seed=0):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return x, torch.tensor(0.8), torch.arange(n) % 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, -1.5, 0.3, 2.0, 7.0]), min_size=6, max_size=6),
    st.integers(0, 9),
)
def test_guidance_as_a_rule_is_guidance(scales, seed):
    scales, (x, level, label) = torch.tensor(scales), asked(seed=seed)
    ours, theirs = Counting(), Counting()
    got = plain(ours, scales)(x, level, label)
    torch.testing.assert_close(got, ct.guided(theirs, scales)(x, level, label))
    assert ours.rows == theirs.rows == [6 + int(((scales * (scales - 1) != 0) & (label < 2)).sum())]
    simple = (scales == 0) | (scales == 1) | (label == 2)
    at = torch.where(scales == 0, 2, label)
    assert torch.equal(got[simple], mixture()(x, level, at)[simple])


@pytest.mark.parametrize(("scale", "branch"), [(0, 2), (1, 0), (1 + 1e-9, 0)])
def test_one_scale_of_zero_or_one_is_a_prediction_and_one_forward(scale, branch):
    x, level, _ = asked()
    model, label = Counting(), torch.zeros(6, dtype=torch.long)
    got = plain(model, scale)(x, level, label)
    assert torch.equal(got, mixture()(x, level, torch.full((6,), branch))) and model.rows == [6]


@pytest.mark.parametrize("scale", [ct.interval(3.0, 0.2, 1.6), ct.ramp(1.0, 4.0, 2.0, 0.1)])
def test_a_schedule_is_a_scale_and_shows_its_edges(scale):
    x, _, label = asked()
    for level in (0.1, 0.5, 1.6, 1.7):
        level = torch.tensor(level)
        got, expected = (f(mixture(), scale)(x, level, label) for f in (plain, ct.guided))
        torch.testing.assert_close(got, expected)
    assert plain(Counting(), scale).edges == ct.guided(Counting(), scale).edges
    assert 0.7 in plain(Counting(), scale).edges


def test_samples_are_those_of_guidance():
    domain = ct.load("mixtures")
    how = {"label": 0, "progress": False}
    got, expected = (
        domain.at_scales(domain.exact(), [0, 1, 2.5, 8], 30, method=f, **how)
        for f in (plain, ct.guided)
    )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_knobs_reach_the_rule():
    x, level, label = asked(2)
    cond, uncond = mixture()(x, level, label), mixture()(x, level, label * 0 + 2)
    got = shrunk(mixture(), 3.0, keep=0.5, power=2)(x, level, label)
    difference = 0.5 * (cond - uncond)
    torch.testing.assert_close(got, uncond + 3 * difference**2 * difference.sign())


def test_a_rule_may_see_x_and_level_of_its_rows():
    seen = []

    @ct.method
    def looking(cond, uncond, scale, level, x):
        seen.append((x, level, scale))
        return cond

    x, _, label = asked()
    level, scales = torch.linspace(0.5, 1, 6), torch.tensor([3.0, 1, 2, 3, 0, 3])
    looking(mixture(), scales)(x, level, label)
    ((own, at, scale),) = seen
    rows = [0, 3]  # 1 and 4 are plain, 2 and 5 have no label
    assert torch.equal(own, x[rows]) and torch.equal(at, level[rows])
    assert scale.shape == (2, 1) and scale.flatten().tolist() == [3, 3]


def test_a_method_is_a_model_and_can_be_guided_again():
    x, level, _ = asked()
    label = torch.zeros(6, dtype=torch.long)
    once = plain(mixture(), 2.0)
    assert (once.num_classes, once.null_label, once.p_uncond) == (2, 2, 0.5)
    got = ct.guided(once, 3.0)(x, level, label)
    torch.testing.assert_close(got, ct.guided(mixture(), 6.0)(x, level, label))
    twice = plain(ct.guided(mixture(), 3.0), 2.0)(x, level, label)
    torch.testing.assert_close(twice, got)


def test_what_one_branch_forbids_stays_forbidden_and_no_rule_sees_it():
    tables = torch.tensor([[[0.5, 0.5, 0.0]], [[0.2, 0.0, 0.8]]])
    model = ct.TokenMixture(tables, torch.eye(2).double())
    seen = []

    @ct.method
    def looking(cond, uncond, scale):
        seen.append(torch.isfinite(cond - uncond).all())
        return uncond + scale * (cond - uncond)

    tokens, level = torch.full((2, 1), model.mask_token), torch.tensor(1.0)
    got = looking(model, 2.0)(tokens, level, torch.tensor([0, 1]))
    expected = ct.guided(model, 2.0)(tokens, level, torch.tensor([0, 1]))
    assert all(seen) and torch.equal(got.isneginf(), expected.isneginf())
    allowed = torch.isfinite(expected)
    torch.testing.assert_close(got[allowed], expected[allowed])


def test_a_learned_scale_has_its_gradient():
    x, level, label = asked(2)
    scale = nn.Parameter(torch.tensor(1.0))
    model = plain(mixture(), scale)
    model(x, level, label).sum().backward()
    cond, uncond = mixture()(x, level, label), mixture()(x, level, label * 0 + 2)
    torch.testing.assert_close(scale.grad, (cond - uncond).sum(), rtol=1e-4, atol=1e-5)
    assert list(model.parameters()) == [scale]


def test_what_a_method_cannot_take_is_named():
    x, level, label = asked(2)
    message(lambda: ct.method(lambda cond, uncond: cond), "'rule'", "method", "cond, uncond")
    message(lambda: ct.method(3), "'rule'", "method")
    message(lambda: shrunk(mixture(), 2.0, power=2, keeps=1), "'keeps'", "shrunk", "keep")
    message(lambda: shrunk(mixture(), 2.0), "'power'", "shrunk")
    message(lambda: plain(lambda x, level, label: x, 2.0), "'model'", "null_label")
    message(lambda: plain(mixture(), torch.nan), "'guidance_scale'", "plain", "finite")
    wrong = {
        "shape": ct.method(lambda cond, uncond, scale: cond[:1]),
        "tuple": ct.method(lambda cond, uncond, scale: (cond, uncond)),
        "nan": ct.method(lambda cond, uncond, scale: cond / 0 * 0),
    }
    for got, rule in wrong.items():
        call = lambda rule=rule: rule(mixture(), 2.0)(x, level, label)  # noqa: E731
        message(call, "'rule'", {"shape": "(1, 2)"}.get(got, got))


def test_a_method_of_a_module_is_found_again():
    again = pickle.loads(pickle.dumps(plain))
    assert again is plain
    model = pickle.loads(pickle.dumps(shrunk(mixture(), 2.0, power=1)))
    x, level, label = asked(2)
    torch.testing.assert_close(model(x, level, label), ct.guided(mixture(), 2.0)(x, level, label))


def rule_of(constant, helper="1", knob=1):
    """Return a method whose rule names a global constant and a helper function."""
    text = f"def helper(): return {helper}\ndef mine(cond, uncond, scale, knob={knob}):\n"
    text += "    return uncond + CONSTANT * helper() * knob * scale * (cond - uncond)\n"
    names = {"CONSTANT": constant, "__name__": "__main__"}
    exec(text, names)
    return ct.method(names["mine"])


def test_the_key_of_a_method_is_what_its_rule_is():
    key = key_of(rule_of(1.0))
    assert key == key_of(rule_of(1.0))
    others = [rule_of(2.0), rule_of(1.0, helper="2"), rule_of(1.0, knob=2)]
    assert len({key, *map(key_of, others)}) == 4


def test_a_sweep_takes_a_method_and_never_meets_the_rows_of_another(tmp_path):
    how = {"source": "exact", "scales": [0, 1, 3], "n": 160, "seeds": [0], "progress": False}
    how |= {"folder": tmp_path}

    def table(method):
        return ct.sweep(["mixtures"], methods={"cfg": ct.guided, "mine": method}, **how)

    def modes(table, name):
        rows = table[(table.method == name) & (table.measure == "mode_share")]
        return rows.value.tolist()

    first = table(rule_of(1.0))
    assert modes(first, "mine") == modes(first, "cfg")
    stronger = table(rule_of(3.0))
    assert modes(stronger, "mine") != modes(first, "mine")
    assert modes(stronger, "cfg") == modes(first, "cfg")
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").count("\n")
    table(rule_of(3.0))
    assert (tmp_path / "results.jsonl").read_text(encoding="utf-8").count("\n") == lines == 3


def test_every_sampler_takes_a_method():
    domain = ct.load("mixtures")
    for sampler in (ct.sample_euler, ct.sample_heun, ct.sample_ancestral):
        how = {"label": 0, "n": 20, "sampler": sampler, "progress": False}
        got, expected = (domain.sample(f(domain.exact(), 3.0), **how) for f in (plain, ct.guided))
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    domain = ct.load("text")
    states = domain.states(plain(domain.exact(), 3.0), 0, n=80)[0]
    assert domain.measure(last(states), 0).validity == 1
