"""Bad input: one clear exception, which names the argument, the value and what was expected."""

import math
import re

import pytest
import torch
from test_guidance import Counter, Tokens
from test_samplers import ALL

import cfg_tutorial as ct

X, LABEL, LEVEL = torch.zeros(3, 2), torch.zeros(3, dtype=torch.long), torch.tensor(1.0)
SIGMAS = torch.tensor([4.0, 2, 1, 0])


def message(call, *parts):
    """Assert that a call raises a ValueError in the form of the project, with parts in it."""
    with pytest.raises(ValueError) as caught:
        call()
    text = str(caught.value)
    assert re.match(r"The (.*parameters?|domain) .*must .*\. Got .* instead\.", text, re.DOTALL), (
        text
    )
    for part in parts:
        assert str(part) in text, text


BAD_SCALES = [
    math.nan,
    math.inf,
    -math.inf,
    1j,
    torch.tensor([1.0, math.nan, 2.0]),
    torch.tensor([1.0, math.inf, 2.0]),
    torch.tensor([1 + 1j, 2, 3]),
    torch.ones(3, 1),
    "3",
    None,
]


@pytest.mark.parametrize("scale", BAD_SCALES, ids=str)
def test_scale_of_guided(scale):
    message(lambda: ct.guided(Counter(), scale), "'guidance_scale' parameter of guided", scale)


@pytest.mark.parametrize("scale", BAD_SCALES, ids=str)
def test_scale_from_a_callable(scale):
    model = ct.guided(Counter(), lambda level: scale)
    message(lambda: model(X, LEVEL, LABEL), "'guidance_scale' parameter of guided")


@pytest.mark.parametrize("scale", BAD_SCALES, ids=str)
def test_scale_of_schedules(scale):
    message(lambda: ct.interval(scale), "'scale' parameter of interval", scale)
    message(lambda: ct.ramp(scale, 1.0, 2.0, 1.0), "'start' parameter of ramp", scale)
    message(lambda: ct.ramp(1.0, scale, 2.0, 1.0), "'end' parameter of ramp", scale)


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_scales_of_the_wrong_length(n):
    scale = torch.linspace(1, 2, n)
    for kind in (scale, ct.interval(scale), lambda level: scale):
        model = ct.guided(Counter(), kind)
        message(lambda model=model: model(X, LEVEL, LABEL), "one value a row of x, 3", f"Got {n}")


@pytest.mark.parametrize("lo, hi", [(2, 1), (1, 1), (-1, 2), (math.nan, 1), (0, math.nan)])
def test_ends_of_schedules(lo, hi):
    message(lambda: ct.interval(2.0, lo, hi), "'lo' and 'hi' parameters of interval", lo, hi)
    message(lambda: ct.ramp(1.0, 2.0, hi=hi, lo=lo), "parameters of ramp", f"hi={hi}", f"lo={lo}")


@pytest.mark.parametrize("options", [{"hi": math.inf, "lo": 0}, {"hi": 2, "lo": 1, "rho": 0}])
def test_ramp_without_an_end(options):
    message(lambda: ct.ramp(1.0, 2.0, **options), "parameters of ramp")


BAD_LABELS = [
    torch.tensor([0, 1, 3]),
    torch.tensor([0, -1, 1]),
    torch.tensor([0.0, 1.0, 1.0]),
    torch.tensor([True, False, True]),
    torch.tensor([0, 1]),
    torch.tensor([[0, 1, 1]]),
]


@pytest.mark.parametrize("label", BAD_LABELS, ids=str)
def test_labels(label):
    domain = ct.load("mixtures")
    model = domain.exact()
    for sampler in ALL:
        message(
            lambda sampler=sampler: sampler(model, X, SIGMAS, label),
            f"'label' parameter of {sampler.__name__}",
        )
    message(lambda: domain.sample(model, label=label, n=3), "'label' parameter of sample")
    message(lambda: domain.measure(X, label), "'label' parameter of measure")
    message(lambda: model(X, LEVEL, label), "'label' parameter of GaussianMixture")
    message(lambda: domain.model()(X, LEVEL, label), "'label' parameter of model")


