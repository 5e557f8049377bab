"""Gaussian mixtures: each closed form against another way to the same number."""

import math

import pytest
import torch
from toys import TWO

import cfg_tutorial as ct

KINDS = ["isotropic", "per axis"]


def mixture(kind="isotropic", d=2, k=4):
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(k, d, generator=generator).double()
    shape = (k,) if kind == "isotropic" else (k, d)
    variances = 0.1 + torch.rand(shape, generator=generator).double()
    weights = 0.05 + torch.rand(3, k, generator=generator).double()
    return ct.GaussianMixture(means, variances, weights / weights.sum(1, True))


def points(n=6, d=2, seed=1):
    return 3 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.0, 0.5, 3.0])
def test_density_by_hand(kind, level):
    mix, x = mixture(kind), points()
    for label in (0, 2, 3, None):
        found = mix.log_prob(x, level, label).exp()
        rows = mix.mode_weights if label in (None, 3) else mix.mode_weights[label][None]
        weights = rows.mean(0)
        expected = torch.zeros(6, dtype=torch.float64)
        for mean, variance, weight in zip(mix.means, mix.variances, weights, strict=True):
            v = variance.expand(2) + level**2
            density = (-((x - mean) ** 2) / (2 * v)).exp() / (2 * math.pi * v).sqrt()
            expected += weight * density.prod(1)
        torch.testing.assert_close(found, expected, atol=1e-14, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_density_integrates_to_one(kind):
    axis = torch.linspace(-12, 12, 481, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    total = mixture(kind).log_prob(x, 0.3, 1).exp().sum().item() * 0.05**2
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.0, 0.1, 2.0])
def test_score_is_the_gradient(kind, level):
    mix, x, step = mixture(kind), points(), 1e-5
    for label in (0, 3, None):
        score = mix.score(x, level, label)
        for axis in range(2):
            move = step * torch.eye(2).double()[axis]
            ends = [mix.log_prob(x + sign * move, level, label) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * step)
            torch.testing.assert_close(score[:, axis], slope, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.05, 0.5, 8.0])
def test_denoise_is_tweedies_formula(kind, level):
    mix, x, label = mixture(kind), points(), torch.arange(6) % 4
    expected = x + level**2 * mix.score(x, level, label)
    torch.testing.assert_close(mix(x, torch.tensor(level).double(), label), expected)
    rows = torch.full((6,), level, dtype=torch.float64)
    torch.testing.assert_close(mix(x, rows, label), expected)


def test_each_row_has_its_own_level():
    for kind in KINDS:
        mix, x, label = mixture(kind), points(), torch.arange(6) % 4
        level = torch.tensor([0.1, 0.2, 0.5, 1, 3, 9]).double()
        whole = mix(x, level, label)
        for i in range(6):
            torch.testing.assert_close(whole[i : i + 1], mix(x[i : i + 1], level[i], label[i]))


def test_axes_have_their_own_variances():
    # Isotropic variances, said by axis, give the same; others do not.
    one = mixture()
    same = ct.GaussianMixture(one.means, one.variances[:, None].expand(-1, 2), one.mode_weights)
    x, label = points(), torch.arange(6) % 4
    for level in (0.1, 2.0):
        torch.testing.assert_close(same.denoise(x, level, label), one.denoise(x, level, label))
        torch.testing.assert_close(same.log_prob(x, level, label), one.log_prob(x, level, label))
    single = ct.GaussianMixture([[1.0, -1.0]], [[0.5, 2.0]], [[1.0]])
    expected = torch.tensor([1, -1]) + torch.tensor([0.5 / 1.5, 2 / 3]) * (
        x - torch.tensor([1, -1])
    )
    torch.testing.assert_close(single.denoise(x, 1.0), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_posterior_is_bayes_rule(kind):
    mix, x = mixture(kind), points()
    posterior = mix.posterior(x, 0.7)
    torch.testing.assert_close(posterior.sum(1), torch.ones(6).double())
    for label in range(3):
        ratio = (mix.log_prob(x, 0.7, label) - mix.log_prob(x, 0.7)).exp() / 3
        torch.testing.assert_close(posterior[:, label], ratio)
    torch.testing.assert_close(mix.mode_posterior(x, 0.7, 1).sum(1), torch.ones(6).double())
    assert mix.posterior(points(), 1e6).std(0).max() < 1e-3  # noise alone says nothing


def test_null_label_is_the_mean_of_the_classes():
    mix, x = mixture(), points()
    densities = torch.stack([mix.log_prob(x, 0.4, label).exp() for label in range(3)])
    torch.testing.assert_close(mix.log_prob(x, 0.4).exp(), densities.mean(0))
    assert mix.null_label == mix.num_classes == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_finite_far_away(kind, dtype):
    mix = mixture(kind)
    x = torch.tensor([[1e6, 1e6], [-1e6, 3], [0, 0]], dtype=dtype)
    label = torch.tensor([0, 3, 1])
    for level in (0.001, 1.0, 80.0):
        for value in (
            mix.log_prob(x, level, label),
            mix.score(x, level, label),
            mix(x, torch.tensor(level), label),
            mix.posterior(x, level),
        ):
            assert torch.isfinite(value).all() and value.dtype == dtype
    torch.testing.assert_close(mix.posterior(x).sum(1), torch.ones(3, dtype=dtype))


def test_a_forbidden_mode_has_no_share():
    mix = ct.GaussianMixture([[-1.0], [1.0]], [0.1, 0.1], [[1.0, 0.0], [0.5, 0.5]])
    x = torch.tensor([[1.0], [-1.0], [50.0]]).double()
    assert (mix.mode_posterior(x, 0.5, 0)[:, 1] == 0).all()
    for value in (mix.log_prob(x, 0.5, 0), mix.score(x, 0.5, 0), mix.denoise(x, 0.5, 0)):
        assert torch.isfinite(value).all()
    assert mix.sample(500, label=0, seed=0).max() < 1


@pytest.mark.parametrize("label", [0, 2, None])
def test_samples_follow_the_law(label):
    # Chi-square over the modes, 1 in 10,000 for 3 degrees of freedom.
    means = [[-9.0, 0], [9, 0], [0, 9], [0, -9]]
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.4, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]])
    variances = torch.tensor([[0.3, 1.0]]).expand(4, 2)
    mix = ct.GaussianMixture(means, variances, weights)
    n = 8000
    x = mix.sample(n, label=label, seed=4).double()
    mode = torch.cdist(x, mix.means).argmin(1)
    expected = n * (weights.mean(0) if label is None else weights[label])
    counts = torch.bincount(mode, minlength=4)
    assert ((counts - expected) ** 2 / expected).sum() < 21.1
    rest = x - mix.means[mode]
    assert rest.mean(0).abs().max() < 4 / math.sqrt(n)
    assert rest.var(0).tolist() == pytest.approx([0.3, 1.0], rel=0.08)


