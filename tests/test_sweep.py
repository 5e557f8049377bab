"""Sweeps, their journal and the figures: no training, the exact model and tiny sweeps."""

import dataclasses
import json
import math
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import cfg_tutorial as ct
import cfg_tutorial.sweep
from cfg_tutorial import measures
from cfg_tutorial.app import atlas, page
from cfg_tutorial.plots import plot_modes

module = sys.modules["cfg_tutorial.sweep"]
SCALES = [0.0, 1.0, 3.0]
OPTIONS = {"scales": SCALES, "source": "exact", "n": 160, "progress": False}


def value(table, measure, scale, **where):
    rows = table[(table.measure == measure) & (table.scale == scale) & (table.label == "mean")]
    for name, wanted in where.items():
        rows = rows[rows[name] == wanted]
    return rows.value.mean()


@pytest.fixture(scope="module")
def table():
    return ct.sweep(["mixtures"], seeds=range(2), references=True, **OPTIONS)


def test_the_table_is_tidy(table):
    assert not table.duplicated(
        ["domain", "source", "method", "seed", "scale", "label", "mode", "measure"]
    ).any()
    ours = table[table.source == "exact"]
    assert set(ours.seed) == {0, 1} and set(ours.scale) == set(SCALES)
    assert set(measures.MEASURES) | {"mode_share"} == set(ours.measure)
    # 160 rows at scale 0 and at 1 cost one forward, at 3 two, in each of 18 steps.
    assert set(ours.rows) == {18 * 160 * 4}


def test_a_cell_is_what_sample_and_measure_give(table):
    domain = ct.load("mixtures")
    label = torch.arange(160) % 2
    x = domain.sample(ct.guided(domain.exact(), 3.0), label, seed=1, progress=False)
    found = domain.measure(x, label)
    for name in ("alignment", "mode_coverage", "effective_modes", "kernel_distance"):
        assert value(table, name, 3.0, seed=1, source="exact") == pytest.approx(
            getattr(found, name), abs=1e-5
        )


def test_rows_are_those_of_sampling_whether_a_network_is_trained_or_found(tmp_path, monkeypatch):
    monkeypatch.setenv("CFG_TUTORIAL_CACHE", str(tmp_path))
    domain = ct.load("mixtures")
    domain.recipe = {**domain.recipe, "train_steps": 20}
    options = {**OPTIONS, "source": "trained"}
    trained, found = (ct.sweep([domain], seeds=[0], **options) for _ in range(2))
    assert set(trained.rows) == {18 * 160 * 4}
    pd.testing.assert_frame_equal(trained, found)


def test_references(table):
    domain = ct.load("mixtures")
    weights = domain.mode_weights
    own = (weights[0] * weights[0] / weights.sum(0)).sum().item()
    assert value(table, "alignment", 1.0, source="tilted") == pytest.approx(own, abs=1e-9)
    assert value(table, "alignment", 0.0, source="tilted") == pytest.approx(0.5, abs=1e-9)
    assert value(table, "alignment", 1.0, source="equation") == pytest.approx(own, abs=2e-3)
    shares = table[(table.source == "equation") & (table.scale == 3) & (table.label == "0")]
    assert shares.value.sum() == pytest.approx(1)
    # The sampled law is the equation's and not the tilted one (.43 against .29 in mode 1).
    assert shares[shares["mode"] == "mode 1"].value.item() == pytest.approx(0.428, abs=0.004)
    floor = table[(table.source == "real") & (table.measure == "validity")].value.item()
    assert floor > 0.98


def test_methods_differ_and_own_ones_are_run():
    own = {"half": lambda model, scale: ct.guided(model, scale / 2)}
    found = ct.sweep(["mixtures"], methods=own, seeds=[0], **OPTIONS)
    usual = ct.sweep(["mixtures"], methods=["cfg", "interval"], seeds=[0], **OPTIONS)
    assert set(usual.method) == {"cfg", "interval"}
    strong = value(usual, "alignment", 3.0, method="cfg")
    assert value(usual, "alignment", 3.0, method="interval") < strong
    assert value(found, "alignment", 3.0) < strong


