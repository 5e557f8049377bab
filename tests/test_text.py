"""Reviews: the grammar and its law, prompts, the exact model, transformers and padding."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from toys import last, nelbo, p_value, sharp, tilted

import cfg_tutorial as ct
from cfg_tutorial.domains.reviews import TOPICS

SKEW = [0.30, 0.22, 0.16, 0.11, 0.08, 0.06, 0.04, 0.03]
GOOD = ["superb", "great", "lovely", "brilliant"]
BAD = ["awful", "poor", "dreadful", "shoddy"]
FOOD = "the soup was superb and its garnish great"


@pytest.fixture(scope="module")
def domain():
    return ct.load("text")


@pytest.fixture(scope="module")
def prompted():
    return ct.load("text", prompt=True)


def kinds(domain, x):
    """Return the topic and how many judgements are good, 0 to 2, of valid rows, by the words."""
    texts = [text.split() for text in domain.decode(x)]
    parts = [word for _, words in TOPICS.values() for word in words]
    topic = [parts.index(words[6]) // 3 for words in texts]
    good = [[words[3] in GOOD, words[7] in GOOD] for words in texts]
    return np.array(topic), np.array(good)


def components(label):
    """Return p(topic, first judgement good, second good | class) of the default grammar."""
    topics = np.array([SKEW, SKEW[::-1], (np.array(SKEW) + SKEW[::-1]) / 2][label])
    own = np.array([[0.3, 0.7], [0.7, 0.3]])  # p(good or not | class), [class, good]
    pairs = [np.outer(p, p) for p in own]
    if label < 2:
        return topics[:, None, None] * pairs[label]
    return (np.array(SKEW)[:, None, None] * pairs[0] + topics_of(1)[:, None, None] * pairs[1]) / 2


def topics_of(label):
    return np.array([SKEW, SKEW[::-1]][label])


def law_of_place(domain, place):
    """Return p(word at a place) of class 0; the domain's components have good judgements first."""
    own = components(0)[:, ::-1, ::-1].ravel()
    return own @ domain.law.tables[:, place].numpy()


def component_counts(domain, x):
    topic, good = kinds(domain, x)
    cell = topic * 4 + good[:, 0] * 2 + good[:, 1]
    return np.bincount(cell, minlength=32).reshape(8, 2, 2)


# The contract


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt": True},
        {"autoregressive": True},
        {"prompt": True, "autoregressive": True},
        {"mode_weights": [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]},
    ],
    ids=str,
)
def test_domain_keeps_the_contract(options):
    passed = ct.check_domain(ct.load("text", **options))
    assert "class 1: exact samples follow the law" in passed
    assert "network: is a model" in passed


