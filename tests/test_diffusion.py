"""Noise levels, label dropout, and the edge where a network becomes a model."""

import math

import pytest
import torch
from torch import nn

import cfg_tutorial as ct
from cfg_tutorial.diffusion import insert_levels


def test_karras_sigmas_by_hand():
    sigmas = ct.karras_sigmas(3, 1.0, 128.0, rho=7)
    assert sigmas.tolist() == pytest.approx([128, 1.5**7, 1, 0], rel=1e-6)
    linear = ct.karras_sigmas(5, 1.0, 5.0, rho=1)
    assert linear.tolist() == pytest.approx([5, 4, 3, 2, 1, 0])
    assert ct.karras_sigmas(1, 0.1, 9.0).tolist() == pytest.approx([9, 0])


@pytest.mark.parametrize("n", [1, 2, 18, 1000])
def test_karras_sigmas_decrease_to_zero(n):
    sigmas = ct.karras_sigmas(n, 0.002, 80.0)
    assert len(sigmas) == n + 1 and (sigmas.diff() < 0).all() and sigmas[-1] == 0
    assert sigmas[0].item() == pytest.approx(80, rel=1e-6)


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 0.1, 9),
        (-1, 0.1, 9),
        (5, 0, 9),
        (5, 9, 0.1),
        (5, 2, 2),
        (5, math.nan, 9),
        (5, 0.1, math.inf),
        (5, 0.1, 9, 0),
        (5, 0.1, 9, -7),
    ],
)
def test_karras_sigmas_refuses(numbers):
    with pytest.raises(ValueError, match=r"karras_sigmas must be .* Got .* instead\."):
        ct.karras_sigmas(*numbers)


def test_levels_are_inserted_once_and_in_order():
    grid = torch.tensor([8.0, 4, 2, 0])
    found = insert_levels(grid, (3.0, 4.0, 0.0, 8.0, 9.0, 0.5))
    assert found.tolist() == [8, 4, 3, 2, 0.5, 0]
    assert torch.equal(insert_levels(grid, ()), grid)


# Label dropout


def drop(p, n=20_000, seed=0, k=None, null=9):
    shape = (n,) if k is None else (n, k)
    label = torch.arange(n * (k or 1)).reshape(shape) % 5
    return label, ct.drop_labels(label, p, null, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("p", [0.1, 0.15, 0.5, 0.9])
def test_labels_are_dropped_at_the_rate_asked_for(p):
    # Five standard errors. A coin for the whole batch gives 0 or 1.
    label, dropped = drop(p)
    rate = (dropped == 9).double().mean().item()
    assert rate == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / len(label)))
    kept = dropped != 9
    assert torch.equal(dropped[kept], label[kept])
    runs = (dropped == 9)[1:] & (dropped == 9)[:-1]  # neighbours toss their own coins
    assert runs.double().mean().item() == pytest.approx(p * p, abs=0.02)


@pytest.mark.parametrize("p", [0.2, 0.6])
def test_parts_of_a_row_share_its_coin(p):
    # A coin an element drops both parts together in p^2 of the rows, and one in 2 p (1 - p).
    null = torch.tensor([7, 9])
    _, dropped = drop(p, k=2, null=null)
    hit = dropped == null
    assert torch.equal(hit[:, 0], hit[:, 1])
    rate = hit[:, 0].double().mean().item()
    assert rate == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / len(hit)))


def test_dropping_none_and_all():
    for k in (None, 3):
        label, dropped = drop(0.0, 50, k=k)
        assert torch.equal(label, dropped)
        assert (drop(1.0, 50, k=k)[1] == 9).all()


def test_dropping_is_a_function_of_the_generator():
    assert torch.equal(drop(0.5, seed=1)[1], drop(0.5, seed=1)[1])
    assert not torch.equal(drop(0.5, seed=1)[1], drop(0.5, seed=2)[1])
    label, dropped = drop(0.5)
    assert dropped.dtype == label.dtype and not torch.equal(label, dropped)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none(p):
    with pytest.raises(ValueError, match=f"'p_uncond' parameter of drop_labels .* Got {p} instead"):
        drop(p)


# wrap


MEANS = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.2, 2.0]])


def exact():
    weights = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    return ct.GaussianMixture(MEANS, [0.2, 0.1, 0.3], weights)


def network(predicts, sigma_data, scaled, embed=lambda sigma: sigma, unembed=lambda level: level):
    """Return a network that answers what an exact one would, in its own parametrisation."""
    mix = exact()

    def net(x, level, label):
        sigma = unembed(level)[:, None]
        total = (sigma**2 + sigma_data**2).sqrt()
        x = x * total if scaled else x
        x0 = mix(x, sigma[:, 0], label)
        eps = (x - x0) / sigma
        velocity = (sigma_data**2 * eps - sigma * x0) / (sigma_data * total)
        return {"x0": x0, "eps": eps, "v": velocity}[predicts]

    return net


