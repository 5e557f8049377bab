"""What went wrong once and must not again: each test says in its first line what happens now."""

import json
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from mutants import caches
from toys import Counter, message

import cfg_tutorial as ct
from cfg_tutorial import files, measures, plots, training
from cfg_tutorial.app import atlas, cli
from cfg_tutorial.app import page as pages
from cfg_tutorial.guidance import combine
from cfg_tutorial.journal import SCHEMA, read_journal
from cfg_tutorial.sweep import load_once, samples_path

SCALES = [0.0, 1.0, 3.0]
EXACT = {"source": "exact", "n": 160, "num_steps": 6, "progress": False}


def wait_for(ready, seconds=60):
    """Wait until ``ready()`` is true."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def domain():
    return ct.load("mixtures")


# Labels


def test_classes_of_prompted_text_are_one_a_row():
    """Labels (n,) of a model whose labels have two parts are classes, a row each.

    Before: a tensor of two classes gave one row, its second class read as a topic.
    """
    prompted = ct.load("text", prompt=True)
    model = prompted.exact()
    x = prompted.sample(model, torch.tensor([0, 1]), progress=False)
    assert len(x) == 2
    assert len(prompted.sample(model, torch.tensor([0, 1]), n=5, progress=False)) == 5  # one label
    whole = torch.tensor([[0, 8], [1, 8]])
    assert torch.equal(x, prompted.sample(model, whole, progress=False))
    message(lambda: prompted.sample(model, torch.tensor([0, 1]), n=2), "'label'", "a class a row")
    message(lambda: prompted.at_scales(model, SCALES, 2, label=torch.tensor([0, 1])), "'label'")
    assert prompted.at_scales(model, SCALES, 3, label=0, progress=False).shape[:2] == (3, 3)


@pytest.mark.parametrize("label", [-1, Counter.null_label + 1, 2**31])
def test_a_label_that_a_plain_model_lacks_is_an_error(label):
    """A guided function is asked only for labels that it has.

    Before: -1, or one past the last, was silently another class.
    """
    x = torch.zeros(3, 2)
    for model in (ct.guided(Counter(), 2.0), ct.composed(Counter(), {1: 2.0})):
        message(lambda m=model: m(x, torch.tensor(1.0), torch.full((3,), label)), "'label'", label)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_a_label_of_few_bits_is_a_label(domain, dtype):
    """Labels of any integer type are read as numbers, none as a mask.

    Before: a uint8 label was a mask, and the density of another class came back.
    """
    x, label = domain.data(6).x, torch.tensor([0, 1, 1, 0, 1, 0])
    exact, net = domain.exact(), domain.pretrained()
    assert torch.equal(exact.log_prob(x, 0.0, label.to(dtype)), exact.log_prob(x, 0.0, label))
    for model in (exact, net, ct.guided(net, 2.0), ct.guided(Counter(), 2.0)):
        found = model(x, torch.tensor(0.5), label.to(dtype))
        assert torch.equal(found, model(x, torch.tensor(0.5), label))


# Exact models and types


def test_a_density_that_does_not_exist_is_an_error():
    """Where a variance is 0 there is no density at level 0: an error, and no NaN.

    Before: NaN.
    """
    domain = ct.load("images")
    model, x = domain.exact(), domain.data(2).x
    for call in (
        lambda: model.log_prob(x),
        lambda: model.mode_posterior(x, 0.0),
        lambda: model(x, torch.tensor(0.0), torch.tensor([0, 1])),
        lambda: model.log_prob(x, math.nan),
    ):
        message(call, "'level'", "above 0 where a variance is 0")
    assert torch.isfinite(model.log_prob(x, 0.1)).all()


@pytest.mark.parametrize("name", ["mixtures", "images"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_exact_models_compute_in_float32_at_least(name, dtype):
    """Samples in a short type have the alignment of float32 to .03.

    Before: bfloat16 gave alignment .54 for .69, float16 NaN.
    """
    domain = load_once(name)
    model, how = ct.guided(domain.exact(), 2.0), {"n": 300, "progress": False}
    short, whole = (domain.sample(model, 0, dtype=d, **how) for d in (dtype, torch.float32))
    assert short.dtype == dtype
    found, wanted = (domain.measure(x, 0).alignment for x in (short, whole))
    assert found == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("sampler", [ct.sample_euler, ct.sample_heun, ct.sample_dpmpp_2m])
def test_networks_of_short_types_are_sampled(domain, sampler):
    """A network in bfloat16 is sampled in bfloat16.

    Before: three of four samplers stopped with a type error.
    """
    model = domain.pretrained().to(torch.bfloat16)
    x = domain.sample(ct.guided(model, 2.0), 0, n=8, sampler=sampler, progress=False)
    assert x.dtype == torch.bfloat16 and torch.isfinite(x).all()


@pytest.mark.parametrize("name", ["mixtures", "images", "text", "audio"])
def test_everything_works_where_the_default_is_double(name, tmp_path):
    """With torch's default type float64 checkpoints open, and all is sampled and trained.

    Before: shipped checkpoints were refused for their last digit.
    """
    torch.set_default_dtype(torch.float64)
    try:
        domain = ct.load(name)
        for model in (domain.pretrained(), domain.exact()):
            x = domain.sample(ct.guided(model, 2.0), 0, n=4, num_steps=3, progress=False)
            assert len(domain.assign(x)) == 4
        domain.train(train_steps=2, folder=tmp_path, progress=False)
    finally:
        torch.set_default_dtype(torch.float32)
        for cache in caches():  # what is fitted in double differs in its last digits
            cache.cache_clear()


@pytest.mark.parametrize(
    "schedule", [ct.interval(3.0, lo=0.2, hi=1.6), ct.ramp(1.0, 3.0, hi=2.0, lo=0.1)]
)
def test_schedules_are_pickled(domain, schedule):
    """Schedules and models guided by them go to other processes.

    Before: interval, ramp and their products could not be sent.
    """
    twice = ct.guided(ct.guided(domain.exact(), schedule), 2.0)
    for level in (torch.tensor(0.1), torch.tensor(1.0)):
        assert pickle.loads(pickle.dumps(schedule))(level) == schedule(level)
        x, label = torch.randn(2, 2), torch.tensor([0, 1])
        found = pickle.loads(pickle.dumps(twice))(x, level, label)
        assert torch.equal(found, twice(x, level, label))


@pytest.mark.parametrize("name", ["mixtures", "images", "text", "audio"])
def test_domains_go_to_other_processes(name):
    """A domain that has been used is pickled, and gives there what it gives here.

    Before: a mixture could not be pickled at all.
    """
    domain = ct.load(name)
    domain.measure(domain.data(600).x, domain.data(600).label)
    twin = pickle.loads(pickle.dumps(domain))
    assert torch.equal(twin.data(5, seed=3).x, domain.data(5, seed=3).x)
    assert twin.key() == domain.key()
    assert [law(2.0, 0).tolist() for law in twin.laws.values()] == [
        law(2.0, 0).tolist() for law in domain.laws.values()
    ]


@pytest.mark.parametrize("value", [0.0, 1.0, 2.0])
def test_a_learned_scale_has_its_gradient(domain, value):
    """A scale that is learned keeps its gradient, step after step, also at 0 and 1.

    Before: the gradient was lost without a word, and what was learned was not used.
    """
    scale = torch.nn.Parameter(torch.tensor(value))
    x, level, label = torch.randn(4, 2), torch.tensor(0.5), torch.zeros(4, dtype=torch.long)
    exact = domain.exact()
    null = torch.full_like(label, 2)
    wanted = (exact(x, level, label) - exact(x, level, null)).sum()
    model = ct.guided(exact, scale)
    twice = ct.guided(ct.guided(exact, scale), 2.0)
    assert [*model.parameters()] == [scale]
    for _ in range(2):
        for one, factor in ((model, 1), (twice, 2)):
            scale.grad = None
            found = one(x, level, label)
            found.sum().backward()
            torch.testing.assert_close(scale.grad, factor * wanted)
            plain = ct.guided(exact, factor * scale.item())(x, level, label)
            torch.testing.assert_close(found.detach(), plain)
        with torch.no_grad():
            scale += 0.5


def test_weights_are_numbers_of_any_kind(domain):
    """Weights of branches may be ints.

    Before: an AttributeError.
    """
    exact, x, label = domain.exact(), torch.randn(3, 2), torch.zeros(3, dtype=torch.long)
    level = torch.tensor(0.5)
    found = combine(x, level, [(exact, label, 3), (exact, label + 2, -2), (exact, label + 1, 0)])
    torch.testing.assert_close(found, ct.guided(exact, 3.0)(x, level, label))


def test_what_cannot_be_guided_is_said(domain):
    """No rows, or a function that does not say which label means none, is named.

    Before: an error about a shape, and one at the first call.
    """
    exact, none = domain.exact(), torch.zeros(0, 2)
    guided_model = ct.guided(exact, 2.0)
    message(lambda: guided_model(none, torch.tensor(1.0), none[:, 0].long()), "'x'", "rows")
    message(lambda: ct.guided(lambda x, level, label: x, 2.0), "'model'", "null_label")


@pytest.mark.parametrize("level", [3, torch.tensor(3), torch.tensor([3, 20])])
def test_a_schedule_takes_levels_of_any_type(level):
    """A schedule at a whole number is what it is at that number.

    Before: a scale of 2.5 became 2.
    """
    found = ct.interval(2.5, 0.0, 9.0)(level)
    assert found.tolist() == ([2.5, 1.0] if found.ndim else 2.5)
    assert ct.ramp(1.0, 2.5, hi=30.0, lo=3.0)(torch.tensor(3)) == 2.5


def test_an_edge_beside_the_first_level_leaves_it():
    """The first level, at which the noise is, stays, whatever edge is near it.

    Before: the sampler began at the edge, with noise of another level.
    """
    levels = ct.Gaussian().levels(18, (39.99, 39.0))
    assert levels[:3].tolist() == [40.0, pytest.approx(39.99), 39.0]


@pytest.mark.parametrize("steps", range(1, 65))
def test_masked_levels_are_fractions(steps):
    """A window that begins at k/n does not take in the step that begins there.

    Before: levels were off in their last bit, and in 338 cases it did.
    """
    levels = ct.Masked(4, 5).levels(steps)
    for k in range(1, steps):
        assert ct.interval(3.0, lo=k / steps)(levels[steps - k]) == 1
        assert ct.interval(3.0, hi=k / steps)(levels[steps - k]) == 3


def test_a_row_of_padding_costs_nothing():
    """The loss of tokens is a number also where a row is nothing but padding.

    Before: NaN.
    """
    process = ct.Masked(2, 2, pad_token=3)
    tokens = torch.tensor([[0, 1, 1], [3, 3, 3]])

    def even(tokens, level, label):
        return torch.full((*tokens.shape, 2), -math.log(2))

    cost = process.loss(even, tokens, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(cost, torch.tensor(3 * math.log(2) / 2))


def test_only_words_are_drawn():
    """Padding, and whatever else a prediction has a place for, is never drawn as a word.

    Before: the mask alone was not.
    """

    class Loose:
        mask_token, pad_token, vocab_size, num_classes, null_label = 4, 5, 4, 1, 1

        def __call__(self, tokens, level, label):
            return torch.zeros(*tokens.shape, 7)

    start, label = torch.full((200, 5), 4), torch.zeros(200, dtype=torch.long)
    *_, x = ct.sample_unmask(Loose(), start, torch.linspace(1, 0, 6), label)
    assert sorted(set(x.flatten().tolist())) == [0, 1, 2, 3]


def test_a_negative_seed_is_said_at_the_call(domain):
    """A sampler names a seed that it cannot take when it is called, not at its first step.

    Before: at the first step.
    """
    about = (domain.exact(), torch.randn(2, 2), torch.tensor([1.0, 0.0]), torch.tensor([0, 0]))
    message(lambda: ct.sample_ancestral(*about, seed=-1), "'seed'", "sample_ancestral", "-1")


def test_scores_in_inference_mode(domain):
    """A score is a gradient, also in inference mode.

    Before: an error about inference tensors.
    """
    model, x = domain.exact(), torch.randn(3, 2)
    wanted = model.score(x, 0.5, 0)
    with torch.inference_mode():
        assert torch.equal(model.score(x, 0.5, 0), wanted)


def test_samples_that_are_no_numbers_are_said(domain):
    """A scale that overflows warns, and says how many samples it spoiled.

    Before: NaN without a word.
    """
    with pytest.warns(UserWarning, match="3 of 3 samples are not finite: a scale too large"):
        domain.sample(ct.guided(domain.exact(), 1e30), 0, n=3, progress=False)


@pytest.mark.parametrize("deviation", [0, -1.0, math.nan])
def test_a_deviation_is_above_zero(deviation):
    """A mixture's deviation is above 0.

    Before: -1 was accepted.
    """
    message(lambda: ct.load("mixtures", deviation=deviation), "'deviation'", deviation)


# Measures and the page's sentence


def test_coverage_is_not_a_number_where_a_class_has_few_samples(domain):
    """One sample of a class makes the mean over classes NaN, not a number of luck.

    Before: 1,000 samples of one class and one of another read .56.
    """
    x = domain.sample(domain.exact(), 0, n=1001, progress=False)
    label = torch.zeros(1001, dtype=torch.long)
    assert domain.measure(x[:1000], 0).mode_coverage == 1
    label[-1] = 1
    with pytest.warns(UserWarning, match=r"80 samples \(10 a mode\).*Got 1 of class 1"):
        found = domain.measure(x, label)
    assert math.isnan(found.mode_coverage) and math.isnan(found.effective_modes)


def test_the_page_says_where_it_cannot_tell():
    """With too few samples the page's sentence says so, and no verdict.

    Before: it cost no coverage (nan to nan).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = ct.sweep(["mixtures"], [0, 1, 8], seeds=[0], **{**EXACT, "n": 20})
    text = pages.verdict(few, "mixtures")
    assert "too few samples" in text and "nan" not in text and "cost no" not in text