def test_disjoint_topics_keep_the_contract():
    domain = ct.load("text", mode_weights=[[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    assert ct.check_domain(domain)
    x = domain.sample(ct.guided(domain.exact(), 3.0), label=0, n=50, progress=False)
    assert domain.assign(x).unique().tolist() == [0, 1]


def test_files_of_the_kinds_have_names_of_their_own():
    names = {
        ct.load("text", prompt=p, autoregressive=a).file_name
        for p, a in itertools.product([False, True], repeat=2)
    }
    assert len(names) == 4
    configs = [ct.load("text").config(), ct.load("text", autoregressive=True).config()]
    configs += [ct.load("text", prompt=True).config()]
    assert all(a != b for a, b in itertools.combinations(configs, 2))


# The grammar


def test_words_and_places(domain):
    assert domain.law.length == 8 and domain.law.vocab_size == len(domain.words) == 65
    assert len(set(domain.words)) == 65 and domain.mode_names == list(TOPICS)
    assert domain.diffusion.mask_token == 65 and domain.diffusion.pad_token == 66
    words = [word for pair in TOPICS.values() for part in pair for word in part]
    assert len(set(words)) == 48  # no word belongs to two topics


@pytest.mark.parametrize(
    "text, topic",
    [
        (FOOD, "food"),
        ("this comedy seemed awful but the plot lovely", "film"),
        ("that raincoat proved shoddy and the zip dreadful", "coat"),
        ("the laptop was brilliant but its battery poor", "phone"),
    ],
)
def test_sentences_of_the_grammar_are_valid(domain, text, topic):
    assert domain.mode_names[domain.assign(domain.encode(text)).item()] == topic


@pytest.mark.parametrize(
    "text",
    [
        "the soup was superb but its garnish great",  # but joins what agrees
        "the soup was superb and its garnish awful",  # and joins what differs
        "the soup was awful but its garnish poor",
        "the soup was superb and its plot great",  # a part of another topic
        "the garnish was superb and its soup great",  # the part in the place of the thing
        "the soup was superb and that garnish great",  # a word that stands elsewhere
        "its soup was superb and its garnish great",
        "the soup was its and its garnish great",
        "the soup was superb and its garnish _",
        "_ soup was superb and its garnish great",
        "_ _ _ _ _ _ _ _",
    ],
)
def test_what_the_grammar_does_not_make_is_invalid(domain, text):
    x = torch.cat([domain.encode(text), domain.encode(FOOD)])
    assert domain.assign(x).tolist() == [-1, 0]


def test_rows_of_another_length_or_of_strange_tokens_are_invalid(domain):
    x = domain.encode([FOOD, FOOD, FOOD])
    assert domain.assign(x[:, :7]).tolist() == [-1] * 3
    assert domain.assign(torch.cat([x, x[:, :1]], 1)).tolist() == [-1] * 3
    x[0, 0], x[1, 3] = -1, 66
    assert domain.assign(x).tolist() == [-1, -1, 0]


def test_every_row_of_the_data_is_valid_and_of_its_mode(domain):
    batch = domain.data(2000, seed=1)
    assert torch.equal(domain.assign(batch.x), batch.mode)
    for text in domain.decode(batch.x):
        words = text.split()
        assert words[4] == ("and" if (words[3] in GOOD) == (words[7] in GOOD) else "but")


def test_validity_and_accuracy_count_what_is_measured(domain):
    good, bad = "the soup was superb and its sauce great", "the coat was awful and its zip poor"
    x = domain.encode([good, good, good, bad] * 20)
    found = domain.measure(x, 0)
    assert found.validity == 1 and found.accuracy == 0.75
    x[::4, 4] = domain.words.index("but")
    found = domain.measure(x, 0)
    assert found.validity == 0.75 and found.accuracy == pytest.approx(2 / 3)
    assert domain.measure(x, 1).accuracy == pytest.approx(1 / 3)
    nothing = domain.measure(torch.full((80, 8), 65), 0)
    assert nothing.validity == 0 and math.isnan(nothing.accuracy)


# The law


@pytest.mark.parametrize("label", [0, 1])
def test_data_follow_the_law(domain, label, n=20_000):
    batch = domain.data(n, seed=3)
    own = batch.x[batch.label == label]
    assert p_value(component_counts(domain, own), components(label)) > 1e-3
    assert p_value(component_counts(domain, own), components(1 - label)) == 0
    for place, count in ((0, 3), (2, 3), (5, 2)):
        words = np.unique(own[:, place], return_counts=True)[1]
        assert len(words) == count and p_value(words, np.ones(count) / count) > 1e-3
    assert abs((batch.label == 0).double().mean() - 0.5) < 4 * 0.5 / n**0.5


def test_data_are_repeatable_and_stratified(domain):
    a, b, c = (domain.data(50, seed=s) for s in (0, 0, 1))
    assert torch.equal(a.x, b.x) and not torch.equal(a.x, c.x)
    assert not torch.equal(a.x, domain.data(50, seed=0, held_out=True).x)
    batch = domain.data(1000, seed=0, stratified=True)
    counts = torch.bincount(batch.label * 8 + batch.mode, minlength=16).double()
    assert (counts - 500 * domain.mode_weights.flatten()).abs().max() <= 1


@pytest.mark.parametrize("label", [0, 1, 2])
def test_log_prob_and_entropy_of_the_grammar(domain, label):
    # Every sentence of a component is equally likely: 3 * 3 * 3 * 4 * 2 * 3 * 4 of them.
    size = 3 * 3 * 3 * 4 * 1 * 2 * 3 * 4
    law = components(label)
    entropy = -(law * np.log(law / size)).sum()
    assert domain.law.entropy(label) == pytest.approx(entropy, abs=1e-9)
    x = domain.data(300, seed=5).x
    topic, good = kinds(domain, x)
    expected = np.log(law[topic, good[:, 0] * 1, good[:, 1] * 1] / size)
    assert domain.law.log_prob(x, label).numpy() == pytest.approx(expected, abs=1e-9)


def test_posteriors_of_sentences(domain):
    x = domain.data(200, seed=6).x
    topic, good = kinds(domain, x)
    each = np.stack([components(c)[topic, good[:, 0] * 1, good[:, 1] * 1] for c in (0, 1)], 1)
    posterior = each / each.sum(1, keepdims=True)
    assert domain.law.posterior(x).numpy() == pytest.approx(posterior, abs=1e-9)
    one_topic = domain.law.mode_posterior(x)
    assert (one_topic.argmax(1).numpy() == topic).all() and one_topic.amax(1).min() > 1 - 1e-9
    nothing = domain.encode("_ _ _ _ _ _ _ _")
    assert domain.law.posterior(nothing)[0].tolist() == pytest.approx([0.5, 0.5])
    seen = domain.encode("the _ was superb and _ _ _")
    mean = components(2)[:, 1, 1] / components(2)[:, 1, 1].sum()
    assert domain.law.mode_posterior(seen)[0].numpy() == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0, 8.0])
def test_law_of_whole_sentences_by_components(domain, scale, label):
    law = tilted(components(label), components(2), scale)[0]
    expected = law.sum((1, 2))
    assert domain.whole_law(scale, label).numpy() == pytest.approx(expected, abs=1e-9)


def effective(law):
    return torch.special.entr(law).sum().exp().item()


@pytest.mark.parametrize("s, whole, topics", [
    (2, 5.15, 4.64), (3, 4.58, 3.80), (5, 3.98, 3.00), (8, 3.52, 2.42)
])  # fmt: skip
def test_figures_of_the_two_tilted_laws(domain, s, whole, topics):
    for label in (0, 1):
        assert effective(domain.whole_law(float(s), label)) == pytest.approx(whole, abs=0.006)
        assert effective(domain.tilted_law(float(s), label)) == pytest.approx(topics, abs=0.006)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_nelbo_of_the_exact_model_is_the_entropy_of_the_grammar(domain, label, n=6000):
    model, process = domain.exact(), domain.diffusion
    x0, labels = domain.law.sample(n, label, seed=1), torch.full((n,), label)
    generator = torch.Generator().manual_seed(0)
    losses = torch.tensor(
        [
            process.loss(model, *part, generator).item()
            for part in zip(x0.split(240), labels.split(240), strict=True)
        ]
    )
    error = losses.std().item() / len(losses) ** 0.5
    assert losses.mean().item() == pytest.approx(domain.law.entropy(label), abs=3 * error)
    assert error < 0.12


def test_nelbo_of_a_small_grammar_by_enumeration():
    # The same law with two topics and shorter rows: the places that choose, all masks, all states.
    tables = torch.zeros(4, 3, 4, dtype=torch.float64)
    for z, (first, second) in enumerate(itertools.product(range(2), repeat=2)):
        tables[z, 0, 2 * first : 2 * first + 2] = 0.5
        tables[z, 1, 2 + (first != second)] = 1
        tables[z, 2, 2 * second : 2 * second + 2] = 0.5
    model = ct.TokenMixture(tables, [[0.49, 0.21, 0.21, 0.09], [0.09, 0.21, 0.21, 0.49]])
    states = torch.tensor(list(itertools.product(range(4), repeat=3)))
    for label in (0, 1, 2):
        law = model.log_prob(states, label).exp()
        assert nelbo(model, law, label) == pytest.approx(model.entropy(label), abs=1e-9)


# Samples of the exact model


def draw(domain, scale, label, n, order="random", **options):
    sampler = functools.partial(ct.sample_unmask, order=order)
    model = ct.guided(domain.exact(), scale)
    return domain.sample(model, label=label, n=n, sampler=sampler, progress=False, **options)


@pytest.mark.parametrize("order", ["random", "left"])
def test_samples_at_scale_one_follow_the_corpus(domain, order, n=4000):
    x = draw(domain, 1.0, 0, n, order, seed=2)
    assert (domain.assign(x) >= 0).all()
    assert p_value(component_counts(domain, x), components(0)) > 1e-3
    for place in range(8):
        counts = np.bincount(x[:, place], minlength=65)
        assert p_value(counts, law_of_place(domain, place)) > 1e-4
    assert len(x.unique(dim=0)) > 0.75 * n


def test_samples_at_scale_zero_follow_both_classes(domain, n=4000):
    x = draw(domain, 0.0, 0, n, seed=3)
    assert p_value(component_counts(domain, x), components(2)) > 1e-3


def test_all_places_at_once_are_mostly_no_sentence(domain, n=2000):
    # Drawn as if independent: topic twice and the conjunction must agree by chance.
    x = draw(domain, 1.0, 0, n, num_steps=1)
    # The topic is drawn twice, and the two judgements agree with probability .58 and are said to.
    expected = (np.array(SKEW) ** 2).sum() * (0.58 * 0.58 + 0.42 * 0.42)
    valid = (domain.assign(x) >= 0).double().mean().item()
    assert valid == pytest.approx(expected, abs=4 * (expected / n) ** 0.5) and expected < 0.1
    assert p_value(np.bincount(x[:, 1], minlength=65), law_of_place(domain, 1)) > 1e-3


def test_confidence_order_costs_topics_even_without_guidance(domain, n=1000):
    # The word "soup" of the heaviest topic, and "and", are sure early, and so stay.
    random, sure = (
        domain.measure(draw(domain, 1.0, 0, n, order), 0) for order in ("random", "confidence")
    )
    assert random.effective_modes == pytest.approx(6.27, abs=0.2)
    assert sure.effective_modes < 5 and sure.alignment > random.alignment + 0.08
    assert sure.mode_counts[0] > random.mode_counts[0] + 0.1 * n


LEFT = [(1.0, 6.23), (1.5, 5.35), (2.0, 4.64), (3.0, 3.78), (5.0, 3.05), (8.0, 2.42)]


def test_left_order_tilts_the_topics_alone(domain, n=1000):
    # A topic is chosen by the thing, before any judgement: the topics' own tilted law.
    scales = torch.tensor([s for s, _ in LEFT])
    rows = torch.arange(n).repeat(len(scales))
    x = draw(domain, scales.repeat_interleave(n), 0, n * len(scales), "left", rows=rows)
    for (scale, published), part in zip(LEFT, x.split(n), strict=True):
        law = domain.tilted_law(scale, 0)
        assert effective(law) == pytest.approx(published, abs=0.06)
        counts = torch.bincount(torch.tensor(kinds(domain, part)[0]), minlength=8)
        often = law * n > 5
        assert counts[~often].sum() < 12
        assert p_value(counts[often], law[often].numpy()) > 1e-3
        assert effective(counts / n) == pytest.approx(published, abs=0.25)


def test_random_order_lies_between_the_two_tilted_laws(domain, n=2000):
    scales = [3.0, 8.0]
    rows = torch.arange(n).repeat(2)
    x = draw(domain, torch.tensor(scales).repeat_interleave(n), 0, 2 * n, rows=rows)
    for scale, expected, part in zip(scales, (4.21, 2.96), x.split(n), strict=True):
        assert (domain.assign(part) >= 0).all()
        found = effective(torch.bincount(domain.assign(part), minlength=8) / n)
        low, high = (effective(law(scale, 0)) for law in (domain.tilted_law, domain.whole_law))
        assert low + 0.1 < found < high - 0.1
        assert found == pytest.approx(expected, abs=0.2)


def test_weights_repair_the_law_of_whole_sentences(domain, n=4000):
    model = ct.guided(domain.exact(), 2.0)
    start = torch.full((n, 8), 65)
    x, log_weight = last(
        ct.sample_unmask(model, start, torch.linspace(1, 0, 9), torch.tensor(0), weights=True)
    )
    weight = log_weight.exp()
    law, z = tilted(components(0), components(2), 2.0)
    # Each sentence of a component has the same T: the sizes cancel in p_c^s p_u^(1 - s).
    assert weight.mean().item() == pytest.approx(z, abs=4 * weight.std().item() / n**0.5)
    topic = torch.tensor(kinds(domain, x)[0])
    each = torch.nn.functional.one_hot(topic, 8) * weight[:, None]
    error = each.std(0) / n**0.5
    whole = domain.whole_law(2.0, 0)
    often = whole > 0.03  # a few samples do not tell their own standard error
    assert often.sum() == 6
    assert ((each.mean(0) - z * whole).abs() < 4 * error)[often].all()
    plain = torch.bincount(topic, minlength=8)
    assert p_value(plain, whole.numpy()) < 1e-3


def test_guidance_buys_accuracy_and_costs_topics(domain, n=1000):
    scales = [1.0, 2.0, 5.0]
    found = [domain.measure(draw(domain, s, 0, n), 0) for s in scales]
    assert [m.validity for m in found] == [1, 1, 1]
    accuracy, modes = [m.accuracy for m in found], [m.effective_modes for m in found]
    assert accuracy == sorted(accuracy) and accuracy[0] == pytest.approx(0.83, abs=0.04)
    assert accuracy[2] > 0.99 and modes[0] > modes[1] + 1 > modes[2] + 2


# Prompts


def test_prompts_by_word(prompted, domain):
    null = [2, 8]
    assert prompted.prompt().tolist() == null
    assert prompted.prompt("good").tolist() == [0, 8]
    assert prompted.prompt("hotel").tolist() == [2, 2]
    assert prompted.prompt("coat", "bad").tolist() == [1, 7]
    assert prompted.prompt("bad coat").tolist() == prompted.prompt("coat bad").tolist() == [1, 7]
    assert domain.prompt("bad").tolist() == 1 and domain.prompt().tolist() == 2


def test_training_shows_class_topic_or_both_in_equal_parts(prompted, n=600):
    kinds_seen = torch.zeros(3)
    modes = np.zeros((3, 8))
    for seed in range(20):
        x, label = prompted.training_batch(n, seed)
        batch = prompted.data(n, seed, stratified=True)
        assert torch.equal(x, batch.x)
        hidden = label == prompted.num_classes
        assert torch.equal(label[~hidden], batch.label[~hidden])
        assert not hidden.all(1).any()  # label dropout hides both, later
        kind = torch.where(hidden[:, 0], 0, torch.where(hidden[:, 1], 1, 2))
        kinds_seen += torch.bincount(kind, minlength=3)
        np.add.at(modes, (kind.numpy(), batch.mode.numpy()), 1)
    assert p_value(kinds_seen.numpy(), np.ones(3) / 3) > 1e-3
    # Whether a part shows does not depend on what it is.
    assert p_value(modes, modes.sum(1, keepdims=True) * modes.sum(0)) > 1e-3


def test_label_dropout_adds_the_prompt_of_nothing(prompted, n=4000):
    _, label = prompted.training_batch(n, 0)
    dropped = ct.drop_labels(label, 0.15, prompted.num_classes, torch.Generator().manual_seed(0))
    hidden = dropped == prompted.num_classes
    counts = np.bincount(hidden[:, 0] * 2 + hidden[:, 1] * 1, minlength=4)
    shares = np.array([0.85 / 3, 0.85 / 3, 0.85 / 3, 0.15])
    assert p_value(counts, shares) > 1e-3


def test_training_without_prompts_shows_every_class(domain):
    x, label = domain.training_batch(100, 3)
    batch = domain.data(100, 3, stratified=True)
    assert torch.equal(x, batch.x) and torch.equal(label, batch.label)


def test_exact_model_of_a_class_prompt_tells_the_topics(prompted, n=1500):
    for c, word in enumerate(("good", "bad")):
        x = draw(prompted, 1.0, prompted.prompt(word), n, seed=c)
        counts = np.bincount(kinds(prompted, x)[0], minlength=8)
        assert p_value(counts, topics_of(c)) > 1e-3


def test_exact_model_of_a_topic_prompt_tells_the_judgements(prompted, n=1500):
    # p(class | topic) times the class's pairs of judgements.
    for topic in (0, 3):
        x = draw(prompted, 1.0, prompted.prompt(prompted.mode_names[topic]), n, seed=topic)
        read, good = kinds(prompted, x)
        assert (read == topic).all()
        law = components(2)[topic] / components(2)[topic].sum()
        assert p_value(np.bincount(good[:, 0] * 2 + good[:, 1], minlength=4), law.ravel()) > 1e-3


def test_prompts_of_both_and_of_nothing(prompted, domain, n=1500):
    x = draw(prompted, 1.0, prompted.prompt("bad", "music"), n)
    read, good = kinds(prompted, x)
    assert (read == 3).all()
    law = np.outer([0.7, 0.3], [0.7, 0.3])
    assert p_value(np.bincount(good[:, 0] * 2 + good[:, 1], minlength=4), law.ravel()) > 1e-3
    x = draw(prompted, 1.0, prompted.prompt(), n)
    assert p_value(component_counts(prompted, x).sum((1, 2)), components(2).sum((1, 2))) > 1e-3
    plain, asked = domain.exact(), prompted.exact()
    tokens = domain.diffusion.corrupt(domain.data(20).x, torch.tensor(0.5), domain.generator(0))
    for c in (0, 1, 2):
        pair = torch.tensor([[c, 8]] * 20)
        torch.testing.assert_close(
            asked(tokens, torch.tensor(0.5), pair),
            plain(tokens, torch.tensor(0.5), torch.full((20,), c)),
        )


def test_classes_alone_leave_the_topic_open(prompted):
    model = prompted.exact()
    one = prompted.sample(model, label=1, n=5, progress=False)
    each = prompted.sample(model, label=torch.tensor([1] * 5), progress=False)
    whole = prompted.sample(model, label=torch.tensor([[1, 8]] * 5), progress=False)
    prompt = prompted.sample(model, label=prompted.prompt("bad"), n=5, progress=False)
    assert torch.equal(one, each) and torch.equal(one, whole) and torch.equal(one, prompt)


# Words and tokens


def test_encoding_and_decoding_are_a_round_trip(domain):
    x = domain.data(200, seed=2).x
    assert torch.equal(domain.encode(domain.decode(x)), x)
    hidden = domain.diffusion.corrupt(x, torch.tensor(0.5), domain.generator(1))
    texts = domain.decode(hidden)
    assert torch.equal(domain.encode(texts), hidden)
    assert all(text.split().count("_") == 4 for text in texts)
    assert domain.decode(domain.encode(FOOD)) == [FOOD]
    assert domain.encode([FOOD, FOOD]).shape == (2, 8)


def test_padding_is_left_out_of_the_text(domain):
    padded = torch.cat([domain.encode(FOOD), torch.full((1, 3), 66)], 1)
    assert domain.decode(padded) == [FOOD]


def test_features_say_which_word_stands_where(domain):
    x = domain.encode([FOOD, FOOD.replace("superb", "great")])
    features = domain.features(x)
    assert features.shape == (2, 8 * 65) and features.sum(1).tolist() == [8, 8]
    assert (features[0] != features[1]).sum() == 2


def test_figure_shows_texts_in_colours_and_marks_the_invalid(domain):
    x = domain.encode(["this film was great and its cast poor", FOOD])
    figure = domain.show(x, label=0)
    texts = [text.get_text() for text in figure.texts]
    assert texts[0] == "class 0: good"
    assert texts[1:] == ["\u2717 invalid", "this film was great and its cast poor", "food", FOOD]
    colours = [text.get_color() for text in figure.texts[1:]]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    styles = [text.get_style() for text in figure.texts[2::2]]
    assert styles == ["italic", "normal"]
    assert len(domain.show(x.repeat(20, 1), limit=5).texts) == 10


# Networks


@functools.cache
def network_of(autoregressive):
    """Return a domain and its network, not trained."""
    domain = ct.load("text", autoregressive=autoregressive)
    return domain, sharp(domain, 4)


@pytest.fixture(params=[False, True], ids=["BERT", "GPT-2"])
def learned(request):
    return network_of(request.param)


def test_padding_never_changes_the_guided_logits_of_real_places(learned):
    domain, model = learned
    x = domain.data(12, seed=0)
    tokens = domain.diffusion.corrupt(x.x, torch.tensor(0.5), domain.generator(0))
    level = torch.tensor(0.5)
    for scale in (0.0, 1.0, 3.0):
        guided = ct.guided(model, scale)
        with torch.no_grad():
            alone = guided(tokens, level, x.label)
            for pads in (1, 5):
                padded = torch.cat([tokens, torch.full((12, pads), 66)], 1)
                found = guided(padded, level, x.label)
                assert found.shape == (12, 8 + pads, 65)
                torch.testing.assert_close(found[:, :8], alone, atol=1e-5, rtol=0)
    # It would, were it seen: a word in its place does, in a network that looks both ways.
    with torch.no_grad():
        words = torch.cat([tokens, torch.full((12, 2), 3)], 1)
        seen = model(words, level, x.label)[:, :8]
    plain = ct.guided(model, 1.0)(tokens, level, x.label)
    assert ((seen - plain).abs().max() > 1e-2) != domain.autoregressive


def test_rows_of_different_lengths_do_not_meet(learned):
    domain, model = learned
    tokens = domain.data(4, seed=1).x
    tokens = torch.cat([tokens, torch.full((4, 3), 66)], 1)
    tokens[1, 5:] = 66
    label, level = torch.tensor([0, 1, 2, 0]), torch.tensor(0.0)
    with torch.no_grad():
        together = model(tokens, level, label)
        short = model(tokens[1:2, :5], level, label[1:2])
        plain = model(tokens[2:3, :8], level, label[2:3])
    torch.testing.assert_close(together[1:2, :5], short, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[2:3, :8], plain, atol=1e-5, rtol=0)


def test_padding_does_not_change_the_loss_of_a_network(learned):
    domain, model = learned
    x, label = domain.training_batch(400, 0)
    padded = torch.cat([x, torch.full((400, 3), 66)], 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        losses = [domain.diffusion.loss(model, a, label, generator).item() for a in (x, padded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5 if domain.autoregressive else 0.05)


def test_a_causal_network_sees_only_what_stands_before(learned):
    domain, model = learned
    tokens, label, level = domain.data(6, seed=2).x, torch.zeros(6).long(), torch.tensor(0.0)
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 65
    with torch.no_grad():
        before, after = model(tokens, level, label), model(changed, level, label)
    same = [torch.allclose(before[:, i], after[:, i], atol=1e-5) for i in range(8)]
    assert same == ([True] * 5 + [False] * 3 if domain.autoregressive else [False] * 8)


def test_networks_are_told_the_label_and_answer_with_laws_of_words(learned):
    domain, model = learned
    tokens, level = domain.encode(["_ _ _ _ _ _ _ _"]).repeat(3, 1), torch.tensor(1.0)
    with torch.no_grad():
        law = model(tokens, level, torch.tensor([0, 1, 2]))
    assert law.shape == (3, 8, 65) and domain.diffusion.is_prediction(law, tokens)
    for a, b in itertools.combinations(law, 2):
        assert (a - b).abs().max() > 1e-2
    with torch.no_grad():  # the level shows in the tokens: it is not asked
        again = model(tokens, torch.tensor(0.2), torch.tensor([0, 1, 2]))
    assert torch.equal(law, again)


def test_prompts_of_networks_have_tokens_of_their_own(prompted):
    net = prompted.network()
    labels = torch.tensor(list(itertools.product(range(3), range(9))))
    tokens = net.prompt(labels)
    assert tokens.unique().tolist() == list(range(67, 67 + 12))
    assert net.prompt(torch.tensor([[2, 8]])).tolist() == [[69, 78]]
    assert net.transformer.config.vocab_size == 79


def test_domain_samples_networks_in_their_own_order(learned):
    domain, model = learned
    x = domain.sample(ct.guided(model, 2.0), label=0, n=6, seed=1, progress=False)
    order = "left" if domain.autoregressive else "random"
    start = torch.full((6, 8), 65)
    expected = last(
        ct.sample_unmask(
            ct.guided(model, 2.0), start, torch.linspace(1, 0, 9), torch.tensor(0), order, seed=1
        )
    )
    assert torch.equal(x, expected) and x.shape == (6, 8) and (x < 65).all()
    assert not x.eq(domain.sample(model, label=0, n=6, seed=2, progress=False)).all()


@pytest.mark.parametrize("options", [{}, {"prompt": True}, {"autoregressive": True}], ids=str)
def test_two_steps_of_training(options, tmp_path):
    domain = ct.load("text", **options)
    models = [
        domain.train(seed=seed, train_steps=2, folder=tmp_path, batch_size=32, progress=False)
        for seed in (0, 1, 0)
    ]
    label = torch.as_tensor(domain.num_classes) - 1
    tokens = torch.full((1, 8), 65)
    with torch.no_grad():
        a, b, c = (m(tokens, torch.tensor(1.0), label[None]) for m in models)
    assert torch.equal(a, c) and not torch.equal(a, b)
    assert len(list(tmp_path.iterdir())) == 2


def test_training_learns(tmp_path):
    domain = ct.load("text")
    x0, label = domain.training_batch(512, 99)
    losses = []
    for steps in (1, 60):
        model = domain.train(train_steps=steps, folder=tmp_path, batch_size=64, progress=False)
        with torch.no_grad():
            losses.append(domain.diffusion.loss(model, x0, label, domain.generator(0)).item())
    # From 8 log 65, all words alike, to less than what knowing each place's words alone costs.
    assert losses[0] > 30 and losses[1] < 20


def test_parallel_steps_make_rows_that_cannot_be():
    domain = ct.load("text")
    valid = [
        domain.measure(
            domain.sample(domain.exact(), label=0, n=500, num_steps=k, progress=False), 0
        ).validity
        for k in (1, 2, 4, 8)
    ]
    assert valid == sorted(valid) and valid[-1] == 1
    assert valid[0] < 0.25  # two topics, two sides of a conjunction, all drawn as if independent
