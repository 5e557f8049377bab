"""Tokens: what guided sampling of masked places gives, by recursion and enumeration, and the loss.

Laws are computed here on plain tables, without the package, and met by samples in a chi-square
test with a pinned seed; wrong laws must fail the same test.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from toys import Tables, all_states, last, nelbo, p_value, power, tilted

import cfg_tutorial as ct

SCALE = st.floats(-2, 6, allow_nan=False).map(lambda s: round(s, 2))
P_C, P_U = [[0.5, 0.1], [0.1, 0.3]], [[0.3, 0.2], [0.3, 0.2]]
# A table on which the laws of all the samplers differ by more than 1 % of chi-square a sample.
UNEVEN = np.array([[[0.2, 0.2], [0.2, 0.4]], [[0.2, 0.1], [0.5, 0.2]]])


# Laws without the package


def share_of(part, whole):
    """Return part / whole, 0 where the whole is."""
    return part / np.where(whole > 0, whole, 1.0) * (whole > 0)


def given_visible(law, visible, place):
    """Return law(place | visible), other axes kept with size 1."""

    def marginal(axes):
        hidden = tuple(axis for axis in range(law.ndim) if axis not in axes)
        return law.sum(hidden, keepdims=True)

    return share_of(marginal(visible | {place}), marginal(visible))


def unmask_law(cond, uncond, s, sizes=None, order="random"):
    """Return the law of guided samples, ``sizes`` places revealed in each step, by recursion."""
    cond, uncond = np.array(cond, float), np.array(uncond, float)
    length = cond.ndim
    mass = {frozenset(): np.ones((1,) * length)}
    for size in sizes or [1] * length:
        after = {}
        for visible, share in mass.items():
            hidden = sorted(set(range(length)) - visible)
            chosen = list(itertools.combinations(hidden, size)) if order == "random" else [
                tuple(hidden[:size])
            ]  # fmt: skip
            for places in chosen:
                step = share / len(chosen)
                for place in places:
                    tilt = power(
                        given_visible(cond, visible, place),
                        given_visible(uncond, visible, place),
                        s,
                    )
                    step = step * share_of(tilt, tilt.sum(place, keepdims=True))
                now = visible | set(places)
                after[now] = after.get(now, 0) + step
        mass = after
    return next(iter(mass.values()))


def unnormalised_law(cond, uncond, s):
    """Return O13's law of rates that are not normalised: T (1/Za + 1/Zb) / (Z1 + Z2)."""
    cond, uncond = np.array(cond, float), np.array(uncond, float)
    z1, z2 = (power(cond.sum(axis), uncond.sum(axis), s).sum() for axis in (1, 0))
    za, zb = (
        power(
            cond / cond.sum(axis, keepdims=True), uncond / uncond.sum(axis, keepdims=True), s
        ).sum(axis, keepdims=True)
        for axis in (1, 0)
    )
    return power(cond, uncond, s) * (1 / za + 1 / zb) / (z1 + z2)