# Journals and sweeps


def sweep(folder, **changed):
    return ct.sweep(["mixtures"], SCALES, seeds=range(2), folder=folder, **{**EXACT, **changed})


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [b"\xef\xbb\xbf" + lines[0], lines[1]],
        lambda lines: [lines[0], b"{}\n", lines[1]],
        lambda lines: [lines[0], b"[" * 10**5 + b"\n", lines[1]],
        lambda lines: [lines[0], b"\xff\xfe\0\n", lines[1]],
        lambda lines: [lines[0].replace(b"alignment", b"alinement"), lines[1]],
        lambda lines: [lines[0].replace(b"0.", b"1.", 1), lines[1]],
        lambda lines: [lines[0], lines[1][:50] + b"\n"],
        lambda lines: [lines[0].replace(b'"schema": 2', b'"schema": 1'), lines[1]],
        lambda lines: [b"null\n", *lines],
    ],
)
def test_a_damaged_line_is_named_and_its_cell_run_again(tmp_path, damage):
    """A line that is not what was written is named, and its cell run again.

    Before: an error of the JSON reader without file or line, or wrong numbers.
    """
    whole = sweep(tmp_path)
    path = tmp_path / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(damage(lines)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert sweep(tmp_path).equals(whole)
    named = [str(one.message) for one in said if "results.jsonl" in str(one.message)]
    assert bool(named) == (not damage(lines)[0].startswith(b"\xef")), "a mark at the start is none"
    assert all("line" in text for text in named)


@pytest.mark.parametrize("damage", ["deleted", "empty", "cut", "flipped"])
def test_lost_samples_are_drawn_again(tmp_path, damage):
    """A cell whose samples cannot be read is run again, and an atlas goes on.

    Before: every later run failed, for good.
    """
    whole = sweep(tmp_path)
    record = read_journal(tmp_path / "results.jsonl")[0]
    path = samples_path(tmp_path, record.key)
    content = bytearray(path.read_bytes())
    kept = files.load_tensors(path)[0]["x"]
    content[-9] ^= 1
    parts = {"empty": b"", "cut": content[:-100], "flipped": content}
    path.unlink() if damage == "deleted" else path.write_bytes(parts[damage])
    with pytest.warns(UserWarning, match="run again, its samples being lost"):
        assert sweep(tmp_path).equals(whole)
    assert torch.equal(files.load_tensors(path)[0]["x"], kept)


def test_an_unfinished_atlas_goes_on_without_its_samples(tmp_path, monkeypatch):
    """An atlas that was interrupted, and whose samples are then lost, draws them again.

    Before: it stopped at its first page, every time.
    """
    monkeypatch.setattr(atlas, "_workers", lambda number: nullcontext())
    monkeypatch.setattr(atlas, "reference_cells", lambda *about: [])  # they keep no samples
    monkeypatch.setattr(sys, "argv", ["cfg-tutorial", "atlas"])  # the page names its command
    out, journal = tmp_path / "a", tmp_path / "a" / "results.jsonl"
    command = ["atlas", "--out", str(out), "--domains", "mixtures", "--quick", "--samples", "160"]
    with monkeypatch.context() as patch:
        patch.setattr(atlas, "write_page", lambda *about, **state: None)
        assert cli.main(command) == 0
    whole = read_journal(journal)
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    drawn = {path: files.load_tensors(path)[0]["x"] for path in (out / "samples").iterdir()}
    for path in drawn:
        path.unlink()
    with pytest.warns(UserWarning, match="run again, its samples being lost"):
        assert cli.main(command) == 0
    assert (out / "index.html").exists()
    found = {record.key: record.measures for record in read_journal(journal)}
    assert found == {record.key: record.measures for record in whole}
    for path, x in drawn.items():
        assert torch.equal(files.load_tensors(path)[0]["x"], x)


def test_a_cell_that_fails_is_named_and_loses_no_other(tmp_path):
    """One cell's error names it, and the records of others are kept.

    Before: the records of all others were lost, and no cell was named.
    """

    def broken(model, scale):
        raise ZeroDivisionError("my mistake")

    for executor in (None, ThreadPoolExecutor(2)):
        folder = tmp_path / str(executor is None)
        with pytest.raises(
            RuntimeError, match=r"mixtures, exact, mine, seed 0.*1 more.*my mistake"
        ):
            sweep(folder, methods={"mine": broken, "cfg": ct.guided}, executor=executor)
        assert [r.method for r in read_journal(folder / "results.jsonl")] == ["cfg", "cfg"]


def test_two_writers_lose_no_line(tmp_path):
    """Sweeps that share a folder at once keep every line.

    Before: 797 of 800 lines were there.
    """

    def run(seed):
        ct.sweep(["mixtures"], [1.0], seeds=[seed], folder=tmp_path, **EXACT)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(12)))
    records = read_journal(tmp_path / "results.jsonl")
    assert sorted(r.seed for r in records) == list(range(12))
    line = json.loads((tmp_path / "results.jsonl").read_bytes().splitlines()[0])
    assert line["schema"] == SCHEMA


