"""The laws of guidance, and what it costs: rows are counted, never assumed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Counter, Dropping, Words

import cfg_tutorial as ct

# Two digits: no product comes nearer to 0 or 1 than guided rounds.
SCALE = st.floats(-3, 8, allow_nan=False).map(lambda s: round(s, 2))
SEED = st.integers(0, 2**16)
NULL = Counter.null_label


def inputs(n=7, seed=0, dtype=torch.float64):
    """Return x (n, 2), a level, and labels among which the null label may be."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator).to(dtype)
    return x, torch.tensor(0.7, dtype=dtype), torch.randint(NULL, (n,), generator=generator)


def by_hand(x, level, label, scale):
    """Return Du + s (Dc - Du) of a Counter, without the package."""
    cond, null = Counter()(x, level, label), Counter()(x, level, torch.full_like(label, NULL))
    return null + torch.as_tensor(scale, dtype=x.dtype).reshape(-1, 1) * (cond - null)


@settings(max_examples=40)
@given(SCALE, SEED)
def test_guided_is_the_formula(scale, seed):
    # The paper's w in place of s, or 1 + s, is off by one whole Dc - Du.
    x = inputs(seed=seed)
    found = ct.guided(Counter(), scale)(*x)
    torch.testing.assert_close(found, by_hand(*x, scale), atol=1e-12, rtol=1e-12)


@settings(max_examples=40)
@given(SCALE, SCALE, SEED)
def test_guiding_twice_multiplies_the_scales(a, b, seed):
    x = inputs(seed=seed)
    found = ct.guided(ct.guided(Counter(), a), b)(*x)
    torch.testing.assert_close(found, ct.guided(Counter(), a * b)(*x), atol=1e-10, rtol=1e-10)


def test_law_in_one_example():
    x = inputs()
    found = ct.guided(ct.guided(Counter(), 1.5), 2.0)(*x)
    torch.testing.assert_close(found, by_hand(*x, 3.0), atol=1e-12, rtol=1e-12)


@settings(max_examples=20)
@given(st.lists(SCALE, min_size=5, max_size=5), SCALE, SEED)
def test_guiding_twice_multiplies_the_scales_of_each_row(a, b, seed):
    x, a = inputs(5, seed), torch.tensor(a, dtype=torch.float64)
    for inner, outer in ((a, b), (b, a), (a, a)):
        found = ct.guided(ct.guided(Counter(), inner), outer)(*x)
        expected = by_hand(*x, torch.as_tensor(inner, dtype=torch.float64) * outer)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@settings(max_examples=20)
@given(SCALE, SEED)
def test_schedules_multiply_and_keep_their_edges(scale, seed):
    x, _, label = inputs(seed=seed)
    model = ct.guided(ct.guided(Counter(), ct.interval(2.0, 0.2, 1.0)), ct.interval(scale, lo=0.5))
    assert model.edges == (1.0, 0.5, 0.2)
    for level, product in ((2.0, scale), (0.8, 2 * scale), (0.3, 2.0), (0.1, 1.0)):
        found = model(x, torch.tensor(level), label)
        expected = by_hand(x, torch.tensor(level), label, product)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@settings(max_examples=20)
@given(SCALE, SEED)
def test_null_label_is_a_fixed_point(scale, seed):
    x, level, label = inputs(seed=seed)
    null = torch.full_like(label, NULL)
    model = Counter()
    assert torch.equal(ct.guided(model, scale)(x, level, null), Counter()(x, level, null))
    assert model.calls == [len(x)]
    mixed = label.clone()
    mixed[2] = NULL
    found = ct.guided(Counter(), scale)(x, level, mixed)
    assert torch.equal(found[2], Counter()(x, level, null)[2])


