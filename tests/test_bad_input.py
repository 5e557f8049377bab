"""Bad input: one clear exception, which names the argument, the value and what was expected."""

import math

import pytest
import torch
from toys import ALL, Counter, Words, message

import cfg_tutorial as ct

X, LABEL, LEVEL = torch.zeros(3, 2), torch.zeros(3, dtype=torch.long), torch.tensor(1.0)
SIGMAS = torch.tensor([4.0, 2, 1, 0])


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
    model = Words()
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


# Tokens


def text(**options):
    return ct.load("text", **options)


WORDS = torch.full((3, 8), 65)
STEPS = torch.linspace(1, 0, 9)


def unmask(tokens=WORDS, levels=STEPS, label=LABEL, model=None, **options):
    return ct.sample_unmask(model or text().exact(), tokens, levels, label, **options)


BAD_TOKENS = [
    (torch.full((3, 8), 65.0), "float32"),
    (torch.ones(3, 8, dtype=torch.bool), "bool"),
    (torch.full((3, 8), 1j), "complex64"),
    (torch.full((8,), 65), "(8,)"),
    (torch.full((3, 8, 1), 65), "(3, 8, 1)"),
    (torch.tensor(65), "()"),
    (WORDS[:, :0], "(3, 0)"),
    (WORDS[:0], "(0, 8)"),
]


@pytest.mark.parametrize("tokens, found", BAD_TOKENS, ids=lambda value: str(value)[:20])
def test_tokens_of_a_wrong_kind(tokens, found):
    message(lambda: unmask(tokens), "'tokens' parameter of sample_unmask", "(n, length)", found)
    for name in ("log_prob", "component_posterior", "mode_posterior"):
        ask = getattr(text().law, name)
        if tokens.ndim:
            message(lambda ask=ask: ask(tokens), "'tokens' parameter of TokenMixture", found)


@pytest.mark.parametrize("token", [-1, 67, 999])
def test_tokens_out_of_the_vocabulary(token):
    tokens = WORDS.clone()
    tokens[1, 2] = token
    expected = "must be below 65 or one of [65, 66] (mask, padding)", f"Got {token}"
    message(lambda: unmask(tokens), "'tokens' parameter of sample_unmask", *expected)
    level = torch.tensor(1.0)
    for model, where in ((text().exact(), "TokenMixture"), (text().model(), "model")):
        message(lambda model=model: model(tokens, level, LABEL), f"parameter of {where}", *expected)
    guided = ct.guided(text().model(), 2.0)
    message(lambda: guided(tokens, level, LABEL), "'tokens' parameter of model", *expected)


def test_tokens_of_a_model_without_padding():
    message(lambda: unmask(torch.full((3, 2), 4), model=Words()), "one of [3]", "Got 4")


@pytest.mark.parametrize("length", [7, 9])
def test_rows_of_a_length_that_the_exact_model_does_not_have(length):
    expected = "'tokens' parameter of TokenMixture must have 8 places", f"(3, {length})"
    message(lambda: list(unmask(torch.full((3, length), 65))), *expected)
    message(lambda: text().law.log_prob(torch.full((3, length), 65)), *expected)


@pytest.mark.parametrize(
    "levels",
    [[0.5, 1, 0], [1.0, 1, 0], [1.0, 0.5], [0.0], [], [[1.0, 0]], [math.nan, 0], [1.0, 0, -1]],
    ids=str,
)
def test_levels_of_tokens(levels):
    levels = torch.tensor(levels)
    message(lambda: unmask(levels=levels), "'levels' parameter of sample_unmask", levels.tolist())


@pytest.mark.parametrize("order", ["right", "", None, 3, "Random"])
def test_order_of_tokens(order):
    message(
        lambda: unmask(order=order),
        "'order' parameter of sample_unmask must be one of",
        "'random', 'left', 'confidence'",
        repr(order),
    )


@pytest.mark.parametrize("label", BAD_LABELS, ids=str)
def test_labels_of_tokens(label):
    domain, level = text(), torch.tensor(1.0)
    message(lambda: unmask(label=label), "'label' parameter of sample_unmask")
    message(lambda: domain.sample(domain.exact(), label=label, n=3), "'label' parameter of sample")
    message(lambda: domain.exact()(WORDS, level, label), "'label' parameter of TokenMixture")
    message(lambda: domain.law.log_prob(WORDS, label), "'label' parameter of TokenMixture")
    message(lambda: domain.model()(WORDS, level, label), "'label' parameter of model")


BAD_PARTS = [
    torch.tensor([[0, 9]] * 3),
    torch.tensor([[3, 0]] * 3),
    torch.tensor([[0, -1]] * 3),
    torch.tensor([[0, 1, 2]] * 3),
    torch.tensor([[0, 1]] * 2),
    torch.tensor([[0.0, 1.0]] * 3),
]


@pytest.mark.parametrize("label", BAD_PARTS, ids=str)
def test_labels_of_two_parts(label):
    # A class beyond the last would be a topic's prompt token to the network: no error of its own.
    domain, level = text(prompt=True), torch.tensor(1.0)
    message(lambda: unmask(label=label, model=domain.exact()), "'label' parameter")
    message(lambda: domain.sample(domain.exact(), label=label, n=3), "'label' parameter of sample")
    message(lambda: domain.exact()(WORDS, level, label), "'label' parameter of TokenMixture")
    message(lambda: domain.model()(WORDS, level, label), "'label' parameter of model")