def test_a_pool_that_forks_is_refused():
    """Forked processes hang after any sampling: the error says what to pass instead.

    Before: it hung for ever.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this system")
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        message(lambda: sweep(None, executor=pool), "'executor'", "get_context")


def test_a_home_is_no_folder_called_so(tmp_path, monkeypatch):
    """~ in a path is the home folder.

    Before: a folder called ~ was made.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    sweep("~/kept")
    ct.load("mixtures").train(train_steps=2, folder="~/weights", progress=False)
    monkeypatch.setenv("CFG_TUTORIAL_CACHE", "~/cache")
    assert files.cache_folder() == tmp_path / "cache"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", "weights"]


def test_training_in_one_folder_at_once_is_done_once(tmp_path):
    """Of several who ask for the same weights at once, one trains and the others wait.

    Before: each trained, and they wrote over each other.
    """
    steps, real = [], training.fit

    def counted(*args, **options):
        steps.append(threading.get_ident())
        return real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit", counted)
        with ThreadPoolExecutor(4) as pool:
            options = {"train_steps": 20, "folder": tmp_path, "progress": False}
            models = list(pool.map(lambda _: ct.load("mixtures").train(**options), range(4)))
    assert len(steps) == 1 and len({training.weights_hash(model) for model in models}) == 1


