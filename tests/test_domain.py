"""The contract of a domain, and that each breach of it is seen."""

import pytest
import torch
from toys import last

import cfg_tutorial as ct
from cfg_tutorial.domains.base import Batch
from cfg_tutorial.domains.mixtures import LAYOUTS, Mixtures


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mixtures_pass_in_every_layout(layout):
    passed = ct.check_domain(ct.load("mixtures", layout=layout))
    assert len(passed) >= 15 and len(set(passed)) == len(passed)


def test_a_layout_and_weights_of_ones_own():
    centres = torch.tensor([[0.0, 0], [3, 0], [0, 3]])
    weights = [[0.6, 0.3, 0.1], [0.1, 0.3, 0.6], [0.2, 0.6, 0.2]]
    domain = ct.load("mixtures", layout=centres, mode_weights=weights, deviation=0.2)
    assert domain.num_classes == 3 and len(domain.mode_names) == 3
    assert ct.check_domain(domain)


class Nameless(Mixtures):
    def __init__(self):
        super().__init__()
        self.mode_names = self.mode_names[:-1]


class Seedless(Mixtures):
    def data(self, n, seed=0, held_out=False, stratified=False):
        return super().data(n, torch.seed() % 10_000, held_out, stratified)


class Deaf(Mixtures):
    def data(self, n, seed=0, held_out=False, stratified=False):
        return super().data(n, 0, held_out, stratified)


class Leaky(Mixtures):
    def data(self, n, seed=0, held_out=False, stratified=False):
        return super().data(n, seed, False, stratified)


class CountsFromOne(Mixtures):
    def data(self, n, seed=0, held_out=False, stratified=False):
        x, label, mode = super().data(n, seed, held_out, stratified)
        return Batch(x, label, mode + 1)


class Short(Mixtures):
    def data(self, n, seed=0, held_out=False, stratified=False):
        return Batch(*(part[:-1] for part in super().data(n, seed, held_out, stratified)))


class Strict(Mixtures):
    def assign(self, x):
        return super().assign(x).masked_fill(torch.arange(len(x)) % 4 == 0, -1)


class Shuffled(Mixtures):
    def assign(self, x):
        mode = super().assign(x)
        return torch.where(mode >= 0, (mode + 1) % 8, mode)


class Flat(Mixtures):
    def features(self, x):
        return x[:, 0]


class Exploding(Mixtures):
    def exact(self):
        mix = super().exact()
        mix.means[0] = torch.nan
        return mix


class Mixing(Mixtures):
    def network(self):
        net = super().network()
        net.register_forward_hook(lambda module, args, output: output - output.mean(0))
        return net


class Careless(Mixtures):
    """Its exact model answers for class 0 whatever the label."""

    def exact(self):
        mix = super().exact()
        mix.all_weights[:] = mix.all_weights[0].clone()
        return mix


class Unguided(Mixtures):
    """Its exact model is the unconditional one."""

    def exact(self):
        mix = super().exact()
        mix.all_weights[:] = mix.all_weights[-1].clone()
        return mix


class Wild(Mixtures):
    def exact(self):
        mix = super().exact()
        mix.variances *= 9
        return mix


class Blind(Mixtures):
    def show(self, x, label=None, ax=None):
        return None


