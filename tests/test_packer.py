"""The packer of branches is held to the plain sum, on random branches, and its forwards counted."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cfg_tutorial.guidance import combine, predictions

NUMBER = st.sampled_from([0.0, 1.0, -1.5, 0.3, 2.5])
N, PLACES, WORDS = 6, 3, 4


class Parts:
    """A model of x (n, 2), or of words, under labels of one part or two; it counts its rows.

    A label forbids words of its own, and never word 0.
    """

    def __init__(self, factor, tokens):
        self.factor, self.tokens, self.rows = factor, tokens, []

    def __call__(self, x, level, label):
        self.rows.append(len(x))
        told = (
            label.double().reshape(len(x), -1)
            @ torch.tensor([1.0, 0.1]).double()[: 1 if label.ndim == 1 else 2]
        )
        level = torch.as_tensor(level).double().expand(len(x))
        told = (self.factor * (1 + told) * (1 + level))[:, None]
        if not self.tokens:
            return torch.sin(told * x) + told
        word = torch.arange(WORDS)
        law = (told[..., None] * (1 + x[..., None]) + word).sin().log_softmax(-1)
        forbidden = (word > 0) & (word == label.reshape(len(x), -1).sum(1)[:, None] % 7)
        return law.masked_fill(forbidden[:, None], -torch.inf)


def plain(x, level, branches):
    """Return the sum of branches, each asked of every row; one of weight 0 forbids no word."""
    total, forbidden = 0, False
    for model, label, weight in branches:
        answer = model(x, level, label)
        each = torch.as_tensor(weight, dtype=torch.float64).expand(len(x))
        each = each.reshape(-1, *[1] * (answer.ndim - 1))
        total = total + torch.where(each == 0, 0, each * answer.masked_fill(answer.isinf(), 0))
        forbidden = forbidden | (answer.isneginf() & (each != 0))
    return torch.where(forbidden, -torch.inf, total)


@st.composite
def cases(draw):
    """Return x, a level, branches of one or two models whose weights sum to 1, and the models."""
    tokens, parts, seed = (
        draw(st.booleans()),
        draw(st.sampled_from([1, 2])),
        draw(st.integers(0, 99)),
    )
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N, 2, generator=generator).double()
    if tokens:
        x = torch.randint(WORDS, (N, PLACES), generator=generator)
    level = draw(st.sampled_from([torch.tensor(0.7), torch.linspace(0.1, 1, N)])).double()
    models = [Parts(factor, tokens) for factor in (0.3, -0.7)]
    branches, rest = [], 1.0
    for _ in range(draw(st.integers(1, 3))):
        row_by_row = st.lists(NUMBER, min_size=N, max_size=N).map(
            lambda w: torch.tensor(w).double()
        )
        weight = draw(st.one_of(NUMBER, row_by_row))
        label = torch.randint(9, (N,) if parts == 1 else (N, parts), generator=generator)
        branches.append((draw(st.sampled_from(models)), label, weight))
        rest = rest - weight
    branches.append((draw(st.sampled_from(models)), torch.zeros_like(label), rest))
    return x, level, branches, models


@settings(max_examples=300, deadline=None)
@given(cases())
def test_the_packed_sum_is_the_plain_one_and_weight_0_costs_nothing(case):
    x, level, branches, models = case
    expected = plain(x, level, branches)
    for model in models:
        model.rows.clear()
    torch.testing.assert_close(combine(x, level, branches), expected, atol=1e-12, rtol=1e-12)
    for model in models:
        own = [torch.as_tensor(w).expand(N) for m, _, w in branches if m is model]
        assert sum(model.rows) == sum(int((weight != 0).sum()) for weight in own)
        assert len(model.rows) <= 1


@settings(max_examples=100, deadline=None)
@given(cases())
def test_two_predictions_apart_are_each_branchs_own(case):
    x, level, branches, _ = case
    for answer, (model, label, weight) in zip(
        predictions(x, level, branches), branches, strict=True
    ):
        run = torch.as_tensor(weight).expand(N) != 0
        if isinstance(weight, float) and all(isinstance(w, float) for *_, w in branches):
            run = torch.ones(N, dtype=torch.bool)  # numbers: nothing is left out
        assert torch.equal(answer[run], model(x, level, label)[run])


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_two_branches_are_exact_at_0_and_at_1(weight):
    x, level, label = torch.randn(N, 2).double() * 1e6, torch.tensor(0.7), torch.arange(N)
    model, null = Parts(0.3, False), torch.zeros_like(label)
    each = torch.full((N,), weight).double()
    each[0] = 3.0  # so that both branches are run
    found = combine(x, level, [(model, label, each), (model, null, 1 - each)])
    expected = model(x, level, label if weight else null)
    assert torch.equal(found[1:], expected[1:])