# Figures


@pytest.mark.parametrize("name", ["mixtures", "images", "text", "audio"])
def test_figures_are_not_pyplots(name):
    """What the package draws leaves pyplot's current figure as it is, in any thread.

    Before: each figure became the current one of whoever drew.
    """
    import matplotlib.pyplot as plt

    domain = ct.load(name)
    table = ct.sweep(["mixtures"], SCALES, seeds=[0], **EXACT)
    mine = plt.figure()
    explorer = ct.explore(domain, domain.exact(), scales=[0, 3], progress=False)
    figures = [domain.show(domain.data(8).x, label=0), ct.plot_coverage(table)]
    figures.append(plots.plot_modes(table, "mixtures", ct.load("mixtures").mode_weights, [1.0]))
    assert explorer.twin()[1:4] == b"PNG"
    assert plt.gcf() is mine and plt.get_fignums() == [mine.number]
    assert all(figure._repr_png_()[1:4] == b"PNG" for figure in figures)  # what a notebook shows


def test_a_cell_draws_while_a_widget_samples():
    """Figures drawn while an explorer samples in another thread keep their titles.

    Before: up to seven of sixteen titles were lost.
    """
    import matplotlib.pyplot as plt

    explorer = ct.explore("mixtures", scales=[0, 3], progress=False)
    done = threading.Event()

    def beside():
        while not done.is_set():
            explorer.twin()
            explorer.domain.show(explorer.domain.data(20).x)

    thread = threading.Thread(target=beside)
    thread.start()
    titles = []
    for i in range(16):
        figure = plt.figure(figsize=(1, 1))
        plt.plot([0, 1])
        plt.title(f"figure {i}")
        titles += [ax.get_title() for ax in figure.axes]
        plt.close(figure)
    done.set()
    thread.join()
    assert titles == [f"figure {i}" for i in range(16)]