def sample_unnormalised(model, n, length, seed):
    """Sample as from rates: the next place and word are drawn together, in proportion to both."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.full((n, length), model.mask_token)
    label = torch.zeros(n, dtype=torch.long)
    for step in range(length):
        rates = model(tokens, torch.tensor(1 - step / length), label).exp()
        rates = rates * (tokens == model.mask_token)[..., None]
        drawn = torch.multinomial(rates.flatten(1), 1, generator=generator)[:, 0]
        place, word = drawn // model.vocab_size, drawn % model.vocab_size
        tokens = tokens.scatter(1, place[:, None], word[:, None])
    return tokens


def counts_of(tokens, words):
    """Return how often each state came, in the order of a flattened table."""
    place_value = words ** torch.arange(tokens.shape[1] - 1, -1, -1)
    return np.bincount((tokens * place_value).sum(1), minlength=words ** tokens.shape[1])


def draw(model, n, levels=None, start=None, label=0, **options):
    """Return samples (n, length) of a model, from all places masked unless ``start`` is given."""
    if start is None:
        start = torch.full((n, model.length), model.mask_token)
    length = start.shape[1]
    levels = torch.linspace(1, 0, length + 1) if levels is None else torch.tensor(levels)
    return last(ct.sample_unmask(model, start, levels, torch.tensor(label), **options))


def guided_draw(model, scale, n, **options):
    guided = ct.guided(model, scale)
    guided.length = model.length
    return draw(guided, n, **options)


def random_laws(length, words, seed=0, classes=1, least=0.05):
    """Return uneven laws, ``classes`` of them and one for no class, with no symmetry."""
    generator = np.random.default_rng(seed)
    laws = generator.exponential(size=(classes + 1, *[words] * length)) ** 1.5 + least
    return list(laws / laws.sum(tuple(range(1, length + 1)), keepdims=True))


# O13


def test_o13_numbers():
    assert tilted(P_C, P_U, 3)[0].ravel() == pytest.approx(
        [0.661376, 0.011905, 0.005291, 0.321429], abs=1e-6
    )
    assert tilted(P_C, P_U, 3)[1] == pytest.approx(2.1)
    assert unmask_law(P_C, P_U, 3).ravel() == pytest.approx(
        [0.676513, 0.013963, 0.004232, 0.305292], abs=1e-6
    )
    assert unmask_law(P_C, P_U, 3, [2]).ravel() == pytest.approx(
        [0.462857, 0.308571, 0.137143, 0.091429], abs=1e-6
    )
    assert unnormalised_law(P_C, P_U, 3).sum() == pytest.approx(1)


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 8.0])
def test_o13_one_place_is_the_tilted_law(scale, n=8000):
    # The power of the test: one more or one less in the place of s fails it.
    cond, uncond = [0.3, 0.15, 0.35, 0.2], [0.25, 0.2, 0.3, 0.25]
    found = counts_of(guided_draw(Tables(cond, uncond), scale, n, seed=1), 4)
    assert p_value(found, tilted(cond, uncond, scale)[0]) > 1e-3
    for wrong in (scale - 1, scale + 1):
        assert p_value(found, tilted(cond, uncond, wrong)[0]) < 1e-3


def test_o13_one_place_beside_a_visible_one(n=4000):
    start = torch.tensor([[1, 2]]).expand(n, -1)
    x = guided_draw(Tables(P_C, P_U), 3.0, n, start=start, levels=[0.5, 0.0], seed=2)
    assert (x[:, 0] == 1).all()
    law = tilted([0.25, 0.75], [0.6, 0.4], 3.0)[0]
    assert p_value(np.bincount(x[:, 1], minlength=2), law) > 1e-3
    marginal = tilted([0.6, 0.4], [0.6, 0.4], 3.0)[0]
    assert p_value(np.bincount(x[:, 1], minlength=2), marginal) < 1e-9


@pytest.mark.parametrize("scale", [-1.0, 0.5, 1.0, 2.0, 3.0])
def test_o13_random_order(scale, n=10_000):
    found = counts_of(guided_draw(Tables(P_C, P_U), scale, n, seed=3), 2)
    assert p_value(found, unmask_law(P_C, P_U, scale)) > 1e-3


def test_o13_random_order_is_no_other_law(n=10_000):
    # O13's own table cannot tell normalised from unnormalised rates: 2 of chi-square at 20,000.
    found = counts_of(guided_draw(Tables(*UNEVEN), 3.0, n, seed=3), 2)
    assert p_value(found, unmask_law(*UNEVEN, 3)) > 1e-3
    for law in (tilted(*UNEVEN, 3)[0], unnormalised_law(*UNEVEN, 3)):
        assert p_value(found, law) < 1e-9
    left, right = unmask_law(*UNEVEN, 3, order="left"), unmask_law(*UNEVEN.mT, 3, order="left").T
    for law in (left, right, (left + right) / 2 - 0.02 * np.array([[1, -1], [0, 0]])):
        assert p_value(found, law) < 1e-9
    assert (left + right) / 2 == pytest.approx(unmask_law(*UNEVEN, 3), abs=1e-12)


def test_o13_both_at_once(n=10_000):
    found = counts_of(guided_draw(Tables(P_C, P_U), 3.0, n, levels=[1.0, 0.0], seed=4), 2)
    assert p_value(found, unmask_law(P_C, P_U, 3.0, [2])) > 1e-3
    assert p_value(found, unmask_law(P_C, P_U, 3.0)) == pytest.approx(0, abs=1e-300)


def test_o13_unnormalised_rates_fail_the_same_test(n=10_000):
    # What is drawn in proportion to the rates: O13's last law, and not the sampler's.
    model = ct.guided(Tables(*UNEVEN), 3.0)
    found = counts_of(sample_unnormalised(model, n, 2, seed=5), 2)
    assert p_value(found, unnormalised_law(*UNEVEN, 3)) > 1e-3
    assert p_value(found, unmask_law(*UNEVEN, 3)) < 1e-9


@pytest.mark.parametrize("scale", [0.0, 0.4, 2.5])
@pytest.mark.parametrize(
    "order, sizes, levels",
    [
        ("random", [1, 1, 1], None),
        ("left", [1, 1, 1], None),
        ("random", [2, 1], [1.0, 0.3, 0.0]),
        ("left", [1, 2], [1.0, 0.6, 0.0]),
    ],
)
def test_three_places_of_three_words(order, sizes, levels, scale, n=6000):
    laws = random_laws(3, 3)
    x = guided_draw(Tables(*laws), scale, n, levels=levels, order=order, seed=6)
    found = counts_of(x, 3)
    law = unmask_law(*laws, scale, sizes, order)
    enough = law.ravel() * n > 5
    assert p_value(found[enough], law.ravel()[enough]) > 1e-3


def test_three_places_have_different_laws_in_different_orders(n=10_000):
    # The power of the test above: the laws that it tells apart.
    laws = random_laws(3, 3)
    random, left, at_once = (
        unmask_law(*laws, 2.5, sizes, order).ravel()
        for order, sizes in (("random", None), ("left", None), ("random", [2, 1]))
    )
    for a, b in itertools.permutations((random, left, at_once), 2):
        expected = n * a
        assert chi2.sf(((n * b - expected) ** 2 / expected).sum(), 26) < 1e-6


# O14

FIVE = [0.004938, 0.004543, 0.004030, 0.003326, 0.002277, 0.000320]


def published():
    """Return the exact model of the published example: two classes that share one word."""
    table = torch.zeros(2, 5, 5, dtype=torch.float64)
    table[0, :, :3] = table[1, :, 2:] = 1 / 3
    return ct.TokenMixture(table, torch.eye(2))


def twos(x):
    return np.bincount((x == 2).sum(1), minlength=6)


def test_o14_published_table(n=20_000):
    # Mass per state by the number of the shared word; the tilted law is flat but for the last.
    states = np.array([math.comb(5, k) * 2 ** (5 - k) for k in range(6)])
    assert (FIVE * states).sum() == pytest.approx(1, abs=1e-3)
    x = guided_draw(published(), 2.0, n, label=1, seed=0)
    assert (x >= 2).all()
    assert p_value(twos(x), FIVE * states) > 1e-3
    flat = [0.004124] * 5 + [1 - 0.004124 * states[:5].sum()]
    assert p_value(twos(x), np.array([*flat[:5], flat[5]]) * states) < 1e-9


def test_o14_by_recursion():
    cond, uncond = np.zeros([5] * 5), np.zeros([5] * 5)
    cond[2:, 2:, 2:, 2:, 2:] = 3.0**-5
    uncond[:3, :3, :3, :3, :3] += 3.0**-5 / 2
    uncond += cond / 2
    assert tilted(cond, uncond, 2)[0][3, 3, 2, 4, 2] == pytest.approx(0.004124, abs=1e-6)
    law = unmask_law(cond, uncond, 2)
    states = all_states(5, 5)
    for k, mass in enumerate(FIVE):
        kind = (states >= 2).all(1) & ((states == 2).sum(1) == k)
        assert law.ravel()[kind.numpy()] == pytest.approx(mass, abs=6e-7)


def test_orders_agree_where_places_are_alike(n=20_000):
    # No place of O14 differs from another, so that left to right is as good as random order.
    cond, uncond = random_laws(2, 3)
    alike = [(law + law.T) / 2 for law in (cond, uncond)]
    random, left = (unmask_law(*alike, 3, order=order) for order in ("random", "left"))
    assert random == pytest.approx((left + left.T) / 2, abs=1e-12)
    states = np.array([math.comb(5, k) * 2 ** (5 - k) for k in range(6)])
    x = guided_draw(published(), 2.0, n, label=1, order="left", seed=1)
    assert p_value(twos(x), FIVE * states) > 1e-3


@pytest.mark.parametrize("order", ["random", "left"])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_orders_agree_without_guidance(scale, order, n=10_000):
    laws = random_laws(3, 2)
    found = counts_of(guided_draw(Tables(*laws), scale, n, order=order, seed=7), 2)
    assert p_value(found, laws[0] if scale else laws[1]) > 1e-3


# Weights


def repaired(x, log_weight, words):
    """Return each state's mean weight (an estimate of T) and its standard error."""
    length = x.shape[1]
    at = (x * words ** torch.arange(length - 1, -1, -1)).sum(1)
    each = torch.nn.functional.one_hot(at, words**length) * log_weight.exp()[:, None]
    return each.mean(0).numpy(), (each.std(0) / len(x) ** 0.5).numpy()


