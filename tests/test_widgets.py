"""The widgets: what they show is what is sampled and measured, one frame at a time."""

import asyncio
import base64
import gc
import io
import json
import re
import tracemalloc

import numpy as np
import pytest
import torch
from ipywidgets import HTML
from ipywidgets.widgets import widget
from matplotlib.text import Text
from PIL import Image
from toys import message

import cfg_tutorial as ct
from cfg_tutorial.app import page, widgets
from cfg_tutorial.domains import DOMAINS
from cfg_tutorial.files import save_tensors

SCALES = [0.0, 1.0, 3.0, 8.0]


def opened(name="mixtures", model=None, **options):
    domain = ct.load(name)
    model = domain.exact() if model is None else model
    return ct.explore(domain, model, scales=SCALES, progress=False, **options)


@pytest.fixture(scope="module", params=DOMAINS)
def explorer(request):
    return opened(request.param)


def table(explorer) -> list[tuple[str, str, str]]:
    """Return the rows of the bars: mode, share here, the class's own."""
    cell = r'<th scope="row"[^>]*>([^<]*)</th>.*?<td>([\d.]+)</td><td>([\d.]+)</td>'
    return re.findall(cell, explorer.view.value)


def test_what_is_shown_is_what_is_sampled(explorer):
    domain, n = explorer.domain, explorer.n
    for i, scale in enumerate(SCALES):
        explorer.slider.index = i
        x = domain.sample(ct.guided(explorer.model, scale), 0, n=n, progress=False)
        found = domain.measure(x, 0)
        shares = found.mode_counts / found.mode_counts.sum()
        rows = table(explorer)
        assert [row[0] for row in rows] == domain.mode_names
        assert [float(row[1]) for row in rows] == pytest.approx(shares.tolist(), abs=0.0151)
        assert [float(row[2]) for row in rows] == pytest.approx(
            domain.mode_weights[0].tolist(), abs=0.0051
        )
        words = explorer.said.value
        assert f"guidance_scale {scale:g}" in words
        said = float(re.search(r"alignment ([\d.]+)", words)[1])
        assert said == pytest.approx(found.alignment, abs=0.011)


def test_one_picture_with_words_and_a_player_for_each_sound(explorer):
    for i in range(len(SCALES)):
        explorer.slider.index = i
        page = explorer.view.value
        (alt,) = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"', page)
        assert f"guidance_scale {SCALES[i]:g}: " in alt
        assert sum(map(int, re.findall(r"(\d+) [^\d,]+", alt.split(": ", 1)[1]))) == min(
            explorer.n, explorer.domain.num_shown
        )
        players = re.findall(r'<audio controls aria-label="([^"]+)"', page)
        assert len(players) == (4 if explorer.domain.name == "audio" else 0)