def test_a_name_with_dollars_is_drawn_as_it_is():
    """Dollars in names of modes and classes are dollars, and no formula.

    Before: the figure stopped with an error about mathematics.
    """
    domain = ct.load("images")
    domain.mode_names = [f"$ {k} $\\frac$" for k in range(8)]
    domain.class_names = ["$^$", "$_{$"]
    table = ct.sweep([domain], [1.0, 3.0], seeds=[0], **EXACT)
    figure = plots.plot_modes(table, "images", domain.mode_weights, [1.0], title="$^$")
    shown = domain.show(domain.data(4).x, label=0)
    for drawn in (figure, shown):
        assert plots.image_bytes(drawn)[1:4] == b"PNG"
    assert shown.get_suptitle() == "class 0: \\$^\\$"
    assert plots.view(domain, domain.data(8).x, 0).png


# Data and arguments that are few, or of another kind


def test_features_that_do_not_vary_have_no_spread(domain):
    """Where real data do not vary the spread is NaN.

    Before: a division by zero.
    """
    same, mode = torch.zeros(40, 2), torch.zeros(40, dtype=torch.long)
    assert math.isnan(measures.spread(same, mode, same, mode))
    mixed = torch.cat([same, torch.randn(40, 2)]), torch.cat([mode, mode + 1])
    assert measures.spread(*mixed, *mixed) == pytest.approx(1)

    class Still(type(domain)):
        def features(self, x):
            return torch.zeros(len(x), 2)

    still = Still()
    found = still.measure(still.data(400).x, still.data(400).label)
    assert math.isnan(found.spread) and math.isnan(found.kernel_distance)
    assert found.mode_coverage > 0.9