@pytest.mark.parametrize("predicts", ["x0", "eps", "v"])
@pytest.mark.parametrize("sigma_data", [1.0, 0.5])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("timestep", [False, True])
def test_a_wrapped_network_is_the_exact_model(predicts, sigma_data, scaled, timestep):
    embed, unembed = (torch.log, torch.exp) if timestep else (None, lambda level: level)
    model = ct.wrap(
        network(predicts, sigma_data, scaled, unembed=unembed),
        predicts,
        num_classes=2,
        sigma_data=sigma_data,
        scale_input=scaled,
        level_input=embed,
    )
    x = 3 * torch.randn(8, 2, generator=torch.Generator().manual_seed(0)).double()
    label = torch.arange(8) % 3
    for level in (torch.tensor(0.3), torch.tensor(5.0), torch.linspace(0.1, 9, 8)):
        level = level.double()
        torch.testing.assert_close(model(x, level, label), exact()(x, level, label))
        for scale in (0.0, 1.0, 3.0):
            found, expected = (ct.guided(m, scale)(x, level, label) for m in (model, exact()))
            torch.testing.assert_close(found, expected)


class Rowwise(nn.Module):
    num_classes, p_uncond = 4, 0.1

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(3, 3), []

    def forward(self, x, level, label):
        self.seen.append((len(x), len(level), len(label)))
        return self.layer(x) * level[:, None] + label[:, None]


@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_a_learned_model_slices_its_own_forward(n):
    net = Rowwise()
    model, whole = ct.wrap(net), ct.wrap(net, batch_size=10_000)
    x, label = torch.randn(n, 3, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 5
    for level in (torch.tensor(0.5), torch.linspace(0.1, 2, n)):
        net.seen.clear()
        found = model(x, level, label)
        sizes = [256] * (n // 256) + ([n % 256] if n % 256 else [])
        assert net.seen == [(size, size, size) for size in sizes]
        torch.testing.assert_close(found, whole(x, level, label), atol=1e-6, rtol=1e-6)
    assert model.rows_run == 2 * n


def test_guided_rows_are_counted_in_the_model():
    model = ct.wrap(Rowwise())
    x, label = torch.zeros(300, 3), torch.arange(300) % 4
    scale = torch.tensor([0.0, 1.0, 2.0]).repeat(100)
    ct.guided(model, scale)(x, torch.tensor(1.0), label)
    assert model.rows_run == 100 + 100 + 200


def test_wrap_takes_what_the_network_says():
    model = ct.wrap(Rowwise())
    assert (model.num_classes, model.null_label, model.p_uncond, model.edges) == (4, 4, 0.1, ())
    told = ct.wrap(Rowwise(), num_classes=2, p_uncond=0.0)
    assert (told.num_classes, told.null_label, told.p_uncond) == (2, 2, 0.0)
    with pytest.raises(ValueError, match="p_uncond = 0 instead"):
        ct.guided(told, 2.0)


def test_each_row_has_its_own_noise_level_in_corrupt():
    diffusion = ct.Gaussian()
    x0, generator = torch.zeros(3, 20_000), torch.Generator().manual_seed(0)
    x = diffusion.corrupt(x0, torch.tensor([0.1, 1.0, 5.0]), generator)
    assert x.std(1).tolist() == pytest.approx([0.1, 1, 5], rel=0.03)


def test_training_levels_are_log_normal_and_spread():
    diffusion = ct.Gaussian(p_mean=-0.6, p_std=1.3)
    log = diffusion.training_levels(4000, torch.Generator().manual_seed(0)).log()
    assert log.mean().item() == pytest.approx(-0.6, abs=0.01)
    assert log.std().item() == pytest.approx(1.3, abs=0.02)
    quantile = torch.special.ndtr((log + 0.6) / 1.3)
    assert torch.bincount((quantile * 100).long(), minlength=100).tolist() == [40] * 100
    assert not (log.diff() > 0).all()


def test_the_exact_model_has_the_least_loss():
    # E|x0 - D|^2 is least at D = E[x0 | x]; any other model is worse on the same noise.
    diffusion, mix = ct.Gaussian(sigma_data=1.0), exact()
    label = torch.zeros(20_000, dtype=torch.long)
    x0 = mix.sample(20_000, label=0, seed=0).double()

    def loss(model):
        return diffusion.loss(model, x0, label, torch.Generator().manual_seed(0)).item()

    best = loss(mix)
    assert 0 < best < 1
    assert loss(lambda *a: 1.1 * mix(*a)) > best
    assert loss(lambda x, level, label: mix(x, level, label * 0 + 2)) > best
    assert loss(lambda x, level, label: mix(x, 1.2 * level, label)) > best


def test_the_loss_of_predicting_nothing_is_weighted_alike():
    # A zero velocity leaves sigma_data^2 sigma^2 / (sigma^2 + sigma_data^2): weight 1 over it.
    diffusion = ct.Gaussian(sigma_data=0.5)
    x0 = 0.5 * torch.randn(40_000, 1, generator=torch.Generator().manual_seed(1))
    model = ct.wrap(
        lambda x, level, label: 0 * x, "v", num_classes=1, sigma_data=0.5, batch_size=99_999
    )
    label = torch.zeros(40_000, dtype=torch.long)
    found = diffusion.loss(model, x0, label, torch.Generator().manual_seed(0)).item()
    assert found == pytest.approx(1, abs=0.03)