def test_moving_the_slider_computes_nothing_and_keeps_nothing(explorer, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(type(explorer.domain), "sample", None)
    monkeypatch.setattr(type(explorer.domain), "states", None)
    monkeypatch.setattr(type(explorer.domain), "show", None)
    seen = set()

    def move(times):
        for i in range(times):
            explorer.slider.index = i % len(SCALES)
            seen.add(explorer.view.value)

    move(8)
    gc.collect()
    number, figures = len(widget._instances), plt.get_fignums()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    move(50)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(seen) == len(SCALES)
    assert grown < 100_000
    assert plt.get_fignums() == figures
    assert len(widget._instances) == number
    assert explorer.view.value.count("<img") == 1


@pytest.mark.parametrize(
    ("control", "value"), [("label", 1), ("seed", 5), ("steps", 9), ("hi", 3), ("lo", 4)]
)
def test_a_parameter_samples_anew(control, value):
    explorer = opened()
    before, domain = [frame.shares for frame in explorer.frames], explorer.domain
    levels = control in ("lo", "hi")
    setattr(getattr(explorer, control), "index" if levels else "value", value)
    after = [frame.shares for frame in explorer.frames]
    assert after != before
    scale = ct.interval(8.0, explorer.lo.value, explorer.hi.value) if levels else 8.0
    x = domain.sample(
        ct.guided(explorer.model, scale),
        explorer.label.value,
        n=explorer.n,
        seed=explorer.seed.value,
        num_steps=explorer.steps.value,
        progress=False,
    )
    counts = domain.measure(x, explorer.label.value).mode_counts
    assert after[-1] == pytest.approx((counts / counts.sum()).tolist(), abs=0.0051)
    caption = re.search(r"<figcaption[^>]*>(.*?)</figcaption>", explorer.view.value)[1]
    assert f"{explorer.steps.value} steps, seed {explorer.seed.value}" in caption
    assert domain.class_names[explorer.label.value] in caption
    own = domain.mode_weights[explorer.label.value].tolist()
    assert [float(row[2]) for row in table(explorer)] == pytest.approx(own, abs=0.0051)
    assert ("guided at levels" in caption) == levels


def test_the_whole_range_of_levels_is_no_interval():
    explorer = opened()
    assert explorer.lo.value == 0
    assert explorer.hi.value == pytest.approx(explorer.domain.diffusion.sigma_max)


def test_levels_in_the_wrong_order_are_said():
    explorer = opened()
    frames = explorer.frames

    async def kernel():
        explorer.hi.index = 1
        explorer.lo.index = 5
        await explorer.task

    asyncio.run(kernel())
    assert 'role="alert"' in explorer.said.value and "lo &lt; hi" in explorer.said.value
    assert explorer.frames is frames


def test_what_is_overtaken_is_given_up():
    explorer = opened()
    started = []
    work = explorer.work

    def counted():
        started.append(explorer.seed.value)
        yield from work()

    explorer.work = counted

    async def kernel():
        for seed in (1, 2, 3):  # at once: only the last is sampled
            explorer.seed.value = seed
        first = explorer.frames
        assert explorer.frames is first, "nothing is computed while parameters change"
        await asyncio.sleep(0.15)
        assert explorer.busy.layout.visibility == "visible"
        explorer.slider.index = 0  # heard while the samples are drawn
        assert "guidance_scale 0" in explorer.said.value and "seed 0" in explorer.view.value
        explorer.seed.value = 4  # in the middle of the work on 3
        await explorer.task
        assert explorer.busy.layout.visibility == "hidden"

    asyncio.run(kernel())
    assert started == [3, 4]
    assert "seed 4" in explorer.view.value and "guidance_scale 0" in explorer.view.value


def test_stop_keeps_the_pictures_that_are_there():
    explorer = opened()
    frames = explorer.frames

    async def kernel():
        explorer.seed.value = 1
        await asyncio.sleep(0.15)
        explorer.stop.click()
        with pytest.raises(asyncio.CancelledError):
            await explorer.task
        assert explorer.busy.layout.visibility == "hidden"

    asyncio.run(kernel())
    assert explorer.frames is frames and "seed 0" in explorer.view.value


def test_a_model_that_fails_later_is_heard():
    class Fails(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.num_classes, self.null_label = model, 2, 2
            self.p_uncond, self.fails = 0.1, False

        def forward(self, x, level, label):
            if self.fails:
                raise RuntimeError("no <such> number")
            return self.model(x, level, label)

    model = Fails(ct.load("mixtures").exact())
    explorer = opened(model=model)
    model.fails = True

    async def kernel():
        explorer.seed.value = 1
        await explorer.task

    asyncio.run(kernel())
    assert "RuntimeError: no &lt;such&gt; number" in explorer.said.value
    assert explorer.busy.layout.visibility == "hidden"


def test_another_model_shows_another_page():
    class Unconditional(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.num_classes, self.null_label, self.p_uncond = model, 2, 2, 0.1

        def forward(self, x, level, label):
            return self.model(x, level, torch.full_like(label, 2))

    ours, control = opened(), opened(model=Unconditional(ct.load("mixtures").exact()))
    assert ours.frames[0].shares == pytest.approx(control.frames[0].shares, abs=0.01)
    assert all(frame.shares == control.frames[0].shares for frame in control.frames)
    assert ours.frames[-1].shares != control.frames[-1].shares


def test_the_slider_has_a_named_twin(explorer):
    explorer.slider.index = 1
    assert explorer.scale.value == SCALES[1]
    explorer.scale.value = SCALES[3]
    assert explorer.slider.index == 3 and "guidance_scale 8" in explorer.said.value
    names = ("scale", "play", "label", "lo", "hi", "seed", "steps", "bar", "stop")
    assert all(getattr(explorer, name).description for name in names), "each has a label"


def test_play_goes_through_the_scales_and_stops(monkeypatch):
    explorer, places = opened(), []
    explorer.slider.observe(lambda change: places.append(change.new), "index")
    real, slept = asyncio.sleep, []

    async def sleep(seconds):
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(widgets.asyncio, "sleep", sleep)

    async def kernel():
        explorer.slider.index = len(SCALES) - 1
        places.clear()
        explorer.play.value = True
        await asyncio.wait([explorer.playing])
        assert places == [0, 1, 2, 3] and not explorer.play.value
        explorer.play.value = True
        await real(0)
        explorer.play.value = False  # in the middle
        await asyncio.wait([explorer.playing])
        assert explorer.slider.index == 0

    asyncio.run(kernel())
    assert set(slept) == {0.8}


def test_without_a_kernel_there_is_a_picture(explorer):
    explorer.slider.index = 2
    bundle = explorer._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert len(bundle["text/plain"]) < 300 and "guidance_scale 3" in bundle["text/plain"]
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.width > 500 and len(bundle["image/png"]) < 200_000


def test_the_still_picture_has_the_same_shares(explorer, monkeypatch):
    explorer.slider.index = 3
    monkeypatch.setattr(widgets.plots, "image_bytes", lambda figure, **_: figure)
    (bars,) = explorer.twin().axes
    heights = [bar.get_height() for bar in bars.patches]
    own = explorer.domain.mode_weights[0].tolist()
    assert heights == pytest.approx([*explorer.frames[3].shares, *own])
    assert [text.get_text() for text in bars.get_xticklabels()] == explorer.domain.mode_names


def test_words_are_11_pixels_high_and_pictures_keep_their_pixels(explorer, monkeypatch):
    frame = explorer.frames[explorer.slider.index]
    samples = np.asarray(Image.open(io.BytesIO(frame.picture)).convert("RGB")).astype(int)
    twin = np.asarray(Image.open(io.BytesIO(explorer.twin())).convert("RGB")).astype(int)
    high, wide = samples.shape[:2]
    there = twin[widgets.HEAD_HIGH : widgets.HEAD_HIGH + high, :wide]
    assert abs(there - samples).max() <= 2 and twin.shape[1] <= widgets.PAGE_WIDE
    monkeypatch.setattr(widgets.plots, "image_bytes", lambda figure, **_: figure)
    domain = explorer.domain
    for figure in (explorer.twin(), domain.show(domain.data(domain.num_shown, 0).x)):
        words = [text for text in figure.findobj(Text) if text.get_text().strip()]
        assert words and min(text.get_size() for text in words) * widgets.DPI / 72 >= 11


def test_the_atlas_page_shows_the_same_of_samples(explorer, tmp_path):
    domain, path = explorer.domain, tmp_path / "samples.safetensors"
    num_classes = len(domain.classes)
    x = domain.data(num_classes * explorer.n, 0).x
    save_tensors(path, {"x": x[None]}, {})
    for label, (view,) in enumerate(page._pictures(domain.name, path, 0, budget=10**9)):
        ours = explorer._frame(x[label::num_classes], 3.0, label, "").page
        assert re.findall(r'<img [^>]*alt="[^"]*: ([^"]*)\."', ours) == [view.words]
        heard = re.findall(r'<audio controls aria-label="([^"]+)" src="[^,]+,([^"]+)"', ours)
        assert heard == [(w, base64.b64encode(wav).decode()) for w, wav in view.sounds[:4]]
        assert Image.open(io.BytesIO(view.png)).width > 300


def test_the_shipped_weights_are_the_default():
    explorer = ct.explore("mixtures", scales=[0, 3], progress=False)
    x = explorer.domain.sample(
        ct.guided(explorer.domain.pretrained(), 3.0), 0, n=explorer.n, progress=False
    )
    counts = explorer.domain.measure(x, 0).mode_counts
    assert explorer.frames[1].shares == pytest.approx((counts / counts.sum()).tolist(), abs=0.006)


def test_bad_input_is_named():
    message(lambda: ct.explore("image"), "'name' parameter of load", "'images'")
    message(lambda: ct.explore("mixtures", n=20), "'n' parameter of explore", 80, 20)
    message(lambda: ct.explore("mixtures", scales=[1]), "'scales' parameter of explore", [1])
    message(lambda: ct.explore("mixtures", label=2), "'label' parameter of explore", 2)
    message(lambda: ct.predict("Why?", ["a"], "a"), "'choices' parameter of predict", ["a"])
    message(lambda: ct.predict("Why?", ["a", "b"], "c"), "'answer' parameter of predict", "'c'")


def test_the_playground_opens_a_domain_when_it_is_asked_for(monkeypatch):
    asked = []

    def explore(name, progress):
        asked.append(name)
        return HTML(name)

    monkeypatch.setattr(widgets, "explore", explore)
    tabs = widgets.Playground()
    assert asked == ["mixtures"] and list(tabs.titles) == list(DOMAINS)
    tabs.selected_index = 2
    tabs.selected_index = 0
    tabs.selected_index = 2
    assert asked == ["mixtures", "text"]
    assert tabs.children[2].value == "text"


# Predictions.


def test_a_prediction_is_kept_and_then_answered(tmp_path):
    later: dict = {}  # what later cells of a notebook define
    answer = eval("lambda: measured", later)
    asked = ct.predict("More or fewer?", ["more", "fewer"], answer, "It costs.", tmp_path)
    assert asked.keep.disabled and asked.show.disabled, "no answer before a choice"
    asked.choice.value = "more"
    assert not asked.keep.disabled and asked.show.disabled
    asked.keep.click()
    kept = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert kept == {"More or fewer?": "more"} and "more" in asked.said.value
    asked.show.click()
    assert "run the cells below" in asked.said.value
    later["measured"] = "fewer"
    asked.show.click()
    assert "Measured: fewer (you predicted: more). It costs." in asked.said.value
    later["measured"] = "more"
    asked.show.click()
    assert "Measured: more (as you predicted). It costs." in asked.said.value


def test_a_prediction_is_there_again(tmp_path):
    for question, choice in (("A?", "yes"), ("B?", "no")):
        asked = ct.predict(question, ["yes", "no"], "yes", folder=tmp_path)
        asked.choice.value = choice
        asked.keep.click()
    kept = ct.predict("A?", ["yes", "no"], "yes", folder=tmp_path)
    assert kept.choice.value == "yes" and not kept.show.disabled
    again = ct.predict("B?", ["yes", "no"], "yes", folder=tmp_path)
    assert again.choice.value == "no" and not again.show.disabled
    other = ct.predict("B?", ["often", "seldom"], "often", folder=tmp_path)
    assert other.choice.value is None, "the choices have changed"
    (tmp_path / "predictions.json").write_text("{torn", encoding="utf-8")
    assert ct.predict("B?", ["yes", "no"], "yes", folder=tmp_path).choice.value is None


def test_a_prediction_without_a_kernel_is_its_question(tmp_path):
    asked = ct.predict("A?", ["yes", "no"], "no", "Since it is so.", tmp_path)
    bundle = asked._repr_mimebundle_()
    assert bundle["text/markdown"] == "**A?**\n\n- yes\n- no"
    assert "Since" not in json.dumps(bundle)


# Figures under a slider


def two_figures():
    from cfg_tutorial.domains.picture import Picture

    figures = {}
    for sigma in (1.0, 0.5, 0.25):
        figures[f"{sigma:g}"] = Picture(figsize=(1, 1))
        figures[f"{sigma:g}"].subplots().set_title(f"{sigma:g}")
    return figures


def test_frames_show_each_figure_at_its_place():
    widget = ct.frames(two_figures(), name="sigma", start=-1)
    pages = {widget.slider.value: widget.view.value}
    for i in (0, 1):
        widget.place.index = i
        pages[widget.slider.value] = widget.view.value
    assert [*pages] == ["0.25", "1", "0.5"] and len(set(pages.values())) == 3
    for place, shown in pages.items():
        picture = base64.b64encode(widget.pictures[place]).decode()
        assert picture in shown and f'alt="sigma {place}"' in shown
    assert repr(widget) == "Frames: sigma 0.5, of 1, 0.5, 0.25"


def test_frames_leave_a_picture_where_no_kernel_runs():
    widget = ct.frames(two_figures())
    bundle = widget._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == widget.pictures["1"]


def test_frames_are_two_or_more():
    message(lambda: ct.frames({}), "'figures'", "two or more", "0")
    message(lambda: ct.frames(two_figures(), start=3), "'start'", "below 3", "3")