def test_the_kernel_distance_is_of_two_thousand_samples_at_most(domain, monkeypatch):
    """Twenty thousand samples take the memory of two thousand.

    Before: 3.5 GiB, and 60,000 samples ended the process.
    """
    compared = []

    def distance(features, real, width):
        compared.append((len(features), len(real)))
        return 0.0

    monkeypatch.setattr(measures, "kernel_distance", distance)
    batch = domain.data(20_000)
    domain.measure(batch.x, batch.label)
    assert max(n for pair in compared for n in pair) == 2000


@pytest.mark.parametrize("label", ["class 0", None, 0.5, [[0], [1]], object()])
def test_a_label_of_another_kind_is_named(domain, label):
    """A label that is no integer is an error that names the argument and what is expected.

    Before: 'new(): invalid data type', or nothing.
    """
    model = domain.exact()
    for call in (
        lambda: domain.sample(model, label, n=2, progress=False),
        lambda: domain.at_scales(model, SCALES, 2, label=label, progress=False),
        lambda: domain.measure(torch.zeros(2, 2), label),
    ):
        message(call, "'label'", "integer")


@pytest.mark.parametrize(
    "name, value",
    [("seed", "one"), ("seed", 0.5), ("num_steps", "all"), ("num_steps", 2.5), ("rows", "abc")],
)
def test_arguments_of_another_kind_are_named(domain, name, value):
    """Text, or half a step, is an error that names the argument and what came.

    Before: '>=' not supported between instances of 'str' and 'int'.
    """
    call = {name: value}
    message(lambda: domain.sample(domain.exact(), 0, n=3, **call), f"'{name}'", value)


@pytest.mark.parametrize(
    "changed",
    [
        {"domains": "mixtures"}, {"domains": []}, {"scales": 1.0}, {"scales": []}, {"scales": "1"},
        {"scales": [math.inf]}, {"seeds": 0}, {"seeds": []}, {"seeds": [0.5]}, {"methods": "cfg"},
        {"methods": []}, {"n": 1}, {"n": 0}, {"n": 2.5}, {"num_steps": 0}, {"seeds": [0, 0]},
        {"seeds": [-1]}, {"methods": {"mine": 3}},
    ],
)  # fmt: skip
def test_a_sweep_names_what_it_cannot_take(changed):
    """One value where several belong, or fewer samples than classes, is named before anything.

    Before: an error about iterating, or about zip() after all was sampled.
    """
    call = {"domains": ["mixtures"], "scales": [1.0], "seeds": [0], **EXACT, **changed}
    message(lambda: ct.sweep(**call), "of sweep", f"'{next(iter(changed))}'")