@pytest.mark.parametrize("order", ["random", "left"])
def test_weights_repair_the_law(order, n=10_000):
    model, start = ct.guided(Tables(P_C, P_U), 3.0), torch.full((n, 2), 2)
    x, log_weight = last(
        ct.sample_unmask(
            model, start, torch.linspace(1, 0, 3), torch.tensor(0), order, 8, weights=True
        )
    )
    assert log_weight.dtype == torch.float64 and log_weight.shape == (n,)
    weight = log_weight.exp()
    assert weight.mean().item() == pytest.approx(2.1, abs=4 * weight.std().item() / n**0.5)
    estimate, error = repaired(x, log_weight, 2)
    law, z = tilted(P_C, P_U, 3)
    assert (np.abs(estimate - z * law.ravel()) < 4 * error).all()
    if order == "random":  # the samples themselves are another law's
        assert p_value(counts_of(x, 2), law) < 1e-4


def test_resampling_by_weight_gives_the_tilted_law(n=20_000, k=2000):
    model, start = ct.guided(Tables(P_C, P_U), 3.0), torch.full((n, 2), 2)
    x, log_weight = last(
        ct.sample_unmask(model, start, torch.linspace(1, 0, 3), torch.tensor(0), weights=True)
    )
    generator = torch.Generator().manual_seed(0)
    chosen = torch.multinomial(log_weight.exp(), k, generator=generator)
    assert p_value(counts_of(x[chosen], 2), tilted(P_C, P_U, 3)[0]) > 1e-3


@pytest.mark.parametrize("length, words, scale", [(3, 3, 2.0), (4, 2, 2.0), (3, 2, -0.5)])
def test_weights_of_more_places(length, words, scale, n=10_000):
    laws = random_laws(length, words, seed=2, least=1.0)  # no weight may be rare and heavy
    model, start = ct.guided(Tables(*laws), scale), torch.full((n, length), words)
    levels = torch.linspace(1, 0, length + 1)
    x, log_weight = last(ct.sample_unmask(model, start, levels, torch.tensor(0), weights=True))
    estimate, error = repaired(x, log_weight, words)
    law, z = tilted(*laws, scale)
    assert (np.abs(estimate - z * law.ravel()) < 4.5 * error + 1e-9).all()
    weight = log_weight.exp()
    assert weight.mean().item() == pytest.approx(z, abs=4 * weight.std().item() / n**0.5)
    assert weight.std() > 0.05


def test_weight_is_the_product_of_the_normalisers():
    # Left to right: Z1 of the first place, then Za of the second given the first.
    n = 200
    model, start = ct.guided(Tables(P_C, P_U), 3.0), torch.full((n, 2), 2)
    states = list(
        ct.sample_unmask(
            model, start, torch.linspace(1, 0, 3), torch.tensor(0), "left", weights=True
        )
    )
    first = power(np.array([0.6, 0.4]), np.array([0.5, 0.5]), 3).sum()
    cond, uncond = np.array(P_C) / [[0.6], [0.4]], np.array(P_U) / [[0.5], [0.5]]
    after = torch.tensor(power(cond, uncond, 3).sum(1))
    assert torch.allclose(states[0][1], torch.full((n,), math.log(first)).double())
    x, log_weight = states[1]
    assert torch.allclose(log_weight, math.log(first) + after[x[:, 0]].log())
    assert len(log_weight.unique()) == 2


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_weight_is_one_without_guidance(scale):
    laws = random_laws(3, 3)
    model, start = ct.guided(Tables(*laws), scale), torch.full((50, 3), 3)
    for _, log_weight in ct.sample_unmask(
        model, start, torch.linspace(1, 0, 4), torch.tensor(0), weights=True
    ):
        assert log_weight.abs().max() < 1e-12


def test_weights_change_no_sample():
    model, start = ct.guided(Tables(P_C, P_U), 3.0), torch.full((50, 2), 2)
    arguments = model, start, torch.linspace(1, 0, 3), torch.tensor(0)
    plain = list(ct.sample_unmask(*arguments))
    weighed = list(ct.sample_unmask(*arguments, weights=True))
    assert len(plain) == len(weighed) == 2
    assert all(torch.equal(a, b) for a, (b, _) in zip(plain, weighed, strict=True))


# Confidence order


def confidence_law(cond):
    """Return the law of two places: both drawn, the likelier word stays, the other is redrawn."""
    cond = np.array(cond)
    first, second = cond.sum(1), cond.sum(0)
    law = np.zeros_like(cond)
    for a, b in itertools.product(range(len(first)), range(len(second))):
        assert first[a] != second[b]
        share = first[a] * second[b]
        if first[a] > second[b]:
            law[a] += share * cond[a] / first[a]
        else:
            law[:, b] += share * cond[:, b] / second[b]
    return law


def test_confidence_favours_likely_words_even_without_guidance(n=10_000):
    cond = np.array([[0.42, 0.1, 0.05], [0.08, 0.14, 0.01], [0.06, 0.02, 0.12]])
    x = draw(Tables(cond, cond), n, order="confidence", seed=9)
    found, law = counts_of(x, 3), confidence_law(cond)
    assert p_value(found, law) > 1e-3
    assert p_value(found, cond) < 1e-9
    # Towards the likely: the likeliest word of the first place, by three points.
    assert law.sum(1)[0] > cond.sum(1)[0] + 0.03
    assert (x[:, 0] == 0).double().mean() > cond.sum(1)[0] + 0.02


# Steps, levels and places


@settings(max_examples=40)
@given(
    st.integers(1, 6),
    st.integers(1, 14),
    st.sampled_from(ct.samplers.ORDERS),
    st.integers(0, 99),
)
def test_any_number_of_steps_reveals_each_place_once(length, num_steps, order, seed):
    model = Tables(*random_laws(length, 2))
    generator = torch.Generator().manual_seed(seed)
    start = all_states(length, 3)
    start = start[torch.randint(len(start), (5,), generator=generator)]
    at_first = (start == 2).sum(1)
    levels = torch.linspace(1, 0, num_steps + 1)
    arguments = model, start, levels, torch.tensor(0)
    states = [start, *ct.sample_unmask(*arguments, order=order, seed=seed)]
    assert len(states) == num_steps + 1 and not (states[-1] == 2).any()
    for level, before, after in zip(levels[1:], states, states[1:], strict=False):
        shown = before != 2
        assert torch.equal(before[shown], after[shown])
        masked = (after == 2).sum(1)
        assert (masked >= at_first * level - 1e-3).all()
        assert (masked < at_first * level + 1).all()
    changes = sum((a != b).any() for a, b in itertools.pairwise(states))
    assert len(model.rows) == changes


def test_masked_count_falls_as_the_levels_say():
    model, start = Tables(*random_laws(5, 2)), torch.full((3, 5), 2)
    levels = torch.tensor([1.0, 0.9, 0.4, 0.4 - 1e-3, 0.1, 0.0])
    counts = [
        (state == 2).sum(1).tolist()
        for state in ct.sample_unmask(model, start, levels, torch.tensor(0))
    ]
    assert counts == [[5] * 3, [2] * 3, [2] * 3, [1] * 3, [0] * 3]
    assert torch.stack(model.levels).tolist() == levels[[1, 3, 4]].tolist()