def test_an_unconditional_model_changes_every_curve(tmp_path, monkeypatch, table):
    """The curves measure: with the label ignored, alignment is the prior's at every scale."""
    domain_class = type(ct.load("mixtures"))
    exact = domain_class.exact

    class Unconditional(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.num_classes = model, model.num_classes
            self.null_label, self.p_uncond = model.null_label, model.p_uncond

        def forward(self, x, level, label):
            return self.model(x, level, torch.full_like(label, self.null_label))

    monkeypatch.setattr(domain_class, "exact", lambda self: Unconditional(exact(self)))
    blind = ct.sweep(["mixtures"], seeds=range(2), **OPTIONS)
    for scale in SCALES[1:]:
        assert value(blind, "alignment", scale) == pytest.approx(0.5, abs=0.03)
        assert value(table, "alignment", scale, source="exact") > 0.65
    for name in ("alignment", "captured_mass", "effective_modes", "spread", "kernel_distance"):
        curves = [[value(t, name, s, source="exact") for s in SCALES] for t in (blind, table)]
        assert max(abs(a - b) for a, b in zip(*curves, strict=True)) > 0.01, name
    shares = [
        t[(t.measure == "mode_share") & (t.source == "exact") & (t.scale == 3)].value.to_numpy()
        for t in (blind, table)
    ]
    assert abs(shares[0] - shares[1]).max() > 0.1
    domain = ct.load("mixtures")
    figures = [ct.plot_coverage(t, "effective_modes") for t in (blind, table)]
    curves = [
        next(line for line in f.axes[0].lines if line.get_label().startswith("exact")).get_ydata()
        for f in figures
    ]
    assert abs(curves[0] - curves[1]).max() > 1
    panels = [plot_modes(t, "mixtures", domain.mode_weights, [3.0]).axes[0] for t in (blind, table)]
    bars = [[bar.get_height() for bar in panel.patches[:8]] for panel in panels]
    assert max(abs(a - b) for a, b in zip(*bars, strict=True)) > 0.1


def test_the_verdict_reads_the_table(table):
    def sentence(alignment, coverage):
        said = {"alignment": alignment, "mode_coverage": coverage, "effective_modes": (6, 2)}
        shared = {"domain": "d", "source": "trained", "label": "mean"}
        rows = [
            {**shared, "measure": name, "scale": scale, "value": one}
            for name, pair in said.items()
            for scale, one in zip((1.0, 8.0), pair, strict=True)
        ]
        return page.verdict(pd.DataFrame(rows), "d")

    assert "bought alignment" in sentence((0.7, 0.8), (1, 0.4))
    assert "cost coverage" in sentence((0.7, 0.8), (1, 0.4))
    assert "no alignment" in sentence((0.5, 0.5), (1, 1))
    assert "no coverage" in sentence((0.5, 0.5), (1, 1))


def test_journal_resumes_and_drops_a_torn_line(tmp_path, monkeypatch):
    run = {**OPTIONS, "folder": tmp_path}
    whole = ct.sweep(["mixtures"], seeds=range(2), **run)
    path = tmp_path / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    path.write_bytes(lines[0] + lines[1][: len(lines[1]) // 2])
    ran = []
    real = module.run_cell
    monkeypatch.setattr(module, "run_cell", lambda *a, **k: ran.append(a) or real(*a, **k))
    again = ct.sweep(["mixtures"], seeds=range(2), **run)
    assert len(ran) == 1
    assert again.equals(whole)
    assert [json.loads(line)["seed"] for line in path.read_bytes().splitlines()] == [0, 1]
    ct.sweep(["mixtures"], seeds=range(2), **{**run, "n": 200})  # another n: another cell
    assert len(ran) == 3


def test_another_domain_configuration_is_another_cell():
    plain = module.make_cells(["mixtures"], "exact", {"cfg": ct.guided}, [0], SCALES, 100)[0]
    other = dataclasses.replace(plain, domain=ct.load("mixtures", layout="grid"))
    assert module.cell_key(plain) != module.cell_key(other)
    assert module.cell_key(plain) != module.cell_key(dataclasses.replace(plain, source="shipped"))


def test_a_function_of_ones_own_is_known_by_what_it_does():
    def key(function):
        cells = module.make_cells(["mixtures"], "exact", {"mine": function}, [0], SCALES, 100)
        return module.cell_key(cells[0])

    def times(factor):
        return lambda model, scale: ct.guided(model, factor * scale)

    assert key(times(2.0)) == key(times(2.0)), "the same function made again"
    assert key(times(2.0)) != key(times(3.0)), "another value closed over"
    assert key(lambda m, s: ct.guided(m, s)) != key(lambda m, s: ct.guided(m, 1 + s))


def test_an_executor_gives_the_same_table(table):
    with ThreadPoolExecutor(2) as executor:
        found = ct.sweep(
            ["mixtures"], seeds=range(2), executor=executor, references=True, **OPTIONS
        )
    assert found.drop(columns="value").equals(table.drop(columns="value"))
    assert (found.value - table.value).abs().max() < 1e-6


def test_samples_are_followed_from_scale_to_scale(tmp_path):
    seen = []
    ct.sweep(["mixtures"], seeds=[0], folder=tmp_path, on_cell=seen.append, **OPTIONS)
    from cfg_tutorial.files import load_tensors

    x = load_tensors(module.samples_path(tmp_path, seen[0].key))[0]["x"]
    assert x.shape == (3, 160, 2)
    alone = ct.load("mixtures").sample(ct.load("mixtures").exact(), torch.arange(160) % 2, seed=0)
    assert (x[1] - alone).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"domains": ["mixture"]}, "Did you mean 'mixtures'"),
        ({"methods": ["apg2"]}, "'methods'"),
        ({"source": "cached"}, "'source'"),
        ({"scales": []}, "'scales'"),
        ({"scales": [math.nan]}, "'scales'"),
        ({"seeds": []}, "'seeds'"),
        ({"n": 0}, "'n'"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        ct.sweep(**{"domains": ["mixtures"], **OPTIONS, **arguments})


@pytest.mark.parametrize("against", ["scale", "alignment"])
def test_plot_draws_the_table(table, against):
    figure = ct.plot_coverage(table, "effective_modes", against=against)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    drawn = lines["exact model, sampled (2 seeds)"]
    assert drawn.get_ydata() == pytest.approx(
        [value(table, "effective_modes", s, source="exact") for s in SCALES]
    )
    x = SCALES if against == "scale" else [value(table, against, s, source="exact") for s in SCALES]
    assert drawn.get_xdata() == pytest.approx(x)
    assert "tilted law of modes (not what is sampled)" in lines and "exact equation" in lines
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ([] if against == "scale" else ["0", "1", "3"])
    with pytest.raises(ValueError, match="'measure'"):
        ct.plot_coverage(table, "beauty")


def test_source_shows_the_package_code():
    assert "uncond.lerp(cond" in ct.source(ct.guide)
    assert ct.source(ct.guide)._repr_markdown_().startswith("```python")


def test_atlas_from_shipped_weights(tmp_path, capsys):
    """The page, its figures and the table, from the shipped weights; the second time from disk."""
    args = SimpleNamespace(
        out=str(tmp_path), domains=["mixtures"], seeds=1, samples=160, workers=1, quick=True
    )
    assert atlas.main(args) == 0
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    for name in ("coverage_by_scale", "coverage_by_alignment", "modes_mixtures"):
        for kind in ("png", "svg"):
            assert (tmp_path / f"figures/{name}.{kind}").stat().st_size > 1000
    assert "shipped weights" in text and not re.search("https?:", text)
    table = pd.read_csv(tmp_path / "results.csv", keep_default_na=False)
    for column in ("seed", "domain", "scale", "method", "measure", "value", "weights"):
        assert column in table.columns
    lines = (tmp_path / "results.jsonl").read_bytes()
    assert atlas.main(args) == 0
    assert (tmp_path / "results.jsonl").read_bytes() == lines
    assert str(tmp_path) in capsys.readouterr().out


def test_the_finished_page_has_no_shipped_weights(tmp_path):
    """Three training seeds: three distinct weights, and none of them the shipped ones."""
    records, scales = [], [*SCALES, 8.0]
    cells = module.make_cells(
        ["mixtures"], "exact", {"cfg": ct.guided}, range(3), scales, 160, folder=tmp_path
    )
    for seed in range(3):
        cell = cells[seed]
        record = module.run_cell(cell, f"key{seed}")
        records.append(dataclasses.replace(record, source="trained", weights=f"sha{seed}"))
    about = {"source": "shipped", "weights": "sha-shipped", "key": "key0"}
    shipped = dataclasses.replace(records[0], **about)
    page.write_page(tmp_path, ["mixtures"], [shipped, *records], finished=True)
    table = pd.read_csv(tmp_path / "results.csv")
    assert set(table.weights) == {"sha0", "sha1", "sha2"}
    assert "shipped" not in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["mixtures", "images", "text", "audio"])
def test_training_seeds_give_three_networks_and_none_is_the_shipped_one(
    name, tmp_path, monkeypatch
):
    """Rows carry the SHA-256 of the weights that made them; the finished page has only those."""
    domain = ct.load(name)
    short = {**domain.recipe, "train_steps": 3, "batch_size": 16, "warmup": 1}
    monkeypatch.setattr(type(domain), "recipe", short)
    monkeypatch.setenv("CFG_TUTORIAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["cfg-tutorial", "atlas"])  # the page names its command
    options = {
        "scales": [1.0, 8.0],
        "n": 160,
        "num_steps": 2,
        "folder": tmp_path,
        "progress": False,
    }
    records = []
    ct.sweep([domain], seeds=[0], source="shipped", on_cell=records.append, **options)
    ct.sweep([domain], seeds=range(3), on_cell=records.append, **options)
    hashes = [record.weights for record in records]
    assert len(set(hashes)) == 4
    assert all(len(one) == 64 for one in hashes)
    monkeypatch.setattr(page.plots, "plot_modes", lambda table, name, weights, title: figure())
    page.write_page(tmp_path, [name], records, finished=True)
    table = pd.read_csv(tmp_path / "results.csv")
    assert set(table.weights) == set(hashes[1:])
    assert "shipped" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def figure():
    from matplotlib.figure import Figure

    return Figure()
