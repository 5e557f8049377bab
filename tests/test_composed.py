"""Composition: several labels at once, of which guidance is the case of one."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import Words, message

import cfg_tutorial as ct

SCALES = st.floats(-3, 6, allow_nan=False).map(lambda s: round(s, 3))


@pytest.fixture(scope="module")
def mix():
    """Three classes that share four modes in the plane, in float64."""
    weights = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.1, 0.1, 0.2, 0.6]]
    return ct.GaussianMixture([[-1.0, 0], [1, 0], [0, 1], [0, -1]], [0.05] * 4, weights)


X = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LEVEL = torch.tensor(0.7, dtype=torch.float64)


def label(c, n=5):
    return torch.full((n,), c)


def by_hand(model, x, scales):
    null = model(x, LEVEL, label(model.null_label, len(x)))
    steps = [s * (model(x, LEVEL, label(c, len(x))) - null) for c, s in scales.items()]
    return null + sum(steps)


@given(SCALES, SCALES, SCALES)
def test_composition_is_the_formula(mix, a, b, c):
    scales = {0: a, 1: b, 2: c}
    found = ct.composed(mix, scales)(X, LEVEL, label(0))
    torch.testing.assert_close(found, by_hand(mix, X, scales))


@given(SCALES)
def test_one_label_is_guidance(mix, s):
    found = ct.composed(mix, {1: s})(X, LEVEL, label(0))
    torch.testing.assert_close(found, ct.guided(mix, s)(X, LEVEL, label(1)))


@given(SCALES, SCALES, SCALES)
def test_guiding_a_composition_multiplies_its_scales(mix, a, b, s):
    found = ct.guided(ct.composed(mix, {0: a, 2: b}), s)(X, LEVEL, label(1))
    torch.testing.assert_close(found, ct.composed(mix, {0: a * s, 2: b * s})(X, LEVEL, label(1)))


def test_the_null_label_is_a_fixed_point(mix):
    model = ct.composed(mix, {0: 3.0, 1: -1.0})
    mixed = torch.tensor([0, 3, 1, 3, 2])
    found = model(X, LEVEL, mixed)
    null = mix(X, LEVEL, label(3))
    assert torch.equal(found[mixed == 3], null[mixed == 3])
    torch.testing.assert_close(found[mixed != 3], by_hand(mix, X, {0: 3.0, 1: -1.0})[mixed != 3])


def test_a_scale_a_row_and_a_schedule(mix):
    rows = torch.tensor([0.0, 1, 2, 3, 4])
    window = ct.interval(3.0, lo=0.5, hi=1.0)
    model = ct.composed(mix, {0: rows, 1: window})
    assert model.edges == (1.0, 0.5)
    found = model(X, LEVEL, label(0))
    for i, s in enumerate(rows.tolist()):
        torch.testing.assert_close(found[i], by_hand(mix, X, {0: s, 1: 3.0})[i])


@pytest.mark.parametrize(
    ("scales", "forwards"),
    [({0: 1.0}, 1), ({0: 0.0}, 1), ({0: 3.0}, 2), ({0: 2.0, 1: -1.0}, 2), ({0: 2.0, 1: 1.0}, 3)],
)
def test_only_the_branches_that_count_are_run(mix, scales, forwards):
    mix.rows_run = 0
    found = ct.composed(mix, scales)(X, LEVEL, label(2))
    assert mix.rows_run == 5 * forwards
    torch.testing.assert_close(found, by_hand(mix, X, scales))
    if scales == {0: 1.0}:
        assert torch.equal(found, mix(X, LEVEL, label(0)))


def test_two_classes_meet_in_the_mode_that_they_share():
    # Class 0 has modes 0 and 1, class 1 modes 1 and 2: both together leave mode 1.
    weights = [[0.5, 0.5, 0], [0, 0.5, 0.5]]
    domain = ct.load("mixtures", mode_weights=weights, layout="line")
    x = domain.sample(ct.composed(domain.exact(), {0: 1.0, 1: 1.0}), 0, n=400, progress=False)
    share = torch.bincount(domain.assign(x) + 1, minlength=4)[1:] / 400
    assert share[1] > 0.95


def test_a_negative_scale_steers_away_from_a_class():
    domain = ct.load("mixtures", mode_weights=[[0.5, 0.4, 0.1], [0.1, 0.4, 0.5]], layout="line")

    def share(scales):
        x = domain.sample(ct.composed(domain.exact(), scales), 0, n=400, progress=False)
        return torch.bincount(domain.assign(x) + 1, minlength=4)[1:] / 400

    alone, away = share({0: 1.0}), share({0: 1.0, 1: -1.0})
    assert away[2] < 0.6 * alone[2]
    assert away[0] > alone[0] + 0.2


def test_prompts_of_two_parts_compose():
    domain = ct.load("text", prompt=True)
    good, food = domain.prompt("good"), domain.prompt("food")
    both = ct.composed(domain.exact(), {tuple(good.tolist()): 1.0, tuple(food.tolist()): 1.0})
    x = domain.sample(both, domain.prompt("bad"), n=400, progress=False)
    found = domain.measure(x, 0)
    assert found.mode_counts[domain.mode_names.index("food")] > 0.9 * 400
    assert found.accuracy > 0.8


def test_what_a_branch_forbids_is_forbidden():
    laws = [[[0.0, 0.5, 0.5]], [[0.5, 0.0, 0.5]], [[0.3, 0.3, 0.4]]]
    tokens, level = torch.full((2, 4), 3), torch.tensor(1.0)
    for scales in ({0: 2.0}, {0: 2.0, 1: -1.0}, {0: -1.0}, {0: 0.5, 1: 0.5}):
        found = ct.composed(Words(laws), scales)(tokens, level, torch.tensor([0, 0]))
        assert not found.isnan().any() and not found.isposinf().any()
        assert found[..., 0].isneginf().all()
        assert found[..., 1].isneginf().all() == (1 in scales)


def test_bad_input(mix):
    for scales in ({}, None, [1.0], 3.0):
        message(lambda scales=scales: ct.composed(mix, scales), "'scales' parameter of composed")
    for s in (math.nan, math.inf, "3", None):
        message(lambda s=s: ct.composed(mix, {0: s}), "'scales' parameter of composed", s)
    for c in (-1, 4, 1.5):
        message(lambda c=c: ct.composed(mix, {c: 1.0}), "'label' parameter of composed")
    model = ct.composed(mix, {0: torch.ones(3)})
    message(lambda: model(X, LEVEL, label(0)), "one value a row of x, 5", "Got 3")
    mix.p_uncond = 0
    message(lambda: ct.composed(mix, {0: 2.0}), "'model' parameter of composed")
    mix.p_uncond = 0.5