@pytest.mark.parametrize("top", [1.0, 0.5])
@pytest.mark.parametrize("order", ct.samplers.ORDERS)
def test_visible_places_stay(order, top):
    # Those masked at the start are spread over all the levels, wherever these begin.
    model = Tables(*random_laws(4, 3))
    start = torch.tensor([[0, 3, 3, 2], [3, 1, 1, 3], [2, 2, 3, 3], [3, 0, 3, 0]])
    levels = torch.tensor([top, top / 2, 0.0])
    states = list(ct.sample_unmask(model, start, levels, torch.tensor(0), order=order))
    assert [(state == 3).sum(1).tolist() for state in states] == [[1] * 4, [0] * 4]
    for state in states:
        assert torch.equal(state[start != 3], start[start != 3])
    assert [level.item() for level in model.levels] == [top, top / 2]


def test_masked_places_are_spread_over_levels_that_begin_below_one():
    # Half of four masked places stay at half of the first level, whatever that is.
    for top in (1.0, 0.5, 0.1):
        levels = torch.tensor([top, 0.75 * top, 0.5 * top, 0.0])
        states = ct.sample_unmask(
            Tables(*random_laws(4, 2)), torch.full((2, 4), 2), levels, torch.tensor(0)
        )
        assert [(state == 2).sum(1).tolist() for state in states] == [[3, 3], [2, 2], [0, 0]]


def test_all_places_visible_come_back_unchanged_at_no_cost():
    model = Tables(*random_laws(3, 2))
    start = torch.tensor([[0, 1, 1], [1, 0, 0]])
    kept = start.clone()
    for options in ({}, {"order": "left"}, {"order": "confidence"}):
        states = list(
            ct.sample_unmask(model, start, torch.linspace(1, 0, 4), torch.tensor(0), **options)
        )
        assert len(states) == 3 and all(torch.equal(state, kept) for state in states)
    state, log_weight = last(
        ct.sample_unmask(model, start, torch.tensor([1.0, 0]), torch.tensor(0), weights=True)
    )
    assert torch.equal(state, kept) and log_weight.tolist() == [0, 0]
    assert model.rows == []


def test_the_start_is_not_changed():
    start = torch.full((4, 3), 2)
    draw(Tables(*random_laws(3, 2)), 4, start=start)
    assert (start == 2).all()


class Dropping(torch.nn.Module):
    """A network of tokens that drops words in training, and learns."""

    num_classes = null_label = 1
    p_uncond, vocab_size, mask_token, length = 0.5, 3, 3, 2

    def __init__(self):
        super().__init__()
        self.bias, self.drop = torch.nn.Parameter(torch.zeros(3)), torch.nn.Dropout(0.5)
        self.modes = []

    def forward(self, tokens, level, label):
        self.modes.append((self.training, self.drop.training, torch.is_grad_enabled()))
        return self.drop(self.bias.expand(*tokens.shape, 3)).log_softmax(-1)


def test_tokens_are_sampled_in_evaluation_mode_which_is_restored():
    net = Dropping()
    net.train()
    net.drop.eval()
    assert not guided_draw(net, 2.0, 4).requires_grad
    assert net.modes == [(False, False, False)] * 2
    assert net.training and not net.drop.training


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_tokens_of_any_integer_type(dtype):
    model = told()
    start, label = torch.full((20, 3), 3), torch.tensor(0)
    levels = torch.linspace(1, 0, 4)
    x, expected = (
        last(ct.sample_unmask(model, tokens, levels, label)) for tokens in (start.to(dtype), start)
    )
    assert torch.equal(x.long(), expected)


# A row's luck


def test_one_forward_a_step_and_two_branches_when_guided():
    model = Tables(*random_laws(4, 2))
    guided_draw(model, 1.0, 6)
    assert model.rows == [6] * 4
    model.rows.clear()
    guided_draw(model, 0.0, 6)
    assert model.rows == [6] * 4
    model.rows.clear()
    guided_draw(model, 2.0, 6)
    assert model.rows == [12] * 4
    model.rows.clear()
    guided_draw(model, torch.tensor([0, 1, 2, 3.0, 1, 1]), 6)
    assert model.rows == [8] * 4
    exact = published()
    guided_draw(exact, torch.tensor([0, 1, 2, 3.0, 1, 1]), 6, label=1)
    assert exact.rows_run == 8 * 5


@pytest.mark.parametrize("order", ct.samplers.ORDERS)
def test_the_first_rows_of_a_batch_are_a_smaller_batch(order):
    model = Tables(*random_laws(4, 3))
    whole, part = (guided_draw(model, 2.0, n, order=order, seed=5) for n in (40, 7))
    assert torch.equal(whole[:7], part)
    assert not torch.equal(guided_draw(model, 2.0, 40, order=order, seed=6), whole)


@pytest.mark.parametrize("order", ct.samplers.ORDERS)
def test_rows_carry_their_luck_along(order):
    model = Tables(*random_laws(4, 3))
    whole = guided_draw(model, 2.0, 40, order=order, seed=5)
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:9]
    assert torch.equal(guided_draw(model, 2.0, 9, order=order, seed=5, rows=rows), whole[rows])
    same = guided_draw(model, 2.0, 9, order=order, rows=torch.full((9,), 3))
    assert (same == same[0]).all()


def test_rows_at_different_scales_share_their_luck():
    model, scales = Tables(*random_laws(4, 3)), [0.0, 1.0, 2.0, 4.0]
    rows = torch.arange(10).repeat(4)
    together = guided_draw(model, torch.tensor(scales).repeat_interleave(10), 40, rows=rows, seed=1)
    for part, scale in zip(together.split(10), scales, strict=True):
        assert torch.equal(part, guided_draw(model, scale, 10, seed=1))
    even = Tables(*[np.full([3] * 4, 3.0**-4)] * 2)
    same = guided_draw(even, torch.tensor(scales).repeat_interleave(10), 40, rows=rows)
    assert all(torch.equal(part, same[:10]) for part in same.split(10))


@pytest.mark.parametrize("order", ct.samplers.ORDERS)
def test_a_row_does_not_depend_on_how_much_of_another_is_masked(order):
    # One masked place waits for the last step; its luck is that step's, whoever is beside it.
    model = Tables(*random_laws(4, 3))
    start = torch.tensor([[0, 3, 1, 2], [3, 3, 3, 3], [3, 1, 3, 0]]).repeat(20, 1)
    whole = draw(model, 60, start=start, order=order)
    for kind in range(3):
        rows = torch.arange(kind, 60, 3)
        alone = draw(model, 20, start=start[rows], order=order, rows=rows)
        assert torch.equal(whole[rows], alone)