def test_a_plain_function_is_a_model(domain):
    """A function of (x, level, label) is sampled and swept, though it says nothing of itself.

    Before: it has no attribute null_label.
    """

    def plain(model, scale):
        guided = ct.guided(model, scale)
        return lambda x, level, label: guided(x, level, label)

    found = ct.sweep([domain], SCALES, methods={"plain": plain}, seeds=[0], **EXACT)
    usual = ct.sweep([domain], SCALES, seeds=[0], **EXACT)
    assert found.value.equals(usual.value)
    assert domain.sample(lambda x, level, label: 0 * x, 0, n=3, progress=False).abs().max() < 1


def test_a_domain_without_shipped_weights_asks_for_a_model(domain):
    """Exploring a domain of one's own says that a model is to be given, and which.

    Before: it asked for a checkpoint that ships with the package.
    """

    class Own(type(domain)):
        name = "own"

    message(lambda: ct.explore(Own()), "'model' parameter of explore", "domain.exact()")


def test_a_prompts_parts_are_drawn_apart_from_its_data():
    """Which part of a prompt training shows shares no random numbers with the data.

    Before: both began with the same numbers.
    """
    prompted = ct.load("text", prompt=True)
    for seed in range(3):
        hidden = prompted.training_batch(50, seed)[1] == prompted.num_classes
        data_draw = torch.randint(3, (50,), generator=prompted.generator(seed))
        assert not torch.equal(hidden[:, 1], data_draw == 0)


# The command


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--domains", "mixture"], "--domains must be of mixtures, images, text, audio."),
        (["--domains", "text", "text"], "--domains must name each domain once. Got text twice."),
        (["--samples", "3"], "--samples must be at least 4, one for each class of audio."),
        (["--out", ""], "--out must name a folder. Got '' instead."),
        (["--out", "file"], "--out must be a folder that can be written. Got file instead"),
        (["--out", "file/in"], "--out must be a folder that can be written. Got file/in instead"),
    ],
)
def test_an_atlas_names_what_it_cannot_take(arguments, said, tmp_path, monkeypatch, capsys):
    """An unknown domain, one named twice, or a file for a folder is one line and status 2.

    Before: tracebacks, or files in the current folder.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert cli.main(["atlas", *arguments]) == 2
    assert f"cfg-tutorial atlas: {said}" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_without_a_terminal_a_cell_is_a_line(capsys):
    """Into a file a sweep writes one line for each finished cell, and no bars.

    Before: 5,152 lines for one atlas.
    """
    ct.sweep(["mixtures"], SCALES, seeds=range(3), **{**EXACT, "progress": True})
    said = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert said == [f"{i + 1} of 3: (mixtures, exact, cfg, seed {i})" for i in range(3)]


def test_ctrl_c_ends_an_atlas_in_one_sentence(tmp_path):
    """An interrupted atlas says that it goes on from there, without a traceback, and does.

    Before: 2 of 15 ended cleanly.
    """
    if os.name == "nt":
        pytest.skip("no process groups on this system")
    command = [sys.executable, "-m", "cfg_tutorial.app.cli", "atlas", "--out", str(tmp_path / "a")]
    command += ["--domains", "mixtures", "--seeds", "2", "--samples", "160"]
    environment = {**os.environ, "CFG_TUTORIAL_CACHE": str(tmp_path / "cache")}
    for cells in (0, 3):
        with subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        ) as run:  # fmt: skip
            assert run.stderr and run.stdout
            while cells and not run.stderr.readline().startswith(f"{cells} of "):
                pass
            wait_for(lambda: (tmp_path / "a").exists())
            os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them
            out, err = run.stdout.read(), run.stderr.read()
        assert run.returncode == 130 and "Traceback" not in err, err
        assert "the same command goes on from here" in out
    assert len(read_journal(tmp_path / "a" / "results.jsonl")) >= 3
    assert not [*tmp_path.rglob("*.partial")]