@pytest.mark.parametrize("scale, label_used", [(1.0, None), (0.0, NULL)])
@pytest.mark.parametrize("kind", [float, torch.tensor, lambda s: torch.full((7,), s)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scales_zero_and_one_are_exact_and_cost_one_forward(scale, label_used, kind, dtype):
    x, level, label = inputs(dtype=dtype)
    model = Counter()
    found = ct.guided(model, kind(scale))(x, level, label)
    used = label if label_used is None else torch.full_like(label, label_used)
    assert torch.equal(found, Counter()(x, level, used))
    assert model.calls == [7]


def test_scale_one_is_exact_beside_large_numbers():
    # u + 1 * (c - u) is not c where u is large: 1e8 + (1 - 1e8) is 0 in float32.
    cond, uncond = torch.tensor([[1.0], [1.0]]), torch.tensor([[1e8], [1e8]])
    scale = torch.tensor([1.0, 0.0])
    assert torch.equal(ct.guide(cond, uncond, scale), torch.tensor([[1.0], [1e8]]))
    assert torch.equal(ct.guide(cond, uncond, 1.0), cond)
    assert torch.equal(ct.guide(cond, uncond, 0.0), uncond)


@pytest.mark.parametrize("scale", [1.0000000000000002, 0.1 * 10, 1 - 1e-9, 3 * (1 / 3)])
def test_a_rounded_one_costs_one_forward(scale):
    x, model = inputs(), Counter()
    assert torch.equal(ct.guided(model, scale)(*x), Counter()(*x))
    assert model.calls == [7]
    rows = Counter()
    ct.guided(rows, torch.full((7,), scale, dtype=torch.float64))(*x)
    assert rows.calls == [7]


@pytest.mark.parametrize("scale", [1e-17, -1e-12, 0.1 + 0.2 - 0.3])
def test_a_rounded_zero_costs_one_forward(scale):
    x, model = inputs(), Counter()
    ct.guided(model, scale)(*x)
    assert model.calls == [7]


@pytest.mark.parametrize("scale", [0.5, 1.5, -1.0, 2.0, 1.0001, 0.0001])
def test_other_scales_cost_two_forwards_in_one_call(scale):
    # Gates like s > 1 make .5 conditional, or pay once.
    x, model = inputs(), Counter()
    found = ct.guided(model, scale)(*x)
    assert model.calls == [14]
    torch.testing.assert_close(found, by_hand(*x, scale), atol=1e-12, rtol=1e-12)


@settings(max_examples=40)
@given(st.lists(st.sampled_from([0.0, 1.0, 0.5, 3.0, -1.0]), min_size=1, max_size=9), SEED)
def test_mixed_scales_pay_for_what_they_use(scales, seed):
    x, level, label = inputs(len(scales), seed)
    model = Counter()
    found = ct.guided(model, torch.tensor(scales))(x, level, label)
    single = sum(s in (0.0, 1.0) for s in scales)
    assert model.calls == [single + 2 * (len(scales) - single)]
    for i, scale in enumerate(scales):
        one = ct.guided(Counter(), scale)(x[i : i + 1], level, label[i : i + 1])
        torch.testing.assert_close(found[i : i + 1], one, atol=1e-12, rtol=1e-12)
        if scale in (0.0, 1.0):
            used = label[i : i + 1] if scale else label[i : i + 1] * 0 + NULL
            assert torch.equal(found[i : i + 1], Counter()(x[i : i + 1], level, used))


@pytest.mark.parametrize("at", [0.0, 1.0])
@pytest.mark.parametrize("step", [1e-4, -1e-4])
def test_scale_is_continuous(at, step):
    x = inputs()
    near, exact = ct.guided(Counter(), at + step)(*x), ct.guided(Counter(), at)(*x)
    distance = (by_hand(*x, 1.0) - by_hand(*x, 0.0)) * step
    torch.testing.assert_close(near - exact, distance, atol=1e-10, rtol=1e-6)
    assert torch.isfinite(near).all()


@settings(max_examples=20)
@given(st.permutations(range(7)), SEED)
def test_permuting_the_batch_permutes_the_answer(order, seed):
    x, _, label = inputs(seed=seed)
    level = torch.linspace(0.1, 2, 7, dtype=torch.float64)
    scale = torch.tensor([0, 1, 2, 0.5, 3, 1, 0])
    order = torch.tensor(order)
    found = ct.guided(Counter(), scale)(x, level, label)
    permuted = ct.guided(Counter(), scale[order])(x[order], level[order], label[order])
    torch.testing.assert_close(permuted, found[order], atol=1e-12, rtol=1e-12)


def test_levels_of_rows():
    # Each row at its own level, and a schedule that sees it.
    x, _, label = inputs(6)
    level = torch.tensor([0.1, 0.2, 0.5, 1.0, 1.5, 4.0], dtype=torch.float64)
    model = Counter()
    found = ct.guided(model, ct.interval(3.0, 0.2, 1.0))(x, level, label)
    expected = by_hand(x, level, label, torch.tensor([1.0, 1, 3, 3, 1, 1]))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    assert model.calls == [6 + 2]


def test_levels_of_rows_at_one_scale():
    x, _, label = inputs(4)
    level = torch.tensor([0.1, 0.5, 2.0, 9.0], dtype=torch.float64)
    for scale in (0.0, 1.0, 3.0):
        found = ct.guided(Counter(), scale)(x, level, label)
        expected = by_hand(x, level, label, scale)
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_scales_of_rows_in_schedules():
    x, _, label = inputs(4)
    scale = torch.tensor([0.0, 1.0, 3.0, 5.0])
    window = ct.guided(Counter(), ct.interval(scale, 0.2, 1.0))
    ramp = ct.guided(Counter(), ct.ramp(scale, torch.ones(4), hi=4.0, lo=1.0, rho=1))
    for level, inside, rise in ((0.5, scale, torch.ones(4)), (2.5, torch.ones(4), (1 + scale) / 2)):
        level = torch.tensor(level, dtype=torch.float64)
        for model, expected in ((window, inside), (ramp, rise)):
            found = model(x, level, label)
            wanted = by_hand(x, level, label, expected)
            torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)
    per_row = torch.tensor([0.1, 0.5, 0.5, 2.0], dtype=torch.float64)
    found = window(x, per_row, label)
    wanted = by_hand(x, per_row, label, torch.tensor([1.0, 1, 3, 1]))
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("answer", [3, 3.0, torch.tensor(3), torch.tensor([3, 3.0, 3])])
def test_a_callable_may_answer_any_number(answer):
    x, level, label = inputs(3)
    found = ct.guided(Counter(), lambda _: answer)(x, level, label)
    torch.testing.assert_close(found, by_hand(x, level, label, 3.0), atol=1e-12, rtol=1e-12)


def test_a_callable_sees_the_level_in_the_type_of_x():
    x, _, label = inputs(3, dtype=torch.float32)
    seen = []
    model = ct.guided(Counter(), lambda level: seen.append(level) or 1 + 2 * (level < 1))
    assert torch.isfinite(model(x, 0.5, label)).all()
    assert seen[0].dtype == torch.float32 and model.edges == ()


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 1.1])
def test_a_number_keeps_its_digits_in_float64(scale):
    # As float32 the number would be off by 1e-8.
    x = inputs()
    for kind in (scale, lambda level: scale, ct.interval(scale)):
        found = ct.guided(Counter(), kind)(*x)
        torch.testing.assert_close(found, by_hand(*x, scale), atol=1e-12, rtol=1e-12)


