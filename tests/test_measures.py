"""Measures, each against its definition by hand."""

import math

import pytest
import torch

import cfg_tutorial as ct
from cfg_tutorial import measures, models
from cfg_tutorial.domains.base import SKEWED

LAW = torch.tensor(SKEWED, dtype=torch.float64)


def counts(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_counting_leaves_the_invalid_out():
    mode = torch.tensor([0, 2, 2, -1, 3, -1])
    assert measures.count_modes(mode, 5).tolist() == [1, 0, 2, 1, 0]
    assert measures.validity(mode) == pytest.approx(4 / 6)


def test_alignment_by_hand():
    weights = torch.tensor([[0.75, 0.25, 0], [0.25, 0.25, 0.5]])
    found = measures.alignment(counts(2, 1, 1), weights, 0)
    assert found == pytest.approx((2 * 0.75 + 1 * 0.5 + 0) / 4)
    assert measures.alignment(counts(2, 1, 1), weights, 1) == pytest.approx(1 - found)
    assert measures.alignment(1000 * LAW[0], LAW, 0) == pytest.approx(0.698, abs=5e-4)
    assert measures.alignment(1000 * LAW.mean(0), LAW, 0) == pytest.approx(0.5)


def test_a_mode_counts_from_a_quarter_of_its_share():
    # 100 samples: .30 needs ceil(7.5) = 8, .03 needs max(1, ceil(.75)) = 1.
    weights = torch.tensor([0.30, 0.67, 0.03])
    assert measures.mode_coverage(counts(8, 91, 1), weights) == 1
    assert measures.mode_coverage(counts(7, 92, 1), weights) == pytest.approx(2 / 3)
    assert measures.mode_coverage(counts(8, 92, 0), weights) == pytest.approx(2 / 3)
    exact = torch.tensor([0.5, 0.5])
    assert measures.mode_coverage(counts(5, 35), exact) == 1  # 40 * .5 / 4 is 5, not 6
    assert measures.mode_coverage(counts(4, 36), exact) == 0.5


def test_modes_of_other_classes_are_not_asked_for():
    weights = torch.tensor([0.5, 0.5, 0.0])
    assert measures.mode_coverage(counts(10, 10, 0), weights) == 1
    assert measures.captured_mass(counts(30, 30, 40), weights) == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("kept", [[0], [0, 1], [2, 5, 7], list(range(8))])
def test_captured_mass_of_a_cut_law_is_the_mass_of_the_cut(kept):
    share = torch.zeros(8, dtype=torch.float64)
    share[kept] = LAW[0][kept]
    for m in (1e3, 1e9):
        bias = math.exp((len(kept) - 1) / (2 * m))
        found = measures.captured_mass(m * share / share.sum(), LAW[0])
        assert found == pytest.approx(min(1, share.sum().item() * bias), abs=1e-9)


def test_captured_mass_is_corrected_for_its_bias():
    # The plain KL of 200 perfect draws is about 7 / 400: .983 on average; corrected, .995.
    generator = torch.Generator().manual_seed(0)
    draws = torch.multinomial(LAW[0].expand(400, -1), 200, True, generator=generator)
    found = [measures.captured_mass(measures.count_modes(d, 8), LAW[0]) for d in draws]
    assert sum(found) / 400 > 0.990


def test_effective_modes_by_hand():
    assert measures.effective_modes(counts(*[3] * 8)) == pytest.approx(8)
    assert measures.effective_modes(counts(5, 0, 0)) == pytest.approx(1)
    assert measures.effective_modes(counts(1, 1, 0)) == pytest.approx(2)
    assert measures.effective_modes(LAW[0]) == pytest.approx(6.27, abs=6e-3)


@pytest.mark.parametrize(
    "scale, expected", [(1, 6.27), (1.5, 5.32), (2, 4.64), (3, 3.80), (5, 3.00), (8, 2.42)]
)
def test_tilted_law_of_the_domains(scale, expected):
    # The scale one less or more is off by .4 or more.
    law = models.tilted_law(LAW, scale, 0)
    assert measures.effective_modes(law) == pytest.approx(expected, abs=6e-3)
    by_hand = LAW[0] ** scale * LAW.mean(0) ** (1 - scale)
    torch.testing.assert_close(law, by_hand / by_hand.sum())


def test_tilted_law_with_zero_weights():
    weights = torch.tensor([[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0]])
    for scale, expected in (
        (0.0, [0.25, 0.5, 0.25, 0]),
        (1.0, [0.5, 0.5, 0, 0]),
        (3.0, [0.8, 0.2, 0, 0]),
        (0.5, [1 / (1 + 2**0.5), 2**0.5 / (1 + 2**0.5), 0, 0]),
    ):
        assert models.tilted_law(weights, scale, 0).tolist() == pytest.approx(expected)


def test_law_measures_of_the_class_itself():
    found = measures.law_measures(LAW[0], LAW, 0)
    assert found["captured_mass"] == pytest.approx(1) and found["mode_coverage"] == 1
    assert found["alignment"] == pytest.approx(0.698, abs=5e-4)
    assert found["effective_modes"] == pytest.approx(6.27, abs=6e-3)
    tilted = measures.law_measures(models.tilted_law(LAW, 5.0, 0), LAW, 0)
    assert tilted["alignment"] == pytest.approx(0.854, abs=6e-4)
    assert tilted["mode_coverage"] == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_correction_recovers_what_a_reader_blurred(seed):
    generator = torch.Generator().manual_seed(seed)
    confusion = 0.85 * torch.eye(8) + 0.15 * torch.rand(8, 8, generator=generator) / 4
    confusion = (confusion / confusion.sum(1, True)).double()
    for truth in (LAW[0], models.tilted_law(LAW, 3.0, 1), counts(0.5, 0.5, 0, 0, 0, 0, 0, 0)):
        read = 1000 * truth @ confusion
        found = measures.correct_counts(read, confusion)
        assert (read - 1000 * truth).abs().max() > 5
        torch.testing.assert_close(found, 1000 * truth, atol=3, rtol=0)
        assert (found >= 0).all() and found.sum().item() == pytest.approx(1000)


def test_no_confusion_no_correction():
    read = counts(3, 4, 5)
    assert torch.equal(measures.correct_counts(read, None), read)
    assert torch.equal(measures.correct_counts(read * 0, torch.eye(3)), read * 0)
    torch.testing.assert_close(measures.correct_counts(read, torch.eye(3)), read)


def test_spread_by_hand():
    generator = torch.Generator().manual_seed(0)
    real, mode = torch.randn(4000, 3, generator=generator), torch.arange(4000) % 2
    real += 50 * mode[:, None]  # distance between modes is not spread
    assert measures.spread(real, mode, real, mode) == pytest.approx(1)
    half = 50 * mode[:, None] + 0.5 * (real - 50 * mode[:, None])
    assert measures.spread(half, mode, real, mode) == pytest.approx(0.5)
    mixed = torch.where(mode[:, None] == 0, half, real)
    assert measures.spread(mixed, mode, real, mode) == pytest.approx(math.sqrt((0.25 + 1) / 2))
    few = torch.cat([torch.zeros(3000), torch.ones(9)]).long()  # the second mode is left out
    assert measures.spread(mixed[mode == 0][:3000], few[:2000], real, mode) == pytest.approx(0.5)
    lonely = torch.full((4000,), -1)
    assert math.isnan(measures.spread(real, lonely, real, mode))


def test_kernel_distance_is_the_unbiased_sum():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(7, 3, generator=generator), torch.randn(5, 3, generator=generator) + 1

    def kernel(a, b):
        return math.exp(-((a.double() - b.double()) ** 2).sum().item() / (2 * 1.5**2))

    within_x = sum(kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    within_y = sum(kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    between = sum(kernel(a, b) for a in x for b in y) / 35
    found = measures.kernel_distance(x, y, 1.5)
    assert found == pytest.approx(within_x + within_y - 2 * between, abs=1e-9)


def test_kernel_distance_of_equal_laws_is_about_zero():
    generator = torch.Generator().manual_seed(0)
    x = [torch.randn(400, 2, generator=generator) for _ in range(2)]
    assert abs(measures.kernel_distance(*x, 1.0)) < 5e-3
    assert measures.kernel_distance(x[0], x[1] + 1, 1.0) > 0.05


def test_perfect_band_holds_the_perfect_sampler():
    band = measures.perfect_band(LAW[0], 500)
    generator = torch.Generator().manual_seed(9)
    inside = 0
    for draw in torch.multinomial(LAW[0].expand(200, -1), 500, True, generator=generator):
        found = measures.effective_modes(measures.count_modes(draw, 8))
        inside += band["effective_modes"][0] <= found <= band["effective_modes"][1]
    assert 0.89 * 200 <= inside <= 0.995 * 200
    assert band["captured_mass"][0] > 0.97 and band["mode_coverage"] == (1, 1)
    wide = measures.perfect_band(LAW[0], 50)["effective_modes"]
    assert wide[1] - wide[0] > 2 * (band["effective_modes"][1] - band["effective_modes"][0])


# domain.measure


@pytest.fixture(scope="module")
def domain():
    return ct.load("mixtures")


def test_a_perfect_sampler_measures_one(domain):
    x = domain.mixture.sample(2000, label=0, seed=0)
    found = domain.measure(x, 0)
    assert found.validity > 0.99 and found.mode_coverage == 1 and found.captured_mass > 0.98
    assert found.alignment == pytest.approx(0.698, abs=0.02)
    assert found.effective_modes == pytest.approx(6.27, abs=0.3)
    assert found.spread == pytest.approx(1, abs=0.05) and abs(found.kernel_distance) < 0.01
    assert found.mode_counts.sum() == (domain.assign(x) >= 0).sum()


def test_the_other_class_is_seen(domain):
    x = domain.mixture.sample(2000, label=1, seed=0)
    found = domain.measure(x, 0)
    assert found.alignment == pytest.approx(0.302, abs=0.02) and found.captured_mass < 0.5
    assert found.kernel_distance > 0.05


def test_classes_are_measured_apart_and_averaged(domain):
    label = torch.arange(2000) % 2
    x = domain.mixture.sample(2000, label=label, seed=0)
    found, each = domain.measure(x, label), [domain.measure(x[label == c], c) for c in (0, 1)]
    for name in ("validity", "alignment", "captured_mass", "effective_modes", "spread"):
        expected = sum(getattr(one, name) for one in each) / 2
        assert getattr(found, name) == pytest.approx(expected)
    assert torch.equal(found.mode_counts, torch.stack([one.mode_counts for one in each]))


NAN_BELOW = ("mode_coverage", "captured_mass", "effective_modes", "spread", "kernel_distance")


def test_few_samples_warn_and_give_nan(domain):
    x = domain.mixture.sample(79, label=0, seed=0)
    with pytest.warns(UserWarning, match=r"at least 80 samples \(10 a mode\).*Got 79"):
        found = domain.measure(x, 0)
    assert all(math.isnan(getattr(found, name)) for name in NAN_BELOW)
    enough = domain.measure(domain.mixture.sample(80, label=0, seed=0), 0)
    assert not any(math.isnan(getattr(enough, name)) for name in NAN_BELOW)


def test_no_valid_sample(domain):
    for x in (torch.full((100, 2), 50.0), torch.full((100, 2), math.nan)):
        found = domain.measure(x, 0)
        assert found.validity == 0 and found.mode_counts.sum() == 0
        assert all(math.isnan(getattr(found, name)) for name in ("alignment", *NAN_BELOW))


def test_a_sample_that_is_not_finite_has_no_mode(domain):
    x = domain.mixture.means.float().clone()
    assert domain.assign(x).tolist() == list(range(8))
    x[2, 0], x[5, 1] = math.nan, math.inf
    assert domain.assign(x).tolist() == [0, 1, -1, 3, 4, -1, 6, 7]


def test_a_reader_is_corrected_for():
    domain = ct.load("mixtures")
    x = domain.mixture.sample(4000, label=0, seed=0)
    plain = domain.measure(x, 0)
    confusion = 0.8 * torch.eye(8) + 0.2 * torch.eye(8).roll(1, 1)
    exact = domain.assign

    def blurred(x):
        mode = exact(x)
        coin = torch.rand(len(x), generator=torch.Generator().manual_seed(0)) < 0.2
        return torch.where(coin & (mode >= 0), (mode + 1) % 8, mode)

    domain.assign = blurred
    wrong = domain.measure(x, 0)
    domain.confusion = confusion
    right = domain.measure(x, 0)
    assert wrong.effective_modes - plain.effective_modes > 0.2
    assert right.effective_modes == pytest.approx(plain.effective_modes, abs=0.15)
    assert right.alignment == pytest.approx(plain.alignment, abs=0.02)