def test_samples_are_a_function_of_the_seed():
    mix = mixture()
    assert torch.equal(mix.sample(5, 0, seed=1), mix.sample(5, 0, seed=1))
    assert not torch.equal(mix.sample(5, 0, seed=1), mix.sample(5, 0, seed=2))
    each = mix.sample(4, torch.tensor([0, 1, 2, 3]))
    assert each.shape == (4, 2)


@pytest.mark.parametrize("d", [2, 40])
def test_variance_zero_is_the_ideal_denoiser_of_a_data_set(d):
    data = torch.randn(9, d, generator=torch.Generator().manual_seed(0)).double()
    weights = torch.rand(2, 9, generator=torch.Generator().manual_seed(1)).double()
    weights /= weights.sum(1, True)
    mix = ct.GaussianMixture(data, torch.zeros(9), weights)
    x = data[:4] + 0.1 * torch.randn(4, d, generator=torch.Generator().manual_seed(2)).double()
    for level in (0.05, 1.0, 30.0):
        log = -((x[:, None] - data) ** 2).sum(-1) / (2 * level**2) + weights[1].log()
        expected = log.softmax(1) @ data
        label = torch.ones(4, dtype=torch.long)
        found = mix(x, torch.tensor(level).double(), label)
        torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8)


def test_images_keep_their_shape():
    mix = ct.GaussianMixture(torch.randn(5, 12), torch.zeros(5), torch.full((2, 5), 0.2))
    x, label = torch.randn(3, 1, 3, 4), torch.zeros(3, dtype=torch.long)
    found = mix(x, torch.tensor(1.0), label)
    assert found.shape == x.shape
    flat = mix(x.flatten(1), torch.tensor(1.0), label)
    torch.testing.assert_close(found.flatten(1), flat)
    assert mix.score(x, 1.0, label).shape == x.shape


def test_rows_run_are_counted():
    mix = mixture()
    x, label = points(), torch.arange(6) % 3
    ct.guided(mix, torch.tensor([0.0, 1, 2, 3, 0, 1]))(x, torch.tensor(1.0), label)
    assert mix.rows_run == 4 + 2 * 2


def test_guided_weights_are_laws_and_do_not_depend_on_the_place():
    three = [1.0] * 3, [[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]]
    mix = ct.GaussianMixture([[-10.0], [0.0], [10.0]], *three)
    assert mix.guided_weights(1.0, 0).tolist() == pytest.approx([0.6, 0.3, 0.1], abs=1e-5)
    found = mix.guided_weights(2.5, 0)
    assert found.sum().item() == pytest.approx(1) and found[0] > 0.6
    moved = ct.GaussianMixture(mix.means + 7, *three)
    torch.testing.assert_close(moved.guided_weights(2.5, 1).flip(0), found, atol=1e-8, rtol=0)


def test_guided_weights_do_not_depend_on_the_unit():
    mix = ct.GaussianMixture([[-10.0], [10.0]], [1.0, 1.0], TWO)
    other = ct.GaussianMixture([[-0.1], [0.1]], [1e-4, 1e-4], TWO)
    torch.testing.assert_close(other.guided_weights(2.0, 0), mix.guided_weights(2.0, 0))


def test_guided_weights_need_separate_modes():
    mix = ct.GaussianMixture([[-1.0], [1.0]], [1.0, 1.0], TWO)
    with pytest.raises(ValueError, match="'variances' parameter of GaussianMixture"):
        mix.guided_weights(2.0, 0)
    uneven = ct.GaussianMixture([[-10.0], [10.0]], [1.0, 2.0], TWO)
    with pytest.raises(ValueError, match="'variances' parameter of GaussianMixture"):
        uneven.guided_weights(2.0, 0)
