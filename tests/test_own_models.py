"""Models of one's own in a sweep, in a slider and in figures, under their own names."""

import pytest
import torch
from torch import nn
from toys import message

import cfg_tutorial as ct
from cfg_tutorial import plots
from cfg_tutorial.sweep import JOURNAL

HOW = {"scales": [0, 1, 3], "n": 160, "seeds": [0], "progress": False}


class Shifted(nn.Module):
    """The exact model of a domain, moved by a number that could be trained."""

    num_classes = null_label = 2

    def __init__(self, domain, by=0.0):
        super().__init__()
        self.inside, self.by = domain.exact(), nn.Parameter(torch.tensor(by))

    def forward(self, x, level, label):
        return self.inside(x, level, label) + self.by


@pytest.fixture(scope="module")
def domain():
    return ct.load("mixtures")


def shares(table, source):
    rows = table[(table.source == source) & (table.measure == "mode_share")]
    return rows.value.tolist()


def test_a_model_of_ones_own_is_swept_under_its_name(domain):
    models = {"mine": Shifted(domain), "moved": Shifted(domain, 0.1)}
    table = ct.sweep([domain], models=models, references=True, **HOW)
    assert set(table.source) == {"mine", "moved", "tilted", "equation", "real", "perfect"}
    exact = ct.sweep([domain], source="exact", **HOW)
    assert shares(table, "mine") == shares(exact, "exact") != shares(table, "moved")


def test_a_source_may_stand_beside_models(domain):
    table = ct.sweep([domain], models={"mine": Shifted(domain)}, source="exact", **HOW)
    assert set(table.source) == {"mine", "exact"}


def test_another_weight_or_sampler_never_meets_old_rows(domain, tmp_path):
    lines = []

    def run(by, **how):
        models = {"mine": Shifted(domain, by)}
        found = ct.sweep([domain], models=models, folder=tmp_path, **HOW, **how)
        lines.append((tmp_path / JOURNAL).read_text(encoding="utf-8").count("\n"))
        return shares(found, "mine")

    first = run(0.0)
    assert run(0.4) != first and run(0.0) == first
    assert run(0.0, sampler=ct.sample_ancestral) != first
    assert lines == [1, 2, 2, 3]


def test_a_sampler_for_all_cells(domain):
    euler = ct.sweep([domain], source="exact", sampler=ct.sample_euler, **HOW)
    label = torch.arange(160) % 2
    how = {"label": label, "sampler": ct.sample_euler, "progress": False}
    x = domain.at_scales(domain.exact(), [3.0], 160, **how)[0]
    found = domain.measure(x, label)
    got = euler[(euler.measure == "alignment") & (euler.scale == 3)].value.item()
    assert got == pytest.approx(found.alignment, abs=1e-12)


def test_what_has_no_key_is_said_and_run_anew(domain, tmp_path):
    with open(tmp_path / "open", "w", encoding="utf-8") as file:

        def model(x, level, label):
            return domain.exact()(x, level, label) if file else x

        model.num_classes = model.null_label = 2
        for _ in range(2):
            with pytest.warns(UserWarning, match="has no key"):
                ct.sweep([domain], models={"mine": model}, folder=tmp_path, **HOW)
    assert (tmp_path / JOURNAL).read_text(encoding="utf-8").count("\n") == 2


def test_models_that_cannot_be_swept_are_named(domain):
    def sweep(models, domains=("mixtures",), **how):
        return lambda: ct.sweep(domains, models=models, **{**HOW, **how})

    message(sweep([domain.exact()]), "'models'", "{name: model}")
    message(sweep({}), "'models'", "{name: model}")
    message(sweep({"exact": domain.exact()}), "'models'", "exact")
    message(sweep({3: domain.exact()}), "'models'", "3")
    message(sweep({"mine": 3}), "'models'", "mine")
    audio = sweep({"mine": domain.exact()}, ["mixtures", "audio"], n=480)
    message(audio, "'models'", "mine", "audio", "4")
    message(sweep({"mine": domain.exact()}, sampler="heun"), "'sampler'", "heun")
    message(sweep({"mine": domain.exact()}, source="mine"), "'source'", "mine")


def test_models_and_methods_of_ones_own_have_looks_of_their_own(domain):
    models = {"mine": Shifted(domain), "moved": Shifted(domain, 0.1)}
    methods = {"cfg": ct.guided, "half": lambda m, s: ct.guided(m, (s + 1) / 2), "$x$": ct.guided}
    table = ct.sweep([domain], models=models, source="exact", methods=methods, **HOW)
    figure = ct.plot_coverage(table, "effective_modes")
    lines = [line for line in figure.axes[0].lines if line.get_label()[0] != "_"]
    assert len(lines) == 9
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    first = {(line.get_color(), line.get_marker()) for line in lines if "cfg" in line.get_label()}
    other = {(line.get_color(), line.get_marker()) for line in lines if "half" in line.get_label()}
    assert len(looks) >= 5 and len(first) == 3 and len(other) == 1 and not first & other
    colours = {colour for colour, _ in plots.OWN}
    assert not colours & {style["color"] for style in plots.STYLES.values()}
    assert not colours & {domain.colour(k) for k in range(8)}
    modes = plots.plot_modes(table, "mixtures", domain.mode_weights, [1.0, 3.0])
    named = {text.get_text() for text in modes.legends[0].get_texts()}
    assert {"mine", "moved"} <= named


@ct.method
def halved(cond, uncond, scale):
    return uncond + scale / 2 * (cond - uncond)


def test_a_slider_takes_a_model_and_a_method_of_ones_own(domain):
    how = {"scales": [0, 1, 6], "progress": False}
    mine = ct.explore(domain, Shifted(domain), method=halved, **how)
    plain = ct.explore(domain, domain.exact(), scales=[0, 1, 3], progress=False)
    ours, theirs = mine.frames[2], plain.frames[2]
    assert ours.shares == pytest.approx(theirs.shares, abs=0.01)
    assert ours.words.split(": ")[1] == theirs.words.split(": ")[1]
    assert "method halved" in ours.page and "method" not in theirs.page
    for explorer in (mine, plain):  # which sample anew at once: no kernel goes on meanwhile
        explorer.hi.value = explorer.hi.options[3][1]
    assert mine.frames[2].shares == pytest.approx(plain.frames[2].shares, abs=0.01)
    assert mine.frames[2].shares != pytest.approx(ours.shares, abs=0.01)
    message(lambda: ct.explore(domain, domain.exact(), method=3.0), "'method'", "3.0")