def test_random_orders_of_rows_differ_and_are_even(n=3000):
    model = Tables(*random_laws(3, 2))
    first = next(
        ct.sample_unmask(
            model, torch.full((n, 3), 2), torch.linspace(1, 0, 4), torch.tensor(0), seed=3
        )
    )
    counts = (first != 2).sum(0).numpy()
    assert counts.sum() == n and p_value(counts, np.ones(3) / 3) > 1e-3


def test_left_order_is_from_left_to_right():
    model = Tables(*random_laws(4, 2))
    start = torch.tensor([[2, 2, 2, 2], [2, 1, 2, 0]])
    levels = torch.linspace(1, 0, 5)
    states = ct.sample_unmask(model, start, levels, torch.tensor(0), order="left")
    shown = [state != 2 for state in states]
    assert [row[0].tolist() for row in shown] == [[i <= k for i in range(4)] for k in range(4)]
    assert shown[0][1].tolist() == [False, True, False, True]
    assert shown[1][1].tolist() == [True, True, False, True]


def test_words_are_drawn_not_the_likeliest_taken():
    x = draw(Tables([0.6, 0.4], [0.6, 0.4]), 2000)
    assert 0.35 < x.double().mean() < 0.45


# Guidance of tokens


@settings(max_examples=30)
@given(SCALE, SCALE, st.integers(0, 99))
def test_guiding_twice_multiplies_the_scales_of_tokens(a, b, seed):
    model = Tables(*random_laws(3, 3, seed, classes=2))
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, (8, 3), generator=generator)
    label, level = torch.randint(3, (8,), generator=generator), torch.tensor(0.5)
    twice = ct.guided(ct.guided(model, a), b)(tokens, level, label)
    once = ct.guided(model, a * b)(tokens, level, label)
    torch.testing.assert_close(twice, once, atol=1e-9, rtol=1e-9)
    null = torch.full((8,), 2)
    assert torch.equal(ct.guided(model, a)(tokens, level, null), model(tokens, level, null))


def parts_model():
    """Return an exact model whose labels have two parts, of 2 and 3 values, and 6 components."""
    generator = torch.Generator().manual_seed(4)
    tables = torch.rand(4, 2, 3, generator=generator, dtype=torch.float64) ** 3
    weights = torch.rand(2, 3, 4, generator=generator, dtype=torch.float64) ** 2
    return ct.TokenMixture(tables / tables.sum(-1, keepdim=True), weights), weights


def test_null_labels_of_two_parts_are_a_fixed_point():
    model, _ = parts_model()
    tokens = torch.tensor([[3, 3], [0, 3], [3, 2]])
    level = torch.tensor(1.0)
    null = torch.tensor([[2, 3]] * 3)
    guided = ct.guided(model, 3.0)
    assert torch.equal(guided(tokens, level, null), model(tokens, level, null))
    # A label that lacks one part is guided against the one that lacks both.
    label = torch.tensor([[0, 3], [2, 1], [1, 2]])
    cond, uncond = model(tokens, level, label), model(tokens, level, null)
    masked = tokens == 3
    expected = uncond + 3 * (cond - uncond)
    torch.testing.assert_close(guided(tokens, level, label)[masked], expected[masked])
    assert (cond - uncond)[masked].abs().max() > 0.1


def test_schedules_take_the_masked_fraction_at_the_start_of_a_step():
    # A window (0.25, 0.75] of four steps is the second and the third: levels .75 and .5.
    model = Tables(*random_laws(4, 2))
    start = torch.full((5, 4), 2)
    asked = []

    def schedule(level):
        asked.append(level.item())
        return window(level)

    window = ct.interval(3.0, lo=0.25, hi=0.75)
    last(
        ct.sample_unmask(
            ct.guided(model, schedule), start, torch.linspace(1, 0, 5), torch.tensor(0)
        )
    )
    assert asked == [1.0, 0.75, 0.5, 0.25]
    assert model.rows == [5, 10, 10, 5]
    masked = [(tokens[0] == 2).double().mean().item() for tokens in model.seen]
    assert masked == asked
    for part, rows in zip(model.levels, model.rows, strict=True):
        assert part.ndim == 0 or part.shape == (rows,)


@pytest.mark.parametrize(
    "schedule, scales",
    [
        (lambda: ct.interval(3.0, lo=0.25, hi=0.75), [1, 3, 3, 1]),
        (lambda: ct.interval(0.0, hi=0.5), [1, 1, 0, 0]),
        (lambda: ct.ramp(1.0, 5.0, hi=1.0, lo=0.0, rho=1), [1, 2, 3, 4]),
        (lambda: ct.ramp(4.0, 0.0, hi=1.0, lo=0.0, rho=1), [4, 3, 2, 1]),
        (lambda: lambda level: 4 * level, [4, 3, 2, 1]),
    ],
)
def test_scheduled_sampling_is_sampling_at_each_steps_own_scale(schedule, scales, n=60):
    model = Tables(*random_laws(4, 3, seed=5))
    found = guided_draw(model, schedule(), n, seed=2)
    levels = torch.linspace(1, 0, 5)
    # Step by step by hand: the luck of a step is that of a constant scale's run at that step.
    by_level = {round(level.item(), 6): s for level, s in zip(levels, scales, strict=False)}

    class ByHand(Tables):
        def __call__(self, tokens, level, label):
            s = by_level[round(float(level), 6)]
            cond = super().__call__(tokens, level, label)
            uncond = super().__call__(tokens, level, torch.full_like(label, 1))
            mixed = uncond + s * (cond - uncond)
            return torch.where(cond.isneginf() | uncond.isneginf(), -torch.inf, mixed)

    expected = draw(ByHand(*random_laws(4, 3, seed=5)), n, seed=2)
    assert torch.equal(found, expected)
    assert not torch.equal(found, guided_draw(model, 1.0, n, seed=2))


def test_scales_of_rows_in_a_schedule_of_tokens(n=30):
    model = Tables(*random_laws(4, 3))
    scales = torch.tensor([0.0, 2.0, 4.0]).repeat_interleave(n)
    rows = torch.arange(n).repeat(3)
    together = guided_draw(model, ct.interval(scales, hi=0.5), 3 * n, rows=rows)
    for part, scale in zip(together.split(n), (0.0, 2.0, 4.0), strict=True):
        assert torch.equal(part, guided_draw(model, ct.interval(scale, hi=0.5), n))


# What is forbidden


HOLES = [[0.5, 0.0, 0.2], [0.1, 0.15, 0.05], [0.0, 0.0, 0.0]]
OTHER = [[0.2, 0.1, 0.0], [0.1, 0.2, 0.1], [0.2, 0.05, 0.05]]