def test_a_class_out_of_range_of_a_network_of_tokens():
    model, level = text().model(), torch.tensor(1.0)
    for label in (-1, 3):
        bad = torch.tensor([0, 1, label])
        message(
            lambda bad=bad: model(WORDS, level, bad), "from 0 to 2", "'label' parameter of model"
        )


@pytest.mark.parametrize("rows", BAD_ROWS, ids=str)
def test_rows_of_tokens(rows):
    message(lambda: unmask(rows=rows), "'rows' parameter of sample_unmask")


@pytest.mark.parametrize("num_steps", [0, -3])
def test_num_steps_of_tokens(num_steps):
    domain = text()
    expected = "'num_steps' parameter of Masked.levels", f"Got {num_steps}"
    message(lambda: domain.sample(domain.exact(), label=0, n=3, num_steps=num_steps), *expected)


TABLE, EVEN = [[[0.5, 0.5]], [[1.0, 0.0]]], [[0.5, 0.5]]


@pytest.mark.parametrize(
    "tables, weights, name",
    [
        ([[0.5, 0.5]], EVEN, "tables"),
        ([[[0.5, 0.4]], [[1.0, 0.0]]], EVEN, "tables"),
        ([[[1.5, -0.5]], [[1.0, 0.0]]], EVEN, "tables"),
        ([[[math.nan, 0.5]], [[1.0, 0.0]]], EVEN, "tables"),
        (torch.zeros(0, 1, 2), EVEN, "tables"),
        (TABLE, [0.5, 0.5], "weights"),
        (TABLE, [[1.0]], "weights"),
        (TABLE, [[0.5, 0.6]], "weights"),
        (TABLE, [[1.5, -0.5]], "weights"),
        (TABLE, [[math.nan, 0.5]], "weights"),
        (TABLE, [[[0.0, 0.0]]], "weights"),
        (TABLE, [[[0.5, 0.6, 0.1]]], "weights"),
    ],
)
def test_exact_models_of_tokens(tables, weights, name):
    message(lambda: ct.TokenMixture(tables, weights), f"'{name}' parameter of TokenMixture")


def test_corpus():
    for corpus in ("poems", "review", "", None):
        message(
            lambda corpus=corpus: text(corpus=corpus), "'reviews' or 'names'", f"Got {corpus!r}"
        )
    message(lambda: text(corpus="names", mode_weights=[[1.0]]), "'mode_weights' parameter of load")


@pytest.mark.parametrize(
    "weights, found",
    [
        ([[1.0, 0.0]], "(1, 2)"),
        ([[0.5, 0.5]] * 3, "(3, 2)"),
        ([[1 / 9] * 9] * 2, "(2, 9)"),
        ([[0.5, 0.6], [0.5, 0.5]], "0.6"),
        ([0.5, 0.5], "[0.5, 0.5]"),
    ],
    ids=str,
)
def test_mode_weights_of_text(weights, found):
    message(lambda: text(mode_weights=weights), "'mode_weights' parameter of load", found)


SENTENCE = "the soup was superb and its garnish great"


@pytest.mark.parametrize(
    "sentence, found",
    [
        ("the soup was tasty and its garnish great", "['tasty'] in"),
        ("The soup was superb and its garnish great", "['The'] in"),
        ("the soup was great", "4 in"),
        (SENTENCE + " soup", "9 in"),
        ("", "0 in"),
        ("the soup was superb, and its garnish great", "['superb,'] in"),
    ],
)
def test_sentences_with_unknown_words(sentence, found):
    for texts in (sentence, [SENTENCE, sentence]):
        message(
            lambda texts=texts: text().encode(texts),
            "'texts' parameter of encode must be texts of 8 of these words",
            "garnish",
            "dreadful",
            f"Got {found} {sentence!r}",
        )


@pytest.mark.parametrize(
    "words, found",
    [
        (("excellent",), "excellent"),
        (("good", "bad"), "bad"),
        (("good", "good"), "good"),
        (("film car",), "car"),
        (("good film now",), "now"),
        (("soup",), "soup"),
    ],
)
def test_prompts_with_unknown_words(words, found):
    known = "good bad; food film hotel music book phone car coat"
    expected = "'words' parameter of prompt", f"Got {found!r} in {words!r}"
    message(lambda: text(prompt=True).prompt(*words), *expected, known)
    message(lambda: text().prompt(*words), "'words' parameter of prompt", "each of good bad. Got")


def test_wrapping_log_probabilities():
    def net(tokens, level, label):
        return tokens

    named = "'vocab_size' and 'mask_token' parameters of wrap"
    message(lambda: ct.wrap(net, "log_probs", num_classes=2), named, "Got None, None")
    message(lambda: ct.wrap(net, "log_probs", num_classes=2, vocab_size=5), named, "Got 5, None")
    message(lambda: ct.wrap(net, "log_probs", num_classes=2, mask_token=5), named, "Got None, 5")
    message(lambda: ct.wrap(net, "logits", num_classes=2), "'log_probs'", "'logits'")


def test_empty_batches_of_text():
    domain = text()
    model = domain.exact()
    message(lambda: domain.sample(model, label=0, n=0), "'n' parameter of sample", "Got 0")
    message(lambda: domain.data(0), "'n' parameter of data", "Got 0")
    message(lambda: domain.measure(WORDS[:0], 0), "'x' parameter of measure", "(0, 8)")
    message(lambda: domain.measure(WORDS, 2), "'label' parameter of measure", "from 0 to 1")