class Uneven(Mixtures):
    """Its data hold class 0 three times as often as class 1."""

    def data(self, n, seed=0, held_out=False, stratified=False):
        x, label, mode = super().data(4 * n, seed, held_out, stratified)
        keep = torch.cat([(label == 0).nonzero()[: n - n // 4], (label == 1).nonzero()[: n // 4]])
        return Batch(*(part[keep[:, 0]] for part in (x, label, mode)))


class OtherLaw(Mixtures):
    """Its data are of other weights than it says."""

    def data(self, n, seed=0, held_out=False, stratified=False):
        kept, self.mode_weights = self.mode_weights, torch.full((2, 8), 1 / 8).double()
        batch = super().data(n, seed, held_out, stratified)
        self.mode_weights = kept
        return batch


class Recalled(Mixtures):
    """Its held-out rows are rows that it trains on, in another order."""

    def data(self, n, seed=0, held_out=False, stratified=False):
        batch = super().data(5000, 7, False, stratified)
        pick = torch.randint(5000, (n,), generator=self.generator(seed, held_out))
        return Batch(*(part[pick] for part in batch))


class Large(Mixtures):
    """Its data are ten thousand times as large as its diffusion is made for."""

    def __init__(self):
        super().__init__(layout=1e4 * LAYOUTS["ring"](8), deviation=1e3)
        self.diffusion = ct.Gaussian(sigma_data=1.0)


class Untrainable(Mixtures):
    recipe = {}


class Numbered(Mixtures):
    def assign(self, x):
        return torch.arange(len(x))


class NoNumber(Mixtures):
    def data(self, n, seed=0, held_out=False, stratified=False):
        batch = super().data(n, seed, held_out, stratified)
        batch.x[3] = torch.nan
        return batch


BROKEN = {
    Uneven: "data follow the law",
    OtherLaw: "data follow the law",
    Recalled: "held-out data are held out",
    Large: "sigma_data",
    Untrainable: "recipe",
    Numbered: "assign gives modes",
    NoNumber: "data are finite",
    Nameless: "names",
    Seedless: "same seed",
    Deaf: "other seed",
    Leaky: "held-out",
    CountsFromOne: "in range",
    Short: "have rows",
    Strict: "real data are valid",
    Shuffled: "modes are read",
    Flat: "features",
    Exploding: "exact: is a model",
    Mixing: "network: rows",
    Careless: "class 1: exact samples follow",
    Unguided: "class 0: exact samples follow",
    Wild: "class 0: exact samples are valid",
    Blind: "show",
}


@pytest.mark.parametrize("domain", BROKEN)
def test_a_broken_promise_is_named(domain):
    """check_domain names the promise that a domain breaks.

    Before: other shares than mode_weights, held-out rows of training, data of another size than
    sigma_data, no recipe, and row numbers for modes all passed.
    """
    with pytest.raises(
        ValueError, match=f"The domain 'mixtures' fails the check '.*{BROKEN[domain]}"
    ):
        ct.check_domain(domain())


def test_a_domain_without_its_hooks_cannot_be_made():
    class Half(ct.Domain):
        def data(self, n, seed=0, held_out=False, stratified=False): ...

    with pytest.raises(TypeError, match="assign"):
        Half([[1.0]])


@pytest.fixture(scope="module")
def domain():
    return ct.load("mixtures")


def test_stratified_data_are_in_exact_proportion(domain):
    batch = domain.data(1000, seed=3, stratified=True)
    for label in (0, 1):
        counts = torch.bincount(batch.mode[batch.label == label], minlength=8)
        assert (counts - 500 * domain.mode_weights[label]).abs().max() <= 1
    plain = domain.data(1000, seed=3)
    assert (torch.bincount(plain.label) - 500).abs().max() > 0
    assert not (batch.label.diff() >= 0).all()


def test_control_at_scale_zero_alignment_is_the_prior(domain):
    # Four standard errors of 2,000 draws: p(class | mode) has a standard deviation of .31.
    for label in (0, 1):
        x = domain.sample(ct.guided(domain.exact(), 0.0), label=label, n=2000, seed=label)
        assert domain.measure(x, label).alignment == pytest.approx(0.5, abs=4 * 0.31 / 2000**0.5)


def test_floor_at_scale_one_measures_the_class(domain):
    x = domain.sample(ct.guided(domain.exact(), 1.0), label=0, n=2000)
    found = domain.measure(x, 0)
    assert found.alignment == pytest.approx(0.698, abs=0.03)
    assert found.captured_mass > 0.98 and found.validity > 0.97


def test_guidance_buys_alignment_and_costs_modes(domain):
    # From s = 1 to 5; an unconditional model in its place changes nothing from scale to scale.
    measured = [
        domain.measure(domain.sample(ct.guided(domain.exact(), s), label=0, n=1000), 0)
        for s in (1.0, 2.0, 5.0)
    ]
    rises = [found.alignment for found in measured]
    falls = [found.effective_modes for found in measured]
    assert rises == sorted(rises) and rises[2] - rises[0] > 0.1
    assert falls == sorted(falls, reverse=True) and falls[0] - falls[2] > 2


def test_scales_of_rows_in_one_batch_equal_runs_of_one_scale(domain):
    scales = torch.tensor([0, 1, 2, 4.0]).repeat_interleave(5)
    rows = torch.arange(5).repeat(4)
    together = domain.sample(ct.guided(domain.exact(), scales), label=0, n=20, rows=rows)
    for i, scale in enumerate((0, 1, 2, 4.0)):
        alone = domain.sample(ct.guided(domain.exact(), scale), label=0, n=5)
        torch.testing.assert_close(together[5 * i : 5 * i + 5], alone, atol=1e-5, rtol=0)


def test_labels_of_rows(domain):
    label = torch.tensor([0, 1, 2, 0])  # 2 stands for none
    x = domain.sample(domain.exact(), label=label)
    for i, one in enumerate(label.tolist()):
        alone = domain.sample(domain.exact(), label=one, n=1, rows=torch.tensor([i]))
        torch.testing.assert_close(x[i : i + 1], alone, atol=1e-5, rtol=0)


def test_sample_is_its_sampler_on_its_levels(domain):
    model, n = ct.guided(domain.exact(), 2.0), 4
    sigmas = domain.diffusion.levels(domain.num_steps)
    noise = domain.diffusion.noise((2,), 5, torch.arange(n), torch.empty(0))
    label = torch.zeros(n, dtype=torch.long)
    for sampler in (ct.sample_dpmpp_2m, ct.sample_heun):
        expected = last(sampler(model, noise, sigmas, label))
        found = domain.sample(model, label=0, n=n, seed=5, sampler=sampler)
        assert torch.equal(found, expected)
    assert torch.equal(
        domain.sample(model, label=0, n=n, seed=5), domain.sample(model, label=label, seed=5)
    )
    assert noise.std() > 10


def test_sampling_runs_in_float64(domain):
    options = dict(label=0, n=4, progress=False)
    double = domain.sample(ct.guided(domain.exact(), 2.0), dtype=torch.float64, **options)
    single = domain.sample(ct.guided(domain.exact(), 2.0), **options)
    assert double.dtype == torch.float64 and single.dtype == torch.float32
    torch.testing.assert_close(double.float(), single, atol=1e-3, rtol=0)


def test_show_draws_the_modes_and_the_strangers(domain):
    x = torch.cat([domain.mixture.means.float(), torch.full((3, 2), 9.0)])
    axes = domain.show(x).axes[0]
    drawn = [len(collection.get_offsets()) for collection in axes.collections]
    assert drawn == [1] * 8 + [3]
    assert [text.get_text() for text in axes.texts] == [str(k) for k in range(8)]


def test_exact_and_learned_are_the_same_kind_of_object(domain):
    for model in (domain.exact(), domain.model()):
        guided = ct.guided(model, torch.tensor([0, 1, 3.0]))
        x = domain.sample(guided, label=0, n=3, num_steps=4)
        assert x.shape == (3, 2) and torch.isfinite(x).all()
        assert (guided.num_classes, guided.null_label, guided.edges) == (2, 2, ())
        assert guided.p_uncond > 0


@pytest.mark.parametrize("label", [1, [0, 1, 1, 0, 1]])
@pytest.mark.parametrize("method", [ct.guided, lambda m, s: ct.guided(m, ct.interval(s, lo=0.3))])
def test_at_scales_is_a_call_for_each_scale(label, method):
    domain = ct.load("mixtures")
    model, label = domain.exact(), torch.as_tensor(label)
    rows, scales = torch.tensor([4, 9, 2, 0, 7]), [0, 1, 2.5]
    how = {"num_steps": 6, "seed": 3, "rows": rows, "progress": False}
    found = domain.at_scales(model, scales, 5, label=label, method=method, **how)
    assert found.shape == (3, 5, 2)
    for scale, x in zip(scales, found, strict=True):
        one = domain.sample(method(model, scale), label, 5, **how)
        torch.testing.assert_close(x, one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("label", [0, [1, 2], [[0, 3], [1, 8], [2, 1]]])
def test_at_scales_takes_labels_of_several_parts(label):
    domain = ct.load("text", prompt=True)
    how = {"seed": 1, "progress": False}
    label = torch.as_tensor(label)
    found = domain.at_scales(domain.exact(), [1.0, 3.0], 3, label=label, **how)
    for scale, x in zip([1.0, 3.0], found, strict=True):
        assert torch.equal(x, domain.sample(ct.guided(domain.exact(), scale), label, 3, **how))


def test_samples_follow_the_models_type_unless_told():
    domain = ct.load("mixtures")
    model, exact = domain.model(), domain.exact()
    assert domain.sample(model, 0, 2, progress=False).dtype == torch.float32
    assert (
        domain.sample(ct.guided(model.double(), 2.0), 0, 2, progress=False).dtype == torch.float64
    )
    assert domain.sample(exact, 0, 2, progress=False).dtype == torch.float32
    double = domain.sample(exact, 0, 2, dtype=torch.float64, device="cpu", progress=False)
    assert double.dtype == torch.float64