@pytest.mark.parametrize("scale", [0.5, 2.0, -1.0])
def test_what_either_branch_forbids_never_comes(scale, n=4000):
    model = ct.guided(Tables(HOLES, OTHER), scale)
    masked = model(torch.full((1, 2), 3), torch.tensor(1.0), torch.tensor([0]))
    assert not masked.isnan().any() and masked[0, 0, 2].isneginf()
    found = counts_of(draw(model, n, start=torch.full((n, 2), 3), seed=1), 3).reshape(3, 3)
    law = unmask_law(HOLES, OTHER, scale)
    assert (law > 0).sum() == 4 and law.sum() == pytest.approx(1)
    assert p_value(found, law) > 1e-3


def test_a_place_where_the_branches_leave_nothing_is_an_error():
    model = Tables([[0.5, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="parameter of guided must allow something at every place"):
        guided_draw(model, 2.0, 3)
    assert guided_draw(model, 1.0, 3)[:, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value, total", [(-math.inf, "0"), (math.nan, "nan"), (math.inf, "inf")])
def test_a_model_that_allows_no_word_is_an_error(value, total):
    class Nothing(Tables):
        def __call__(self, tokens, level, label):
            return super().__call__(tokens, level, label).index_fill(1, torch.tensor(1), value)

    message = f"'model' parameter of sample_unmask must allow a word .*sum to {total} instead"
    with pytest.raises(ValueError, match=message):
        draw(Nothing(P_C, P_U), 3)
    # A visible place is asked for nothing.
    assert draw(Nothing(P_C, P_U), 3, start=torch.tensor([[2, 0]] * 3)).shape == (3, 2)


@settings(max_examples=15)
@given(st.integers(0, 999), st.floats(-30, 30))
def test_a_constant_added_to_a_row_of_logits_changes_no_sample(seed, size):
    class Shifted(Tables):
        def __call__(self, tokens, level, label):
            places = torch.arange(1.0, tokens.shape[1] + 1).double()[:, None]
            return super().__call__(tokens, level, label) + size * places

    laws = random_laws(3, 3, seed)
    assert torch.equal(draw(Shifted(*laws), 30, seed=seed), draw(Tables(*laws), 30, seed=seed))
    _, log_weight = draw(Shifted(*laws), 30, seed=seed, weights=True)
    assert torch.allclose(log_weight, torch.full((30,), 6 * size).double())


def test_the_mask_is_never_drawn_though_it_be_a_word(n=4000):
    class WithMask:
        num_classes = null_label = 1
        p_uncond, vocab_size, mask_token, length = 0.5, 4, 1, 2

        def __call__(self, tokens, level, label):
            return torch.tensor([0.1, 0.6, 0.2, 0.1]).log().expand(*tokens.shape, 4)

    for options in ({}, {"order": "confidence"}, {"levels": [1.0, 0.0]}):
        x = draw(WithMask(), n, **options)
        counts = np.bincount(x.flatten(), minlength=4)
        assert counts[1] == 0
        if "order" not in options:
            assert p_value(counts, [0.25, 0, 0.5, 0.25]) > 1e-3
    _, log_weight = draw(WithMask(), 3, weights=True)
    assert torch.allclose(log_weight, torch.full((3,), 2 * math.log(0.4)).double())


# The exact model


@pytest.fixture(scope="module")
def mixture():
    """An exact model with zeros in its tables, two classes, three components and two modes."""
    return make_mixture()


@functools.cache
def make_mixture():
    generator = torch.Generator().manual_seed(1)
    tables = torch.rand(3, 3, 4, generator=generator, dtype=torch.float64)
    tables = tables * (torch.rand(3, 3, 4, generator=generator) > 0.25)
    weights = [weights_of(0), weights_of(1)]
    return ct.TokenMixture(tables / tables.sum(-1, keepdim=True), weights, torch.tensor([0, 1, 1]))


def joint_of(mixture, weights):
    """Return p(component, row) for weights (components,), row by row in all_states' order."""
    states = all_states(mixture.length, mixture.vocab_size)
    each = [
        math.prod(mixture.tables[z, i, w] for i, w in enumerate(state))
        for z in range(len(mixture.tables))
        for state in states
    ]
    return torch.tensor(weights, dtype=torch.float64)[:, None] * torch.tensor(each).view(
        len(mixture.tables), -1
    )


def weights_of(label):
    rows = [[0.6, 0.3, 0.1], [0.0, 0.45, 0.55], [0.3, 0.375, 0.325]]
    return rows[label]


@pytest.mark.parametrize("label", [0, 1, 2])
def test_log_prob_is_the_law(mixture, label):
    states = all_states(3, 4)
    found = mixture.log_prob(states, label).exp()
    torch.testing.assert_close(found, joint_of(mixture, weights_of(label)).sum(0))
    assert found.sum().item() == pytest.approx(1, abs=1e-12)
    if label == 2:
        assert torch.equal(mixture.log_prob(states), mixture.log_prob(states, 2))


@pytest.mark.parametrize("label", [0, 1, 2])
def test_conditionals_are_those_of_the_law(mixture, label):
    states, joint = all_states(3, 4), joint_of(mixture, weights_of(label))
    model = Tables(joint.sum(0).view(4, 4, 4))
    partial = all_states(3, 5)
    found = mixture(partial, torch.tensor(0.3), torch.full((len(partial),), label))
    expected = model(partial, None, torch.zeros(len(partial), dtype=torch.long))
    possible = expected.exp().sum(2) > 0.5
    masked = (partial == 4) & possible
    torch.testing.assert_close(found[masked].exp(), expected[masked].exp(), atol=1e-12, rtol=1e-9)
    assert masked.any(0).all() and found.dtype == torch.float64
    shown = partial != 4
    word = found.exp().argmax(2)
    assert torch.equal(word[shown], partial[shown]) and (found[shown].exp().sum(-1) == 1).all()
    fits = ((partial[:, None] == states) | (partial[:, None] == 4)).all(2).double()
    torch.testing.assert_close(mixture.log_prob(partial, label).exp(), fits @ joint.sum(0))


def test_posteriors_are_those_of_the_law(mixture):
    partial = all_states(3, 5)
    states = all_states(3, 4)
    fits = ((partial[:, None] == states) | (partial[:, None] == 4)).all(2).double()
    each = torch.stack([fits @ joint_of(mixture, weights_of(c)).sum(0) for c in (0, 1)], 1)
    possible = each.sum(1) > 0
    posterior = each / each.sum(1, keepdim=True)
    torch.testing.assert_close(mixture.posterior(partial)[possible], posterior[possible])
    for label in (0, 1, 2):
        joint = joint_of(mixture, weights_of(label))
        component = fits @ joint.T
        seen = component.sum(1, keepdim=True)
        component = torch.where(seen > 0, component / seen, joint.sum(1))  # else nothing is known
        torch.testing.assert_close(mixture.component_posterior(partial, label), component)
        mode = torch.stack([component[:, 0], component[:, 1] + component[:, 2]], 1)
        torch.testing.assert_close(mixture.mode_posterior(partial, label), mode)


PARTS = [(c, k) for c in range(3) for k in range(4)]


def parts_weights(weights, label):
    """Return p(component | label), null parts summed out, by loops."""
    own = torch.zeros(weights.shape[2], dtype=torch.float64)
    for c, k in itertools.product(range(2), range(3)):
        if label[0] in (c, 2) and label[1] in (k, 3):
            own += weights[c, k]
    return own / own.sum()


@pytest.mark.parametrize("label", PARTS, ids=str)
def test_labels_of_two_parts_with_each_null(label):
    model, weights = parts_model()
    assert model.num_classes.tolist() == model.null_label.tolist() == [2, 3]
    law = joint_of(model, parts_weights(weights, label).tolist()).sum(0)
    states, partial = all_states(2, 3), all_states(2, 4)
    torch.testing.assert_close(model.log_prob(states, torch.tensor(label)).exp(), law)
    expected = Tables(law.view(3, 3))(partial, None, torch.zeros(16, dtype=torch.long))
    found = model(partial, torch.tensor(1.0), torch.tensor([label] * 16))
    masked = partial == 3
    torch.testing.assert_close(found[masked], expected[masked])


def test_posterior_of_a_label_of_two_parts_is_of_the_first():
    # Joint weights say how likely each class is: it is not even here.
    model, weights = parts_model()
    partial = all_states(2, 4)
    fits = ((partial[:, None] == all_states(2, 3)) | (partial[:, None] == 3)).all(2).double()
    prior = weights.sum((1, 2)) / weights.sum()
    assert (prior[0] - prior[1]).abs() > 0.1
    each = [
        prior[c] * (fits @ joint_of(model, parts_weights(weights, (c, 3)).tolist()).sum(0))
        for c in (0, 1)
    ]
    expected = torch.stack(each, 1)
    torch.testing.assert_close(
        model.posterior(partial), expected / expected.sum(1, keepdim=True), atol=1e-9, rtol=1e-9
    )


def test_samples_of_the_exact_law_follow_it(mixture, n=10_000):
    for label in (0, 1, None):
        law = joint_of(mixture, weights_of(2 if label is None else label)).sum(0).numpy()
        found = counts_of(mixture.sample(n, label, seed=3), 4)
        enough = law * n > 5
        assert found[law == 0].sum() == 0
        assert p_value(found[enough], law[enough]) > 1e-3
    assert torch.equal(mixture.sample(9, 0, seed=3), mixture.sample(9, 0, seed=3))
    assert not torch.equal(mixture.sample(9, 0, seed=3), mixture.sample(9, 0, seed=4))


def told(seed=0):
    """Return an exact model in which the first place tells the component."""
    generator = torch.Generator().manual_seed(seed)
    tables = torch.rand(3, 3, 3, generator=generator, dtype=torch.float64)
    tables[:, 0] = torch.eye(3)
    weights = [[0.7, 0.2, 0.1], [0.0, 0.4, 0.6]]
    return ct.TokenMixture(tables / tables.sum(-1, keepdim=True), weights, [0, 0, 1])


@pytest.mark.parametrize("label", [0, 1, 2])
def test_entropy_by_enumeration(label):
    model = told()
    law = model.log_prob(all_states(3, 3), label).exp()
    assert model.entropy(label) == pytest.approx(torch.special.entr(law).sum().item(), abs=1e-12)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0, -1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_tilted_weights_by_enumeration(scale, label):
    model, states = told(), all_states(3, 3)
    cond, uncond = (model.log_prob(states, c).exp().numpy() for c in (label, 2))
    law = tilted(cond, uncond, scale)[0]
    mode = np.array([0, 0, 1])[states[:, 0]]
    expected = [law[mode == k].sum() for k in (0, 1)]
    assert model.tilted_weights(scale, label).tolist() == pytest.approx(expected, abs=1e-9)


def test_rows_run_are_counted_by_the_exact_model(mixture):
    model = told()
    tokens, label = torch.full((300, 3), 3), torch.zeros(300, dtype=torch.long)
    ct.guided(model, 2.0)(tokens, torch.tensor(1.0), label)
    assert model.rows_run == 600


def test_slices_of_the_exact_model_change_nothing():
    model = told()
    tokens = all_states(3, 4).repeat(10, 1)
    label = torch.arange(len(tokens)) % 3
    whole = model(tokens, torch.tensor(1.0), label)
    assert len(tokens) > model.batch_size
    rows = torch.arange(0, len(tokens), 7)
    alone = told()(tokens[rows], torch.tensor(1.0), label[rows])
    torch.testing.assert_close(whole[rows], alone)
    for level in (torch.rand(len(tokens)), 0.4):
        assert torch.equal(model(tokens, level, label), whole)


# The process


def masked(length=5, pad=True):
    return ct.Masked(7, 7, 8 if pad else None)


def test_levels_fall_from_one_to_zero():
    levels = masked().levels(4)
    assert levels.tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert torch.equal(masked().levels(4, edges=(0.6, 0.3)), levels)
    assert masked().levels(1).tolist() == [1, 0]


def test_the_first_state_is_all_masked():
    x = masked().noise((5,), 0, torch.arange(3), torch.empty(0))
    assert x.shape == (3, 5) and (x == 7).all() and x.dtype == torch.int64


def test_corrupt_masks_the_share_in_each_row():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randint(7, (600, 6), generator=generator)
    for level, count in ((0.0, 0), (1 / 6, 1), (0.5, 3), (1.0, 6)):
        x = masked().corrupt(x0, torch.tensor(level), generator)
        assert ((x == 7).sum(1) == count).all()
        assert torch.equal(x[x != 7], x0[x != 7])
    level = torch.arange(7).repeat(100)[:600] / 6
    x = masked().corrupt(x0, level, generator)
    assert torch.equal((x == 7).sum(1), torch.arange(7).repeat(100)[:600])


def test_corrupt_chooses_places_evenly_and_for_each_row(n=6000):
    x0 = torch.zeros(n, 4, dtype=torch.long)
    x = masked().corrupt(x0, torch.tensor(0.5), torch.Generator().manual_seed(1))
    chosen = ((x == 7) * 2 ** torch.arange(4)).sum(1)
    counts = np.bincount(chosen, minlength=16)
    assert sorted(np.flatnonzero(counts)) == [3, 5, 6, 9, 10, 12]
    assert p_value(counts[counts > 0], np.ones(6) / 6) > 1e-3


def test_corrupt_never_masks_padding():
    x0 = torch.zeros(500, 6, dtype=torch.long)
    length = torch.arange(500) % 6 + 1
    x0[torch.arange(6) >= length[:, None]] = 8
    generator = torch.Generator().manual_seed(2)
    for level in (0.3, 0.5, 1.0):
        x = masked().corrupt(x0, torch.tensor(level), generator)
        assert torch.equal(x == 8, x0 == 8)
        assert ((x == 7).sum(1) == (level * length).round()).all()


def test_corrupt_is_a_function_of_the_generator():
    x0, level = torch.zeros(50, 6, dtype=torch.long), torch.tensor(0.5)
    a, b, c = (masked().corrupt(x0, level, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


# The loss


class Spy:
    """A model that keeps what the loss asked it."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def __call__(self, tokens, level, label):
        self.asked.append((tokens, level, label))
        return self.model(tokens, level, label)


def test_nelbo_of_the_exact_model_is_the_entropy():
    laws = random_laws(3, 3, seed=3)
    law = torch.tensor(laws[0]).flatten()
    entropy = torch.special.entr(law).sum().item()
    assert nelbo(Tables(*laws), law) == pytest.approx(entropy, abs=1e-12)
    assert nelbo(Tables(laws[1], laws[1]), law) > entropy + 0.05  # another law costs more
    for label in (0, 1, 2):
        model = make_mixture()
        law = model.log_prob(all_states(3, 4), label).exp()
        entropy = torch.special.entr(law).sum().item()
        assert nelbo(model, law, label) == pytest.approx(entropy, abs=1e-9)


def test_loss_is_the_weighted_cost_of_what_was_masked():
    model = told()
    process = ct.Masked(model.vocab_size, model.mask_token, model.pad_token)
    x0, label = model.sample(600, 1, seed=0), torch.ones(600, dtype=torch.long)
    spy = Spy(model)
    loss = process.loss(spy, x0, label, torch.Generator().manual_seed(0))
    ((tokens, level, asked),) = spy.asked
    hidden = tokens == model.mask_token
    count = hidden.sum(1)
    assert torch.equal(asked, label) and torch.equal(tokens[~hidden], x0[~hidden])
    # Each number of places equally often, the level the masked fraction.
    assert torch.bincount(count, minlength=4).tolist() == [0, 200, 200, 200]
    torch.testing.assert_close(level, count / 3)
    log_prob = model(tokens, level, label).gather(2, x0[..., None])[..., 0]
    expected = sum(
        3 / count[i].item() * -log_prob[i][hidden[i]].sum().item() for i in range(600)
    ) / len(x0)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_loss_masks_other_places_in_each_row():
    model = told()
    process = ct.Masked(model.vocab_size, model.mask_token, model.pad_token)
    spy = Spy(model)
    x0 = model.sample(3000, 0, seed=1)
    process.loss(spy, x0, torch.zeros(3000).long(), torch.Generator().manual_seed(3))
    hidden = spy.asked[0][0] == model.mask_token
    counts = np.bincount((hidden * 2 ** torch.arange(3)).sum(1), minlength=8)
    assert counts[0] == 0
    assert p_value(counts[1:], np.array([1, 1, 1, 1, 1, 1, 3]) / 9) > 1e-3


def test_causal_loss_is_the_cost_of_every_place():
    model = told()
    process = ct.Masked(model.vocab_size, model.mask_token, model.pad_token, causal=True)
    x0, label = model.sample(50, 0), torch.zeros(50, dtype=torch.long)

    def unigram(tokens, level, label):
        assert torch.equal(tokens, x0)  # nothing is masked: a causal net hides what comes next
        return torch.tensor([0.5, 0.3, 0.2]).log().expand(*tokens.shape, 3)

    expected = -torch.tensor([0.5, 0.3, 0.2]).log()[x0].sum(1).mean()
    assert process.loss(unigram, x0, label).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_does_not_change_the_loss(causal):
    model = told()
    process = ct.Masked(model.vocab_size, model.mask_token, model.pad_token, causal)
    x0, label = model.sample(400, 0, seed=0), torch.zeros(400, dtype=torch.long)
    padded = torch.cat([x0, torch.full((400, 2), model.pad_token)], 1)
    lengths = torch.arange(400) % 3 + 1

    def words(tokens, level, label):  # a cost that depends on the place and word alone
        place = torch.arange(1.0, tokens.shape[1] + 1)[:, None]
        return (-(place * torch.tensor([1.0, 2.0, 4.0]))).expand(len(tokens), -1, -1)

    def mean(x):
        generator = torch.Generator().manual_seed(1)
        return np.mean([process.loss(words, x, label, generator).item() for _ in range(200)])

    place = torch.arange(1.0, 4)
    cost = place * torch.tensor([1.0, 2.0, 4.0])[x0]
    assert mean(x0) == pytest.approx(cost.sum(1).mean().item(), rel=0.01)
    assert mean(padded) == pytest.approx(cost.sum(1).mean().item(), rel=0.01)
    ragged = x0.masked_fill(torch.arange(3) >= lengths[:, None], model.pad_token)
    real = cost * (torch.arange(3) < lengths[:, None])
    assert mean(ragged) == pytest.approx(real.sum(1).mean().item(), rel=0.01)
    exact = process.loss(model, padded, label, torch.Generator().manual_seed(0)).item()
    assert math.isfinite(exact)


# Padding


def test_padding_never_changes_the_exact_model():
    model = make_mixture()
    tokens = all_states(3, 5)
    label, level = torch.arange(len(tokens)) % 2, torch.tensor(0.5)
    padded = torch.cat([tokens, torch.full((len(tokens), 2), model.pad_token)], 1)
    possible = (model.log_prob(tokens, 0) > -torch.inf) & (model.log_prob(tokens, 1) > -torch.inf)
    tokens, padded, label = tokens[possible], padded[possible], label[possible]
    for scale in (0.0, 1.0, 3.0):
        guided = ct.guided(model, scale)
        found, alone = guided(padded, level, label), guided(tokens, level, label)
        assert torch.equal(found[:, :3], alone) and found.shape[1] == 5
    assert torch.equal(model.log_prob(padded), model.log_prob(tokens))
    start = torch.tensor([[4, 4, 4, 5, 5]]).expand(40, -1)
    x = guided_draw(model, 2.0, 40, start=start, label=1)
    assert (x[:, 3:] == 5).all() and (x[:, :3] < 4).all()


# Wrapping


def test_wrapped_logits_become_log_probabilities():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    seen = []

    def net(tokens, level, label):
        seen.append(level)
        return logits[label] if len(tokens) == len(label) else logits

    model = ct.wrap(
        net, "log_probs", num_classes=1, vocab_size=4, mask_token=4, level_input=lambda t: 10 * t
    )
    tokens, label = torch.tensor([[4, 4, 0], [1, 4, 4]]), torch.tensor([1, 0])
    found = model(tokens, torch.tensor(0.5), label)
    torch.testing.assert_close(found, logits[label].log_softmax(-1))
    assert seen[0].tolist() == [5, 5] and model.rows_run == 2 and model.null_label == 1
    process = ct.Masked(4, 4)
    assert process.is_prediction(found, tokens) and not process.is_prediction(found + 1, tokens)
    assert not process.is_prediction(found[:, :2], tokens)
    assert not process.is_prediction(found[..., :3], tokens)