# Schedules


def test_interval_is_one_outside_and_open_below():
    window = ct.interval(3.0, lo=0.5, hi=2.0)
    level = torch.tensor([0.4, 0.5, 0.500001, 1.0, 2.0, 2.000001, 9.0])
    assert window(level).tolist() == [1, 1, 3, 3, 3, 1, 1]
    assert window.edges == (0.5, 2.0)


def test_interval_covers_everything_by_default():
    window = ct.interval(3.0)
    assert window(torch.tensor([1e-6, 1.0, 1e9])).tolist() == [3, 3, 3] and window.edges == ()


@pytest.mark.parametrize("edge", [0.2, 0.1, 0.7])
def test_edges_are_compared_in_the_type_of_x(edge):
    # float32(.2) is above .2: compared as float64 it would be inside, .7 below .7 outside.
    for dtype in (torch.float32, torch.float64):
        level = torch.tensor(edge, dtype=dtype)
        assert ct.interval(3.0, lo=edge)(level) == 1
        assert ct.interval(3.0, hi=edge)(level) == 3
        above = level.nextafter(torch.tensor(9, dtype=dtype))
        assert ct.interval(3.0, lo=edge)(above) == 3
        assert ct.interval(3.0, hi=edge)(above) == 1


def test_ramp_is_linear_in_its_power():
    ramp = ct.ramp(1.0, 4.0, hi=10.0, lo=0.1)
    middle = ((10 ** (1 / 7) + 0.1 ** (1 / 7)) / 2) ** 7
    level = torch.tensor([50, 10, middle, 0.1, 0.01], dtype=torch.float64)
    expected = torch.tensor([1, 1, 2.5, 4, 4], dtype=torch.float64)
    torch.testing.assert_close(ramp(level), expected, atol=1e-12, rtol=1e-12)
    token = ct.ramp(1.0, 3.0, hi=1.0, lo=0.0, rho=1)
    assert token(torch.tensor([1, 0.75, 0.5, 0])).tolist() == [1, 1.5, 2, 3]