@pytest.mark.parametrize("label", [-1, 3, 7])
def test_a_label_out_of_range_says_which(label):
    domain = ct.load("mixtures")
    message(lambda: domain.sample(domain.exact(), label=label, n=3), "from 0 to 2", f"Got {label}")
    message(lambda: domain.measure(X, label), "from 0 to 1", f"Got {label}")
    message(lambda: domain.measure(X, 2), "from 0 to 1")


@pytest.mark.parametrize("label", [-1, 9])
def test_laws_of_a_class_that_is_none(label):
    mix = ct.GaussianMixture([[-10.0], [10.0]], [1.0, 1.0], [[0.8, 0.2], [0.2, 0.8]])
    message(lambda: mix.guided_weights(2.0, label), "'label' parameter", label)
    message(lambda: mix.tilted_weights(2.0, label), "'label' parameter", label)


def test_scale_of_guided_weights():
    mix = ct.GaussianMixture([[-10.0], [10.0]], [1.0, 1.0], [[0.8, 0.2], [0.2, 0.8]])
    for scale in (math.nan, math.inf):
        message(lambda scale=scale: mix.guided_weights(scale, 0), "'scale' parameter", scale)


@pytest.mark.parametrize(
    "sigmas",
    [
        [1.0, 2, 0],
        [2.0, 2, 0],
        [4.0, 2, 1],
        [0.0],
        [],
        [[4.0, 0]],
        [math.nan, 1, 0],
        [math.inf, 1, 0],
        [4.0, 0, -1],
    ],
    ids=str,
)
@pytest.mark.parametrize("sampler", ALL)
def test_sigmas(sampler, sigmas):
    message(
        lambda: sampler(Counter(), X, torch.tensor(sigmas), LABEL),
        f"'sigmas' parameter of {sampler.__name__}",
        torch.tensor(sigmas).tolist(),
    )


@pytest.mark.parametrize("sampler", ALL)
def test_empty_batch(sampler):
    empty = torch.zeros(0, 2), SIGMAS, torch.zeros(0, dtype=torch.long)
    message(lambda: sampler(Counter(), *empty), f"'x' parameter of {sampler.__name__}", "(0, 2)")


def test_empty_batches_of_a_domain():
    domain = ct.load("mixtures")
    model = domain.exact()
    message(lambda: domain.sample(model, label=0, n=0), "'n' parameter of sample", "Got 0")
    message(lambda: domain.sample(model, label=LABEL[:0]), "'n' parameter of sample", "Got 0")
    message(lambda: domain.data(0), "'n' parameter of data", "Got 0")
    message(lambda: domain.measure(X[:0], 0), "'x' parameter of measure", "(0, 2)")


BAD_ROWS = [torch.arange(2), torch.tensor([0, 1, -1]), torch.tensor([0.0, 1, 2])]


@pytest.mark.parametrize("rows", BAD_ROWS, ids=str)
def test_rows(rows):
    domain = ct.load("mixtures")
    message(lambda: domain.sample(domain.exact(), label=0, n=3, rows=rows), "'rows' parameter")


@pytest.mark.parametrize("rows", BAD_ROWS, ids=str)
def test_rows_are_checked_at_the_call(rows):
    message(
        lambda: ct.sample_ancestral(Counter(), X, SIGMAS, LABEL, rows=rows),
        "'rows' parameter of sample_ancestral",
    )


def test_seed():
    domain = ct.load("mixtures")
    message(lambda: domain.sample(domain.exact(), label=0, n=3, seed=-1), "'seed'", "Got seed -1")