# Several parts, tokens


class Parts:
    """A model of a condition with two parts: x plus a number for each."""

    num_classes = null_label = torch.tensor([4, 9])
    p_uncond = 0.1

    def __init__(self):
        self.calls, self.labels = [], []

    def __call__(self, x, level, label):
        self.calls.append(len(x))
        self.labels.append(label)
        return x + label.to(x) @ torch.tensor([[1.0, 0], [0, 100]]).to(x)


def test_all_parts_become_null_together():
    x = torch.zeros(3, 2)
    label = torch.tensor([[0, 1], [4, 5], [4, 9]])  # the second lacks a part, the third all
    model = Parts()
    found = ct.guided(model, 2.0)(x, torch.tensor(1.0), label)
    null = torch.tensor([4.0, 900.0])
    expected = null + 2 * (label * torch.tensor([1.0, 100]) - null)
    torch.testing.assert_close(found[:2], expected[:2])
    assert torch.equal(found[2], null)
    assert model.calls == [3 + 2]
    assert model.labels[0][3:].tolist() == [[4, 9], [4, 9]]


@pytest.mark.parametrize("scale", [0.5, 2.0, 5.0, -1.0])
def test_forbidden_stays_forbidden(scale):
    # lerp between or beyond -inf is NaN or +inf.
    x, level, label = torch.zeros(3, 2), torch.tensor(1.0), torch.zeros(3, dtype=torch.long)
    found = ct.guided(Words(), torch.tensor([scale, 1.0, 0.0]))(x, level, label)
    assert not found.isnan().any() and not found.isposinf().any()
    forbidden = [[True, True, False], [True, False, False], [False, True, False]]
    assert found[:, 0].isneginf().tolist() == forbidden
    cond, null = Words().laws[:, 1].log()
    torch.testing.assert_close(found[:, 1], torch.stack([null + scale * (cond - null), cond, null]))


def test_a_place_with_nothing_allowed_is_an_error():
    model = Words([[[0.0, 0, 1], [0.2, 0.3, 0.5]], [[0.5, 0.5, 0], [0.2, 0.3, 0.5]]])
    label = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="'model' parameter of guided .* forbid everything"):
        ct.guided(model, 2.0)(torch.zeros(2, 2), torch.tensor(1.0), label)


# A guided model is a model


def test_a_guided_model_shows_the_names_of_its_model():
    guided = ct.guided(ct.guided(Words(), 2.0), ct.interval(3.0, 0.25, 0.5))
    for name in ("num_classes", "null_label", "p_uncond", "mask_token", "vocab_size"):
        assert getattr(guided, name) == getattr(Words(), name)
    assert guided.edges == (0.5, 0.25)
    assert not hasattr(ct.guided(Counter(), 2.0), "mask_token")


def test_modes_and_types_reach_the_model_inside():
    net = Dropping()
    guided = ct.guided(ct.guided(net, 2.0), 1.5)
    guided.eval()
    assert not net.training and not net.drop.training
    guided.train()
    assert net.drop.training
    guided.double()
    assert net.layer.weight.dtype == torch.float64
    assert len(list(guided.parameters())) == 2


def test_float64_stays_float64_with_a_float32_scale():
    x, level, label = inputs(3)
    found = ct.guided(Counter(), torch.tensor([2.0, 0.5, 1.0]))(x, level.float(), label)
    assert found.dtype == torch.float64


def test_gradients_flow_through_guidance():
    x, level, label = inputs(4)
    x.requires_grad_()
    ct.guided(Counter(), torch.tensor([0.0, 1.0, 2.0, 0.5]))(x, level, label).sum().backward()
    assert (x.grad != 0).all()


def test_a_model_without_label_dropout_cannot_be_guided():
    model = Counter()
    model.p_uncond = 0.0
    with pytest.raises(ValueError, match="p_uncond = 0 instead"):
        ct.guided(model, 2.0)
    del model.p_uncond
    model.p_uncond = None  # nothing is known, nothing is refused
    assert ct.guided(model, 2.0).p_uncond is None