@pytest.mark.parametrize("num_steps", [0, -3])
def test_num_steps(num_steps):
    domain = ct.load("mixtures")
    message(lambda: domain.sample(domain.exact(), label=0, n=3, num_steps=num_steps), num_steps)


@pytest.mark.parametrize(
    "name, near", [("mixture", "mixtures"), ("image", "images"), ("Mixtures", "mixtures")]
)
def test_unknown_domain(name, near):
    with pytest.raises(ValueError, match=f"'name' parameter of load .*{name}.* mean '{near}'"):
        ct.load(name)


def test_unknown_domain_that_is_near_to_none():
    for name in ("zzzzzz", "", None, 3):
        message(lambda name=name: ct.load(name), "'name' parameter of load", repr(name))


@pytest.mark.parametrize(
    "weights",
    [[[0.5, 0.4]], [[1.5, -0.5]], [0.5, 0.5], [[math.nan, 1]], [[math.inf, 0]]],
    ids=str,
)
def test_mode_weights(weights):
    message(lambda: ct.load("mixtures", mode_weights=weights), "'mode_weights' parameter of load")


def test_layout():
    message(lambda: ct.load("mixtures", layout="rings"), "'layout' parameter", "'rings'")
    message(lambda: ct.load("mixtures", layout=torch.zeros(3, 2)), "parameter of GaussianMixture")


@pytest.mark.parametrize(
    "means, variances, weights, name",
    [
        ([1.0, 2.0], [1.0, 1.0], [[0.5, 0.5]], "means"),
        ([[1.0], [math.nan]], [1.0, 1.0], [[0.5, 0.5]], "means"),
        ([[1.0], [2.0]], [1.0, -1.0], [[0.5, 0.5]], "variances"),
        ([[1.0], [2.0]], [1.0], [[0.5, 0.5]], "variances"),
        ([[1.0], [2.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.5, 0.5]], "variances"),
        ([[1.0], [2.0]], [1.0, math.inf], [[0.5, 0.5]], "variances"),
        ([[1.0], [2.0]], [1.0, 1.0], [[0.5, 0.6]], "mode_weights"),
        ([[1.0], [2.0]], [1.0, 1.0], [[1.5, -0.5]], "mode_weights"),
        ([[1.0], [2.0]], [1.0, 1.0], [0.5, 0.5], "mode_weights"),
        ([[1.0], [2.0]], [1.0, 1.0], [[1.0]], "mode_weights"),
        (torch.zeros(0, 2), torch.zeros(0), torch.zeros(1, 0), "means"),
    ],
)
def test_mixtures(means, variances, weights, name):
    message(
        lambda: ct.GaussianMixture(means, variances, weights),
        f"'{name}' parameter of GaussianMixture must be finite",
    )


def test_wrap():
    def net(x, level, label):
        return x

    message(lambda: ct.wrap(net, "noise", num_classes=2), "'predicts' parameter", "'noise'")
    message(lambda: ct.wrap(net), "'num_classes' parameter of wrap")
    for size in (0, -1, 2.5, None):
        message(lambda size=size: ct.wrap(net, num_classes=2, batch_size=size), "'batch_size'")


def test_guiding_without_an_unconditional_branch():
    model = Tokens()
    model.p_uncond = 0
    message(lambda: ct.guided(model, 2.0), "'model' parameter of guided", "p_uncond = 0")


@pytest.mark.parametrize("train_steps", [0, -5])
def test_train_steps(train_steps):
    message(
        lambda: ct.fit(
            torch.nn.Linear(1, 1), None, ct.Gaussian(), train_steps=train_steps, progress=False
        ),
        "'train_steps' parameter of fit",
        train_steps,
    )


@pytest.mark.parametrize("train_steps", [0, -5])
def test_train_steps_of_a_domain(train_steps, tmp_path):
    with pytest.raises(ValueError, match=f"'train_steps'.*Got {train_steps}"):
        ct.load("mixtures").train(train_steps=train_steps, folder=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
