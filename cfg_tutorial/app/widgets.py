"""Guidance under a slider, as widgets: one domain, or all as tabs. Knows no notebook."""

import asyncio
import base64
import functools
import html
import io
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ipywidgets as widgets
from torch import Tensor

from cfg_tutorial import files, plots
from cfg_tutorial.arguments import require
from cfg_tutorial.domains import DOMAINS, Domain, load
from cfg_tutorial.guidance import guided, interval

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
NUMBERS = ("alignment", "mode_coverage", "effective_modes", "validity")
NUM_PLAYERS = 4
SMALL = {"style": {"description_width": "9em"}, "layout": {"width": "19em"}}
DPI = 110  # so that the words of a picture, of 7.5 points or more, are 11 pixels high or more
PAGE_WIDE, SHARES_WIDE, SHARES_HIGH, HEAD_HIGH = 920, 480, 330, 44  # pixels, of the static twin
NARROW, WRAPPED = {"width": "6em"}, {"flex_flow": "row wrap"}


class Frame(NamedTuple):
    """What is shown at one scale: a page, a sentence for those who do not see it, the samples."""

    page: str
    words: str
    picture: bytes
    shares: list[float]


class Explorer(widgets.VBox):
    """A slider over the samples of a guided model, see ``explore``."""

    def __init__(
        self,
        domain: Domain,
        model: Any,
        scales: Sequence[float],
        n: int,
        seed: int,
        label: int,
        method: Any = guided,
    ):
        self.domain, self.model, self.scales, self.n = domain, model, tuple(scales), n
        self.method = method
        self.frames: list[Frame] = []
        self.task: asyncio.Task | None = None  # the sampling that goes on
        self.playing: asyncio.Task | None = None
        start = min(range(len(scales)), key=lambda i: abs(self.scales[i] - 3))
        places = [(f"{scale:g}", scale) for scale in self.scales]
        self.slider = widgets.SelectionSlider(options=places, index=start, readout=False)
        # ipywidgets gives the slider's handle no name: this says the scale to a screen reader.
        self.scale = widgets.Dropdown(
            options=places, index=start, description="guidance_scale", **SMALL
        )
        widgets.link((self.slider, "index"), (self.scale, "index"))
        self.play = widgets.ToggleButton(
            description="Play", icon="play", tooltip="go through all scales", layout=NARROW
        )
        self.label = widgets.Dropdown(
            options=[(name, c) for c, name in enumerate(domain.class_names)],
            index=label,
            description="class",
            **SMALL,
        )
        self.seed = widgets.BoundedIntText(seed, min=0, max=2**31 - 1, description="seed", **SMALL)
        self.steps = widgets.BoundedIntText(
            domain.num_steps, min=1, max=10 * domain.num_steps, description="num_steps", **SMALL
        )
        levels = [(f"{v:.3g}", v) for v in sorted(domain.diffusion.levels(8).tolist())]
        self.lo = widgets.Dropdown(
            options=levels[:-1], index=0, description="guided above", **SMALL
        )
        self.hi = widgets.Dropdown(
            options=levels[1:], index=len(levels) - 2, description="guided up to", **SMALL
        )
        self.bar = widgets.IntProgress(description="sampling", **SMALL)
        self.stop = widgets.Button(description="Stop", tooltip="keep the pictures", layout=NARROW)
        self.busy = widgets.HBox([self.bar, self.stop])
        self.busy.layout.visibility = "hidden"
        self.view, self.said = widgets.HTML(), widgets.HTML()
        for control in (self.label, self.seed, self.steps, self.lo, self.hi):
            control.observe(self._change, "value")
        self.slider.observe(lambda _: self.draw(), "index")
        self.play.observe(self._play, "value")
        self.stop.on_click(lambda _: self.task and self.task.cancel())
        super().__init__(
            [
                widgets.HBox([self.scale, self.slider, self.play], layout=WRAPPED),
                self.said,
                self.view,
                widgets.HBox([self.label, self.lo, self.hi], layout=WRAPPED),
                widgets.HBox([self.seed, self.steps, self.busy], layout=WRAPPED),
            ]
        )

    def draw(self) -> None:
        """Show the frame of the slider's scale: nothing is computed."""
        frame = self.frames[self.slider.index]
        self.view.value = frame.page
        self.said.value = f'<div role="status"><b>{html.escape(frame.words)}</b></div>'

    def work(self) -> Iterator[None]:
        """Draw samples of all scales from the same noise, then one frame per scale; yield often.

        Raises
        ------
        ValueError : levels in the wrong order
        """
        label, lo, hi = self.label.value, self.lo.value, self.hi.value
        method = self.method
        where = f"{self.steps.value} steps, seed {self.seed.value}"
        if method is not guided:
            where += f", method {getattr(method, '__name__', 'of your own')}"
        if (lo, hi) != (self.lo.options[0][1], self.hi.options[-1][1]):
            require(lo < hi, "explore", "lo, hi", "0 <= lo < hi", f"{lo}, {hi}")
            method = functools.partial(_windowed, self.method, lo, hi)
            where += f", guided at levels {lo:.3g} to {hi:.3g} only"
        how = {"num_steps": self.steps.value, "seed": self.seed.value, "method": method}
        states, total = self.domain.states_at_scales(self.model, self.scales, self.n, label, **how)
        self.bar.max = total + len(self.scales)
        for state in states:
            x = state
            yield
        frames = []
        for value, part in zip(self.scales, x, strict=True):
            frames.append(self._frame(part, value, label, where))
            yield
        self.frames = frames
        self.draw()

    def _frame(self, x: Tensor, scale: float, label: int, where: str) -> Frame:
        domain, found = self.domain, self.domain.measure(x, label)
        view = plots.view(domain, x, NUM_PLAYERS, dpi=DPI)
        num = min(len(x), domain.num_shown)
        what = f"{num} samples of {domain.class_names[label]} at guidance_scale {scale:g}"
        counts = found.mode_counts / found.mode_counts.sum().clamp(min=1)
        shares = counts.flatten().tolist()
        numbers = ", ".join(
            f"{name.replace('_', ' ')} {getattr(found, name):.2f}" for name in NUMBERS
        )
        words = f"guidance_scale {scale:g}: {numbers}."
        bars = _bars(domain, shares, label, self.n)
        page = _page(view, f"{what}: {view.words}.", f"{what}; {where}.", bars)
        return Frame(page, words, view.png, shares)

    def _change(self, _: Any) -> None:
        """Begin anew; what was begun before is given up."""
        if self.task:
            self.task.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel that could go on listening meanwhile
            for _step in self.work():
                pass
        else:
            self.task = loop.create_task(self._run())

    def _play(self, _: Any) -> None:
        """Go from scale to scale, from the first again where it stands at the last."""

        async def go() -> None:
            if self.slider.index == len(self.scales) - 1:
                self.slider.index = 0
            while self.slider.index < len(self.scales) - 1:
                await asyncio.sleep(0.8)
                self.slider.index += 1
            self.play.value = False

        if self.playing:
            self.playing.cancel()
        if self.play.value:
            self.playing = asyncio.get_running_loop().create_task(go())

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0.1)  # a parameter that is still being moved costs nothing
            self.busy.layout.visibility = "visible"
            for done, _ in enumerate(self.work()):
                self.bar.value = done
                await asyncio.sleep(0.01)  # so that the kernel hears the slider, and Stop
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self.said.value = f'<div role="alert">{html.escape(text)}</div>'
        finally:
            if self.task is asyncio.current_task():
                self.busy.layout.visibility = "hidden"

    def __repr__(self) -> str:
        return f"Explorer of {self.domain.name}; {self.frames[self.slider.index].words}"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Add a picture, for where no kernel runs."""
        bundle = super()._repr_mimebundle_(**options)
        bundle["image/png"] = base64.b64encode(self.twin()).decode()
        return bundle

    def twin(self) -> bytes:
        """Return the frame as a picture that needs no kernel: samples, and shares of modes.

        The samples keep their pixels, so that their words do; the shares stand beside them or,
        where that would be wider than a page, below.
        """
        from matplotlib.image import imread

        from cfg_tutorial.domains.picture import Picture, plain

        frame = self.frames[self.slider.index]
        own = self.domain.mode_weights[self.label.value].tolist()
        samples = imread(io.BytesIO(frame.picture))
        high, wide = samples.shape[:2]
        beside = wide + SHARES_WIDE <= PAGE_WIDE
        whole = wide + SHARES_WIDE if beside else max(wide, SHARES_WIDE)
        shares_high = max(high, SHARES_HIGH) if beside else SHARES_HIGH
        total = HEAD_HIGH + (shares_high if beside else high + shares_high)
        figure = Picture(figsize=(whole / DPI, total / DPI), dpi=DPI)
        figure.figimage(samples, 0, total - HEAD_HIGH - high)
        longest = max(map(len, self.domain.mode_names))
        left, low = (wide if beside else 0) + 70, 34 + 6 * min(20, longest)
        up = shares_high - low - 20
        right = figure.add_axes(
            (left / whole, low / total, (whole - left - 10) / whole, up / total)
        )
        colours = [self.domain.colour(k) for k in range(len(own))]
        plots.draw_shares(right, self.domain.mode_names, frame.shares, own, colours, size=8)
        right.set_ylabel("share of samples", fontsize=9)
        right.tick_params(axis="y", labelsize=8)
        right.legend(fontsize=8, frameon=False)
        who = f"{self.domain.class_names[self.label.value]}, {self.n} samples,"
        at, _, numbers = frame.words.partition(": ")
        heading = plain(f"{who} {at}\n{numbers[:-1]}")
        figure.text(0.5, 1 - 6 / total, heading, fontsize=9, ha="center", va="top")
        return plots.image_bytes(figure, dpi=DPI)


def _windowed(method: Any, lo: float, hi: float, model: Any, scales: Any) -> Any:
    return method(model, interval(scales, lo=lo, hi=hi))


def explore(
    domain: str | Domain,
    model: Any = None,
    *,
    method: Any = guided,
    scales: Sequence[float] = SCALES,
    n: int | None = None,
    seed: int = 0,
    label: int = 0,
    progress: bool = True,
) -> Explorer:
    """Return a widget: samples, shares of modes and measures of a guided model under a slider.

    All scales are sampled from the same noise when it opens, so that moving the slider only
    redraws. Class, seed, steps and guided levels sample anew, and give up what they overtake.

    Parameters
    ----------
    domain : name, or Domain
    model : callable (x, level, label), the domain's shipped weights unless given
    method : (model, guidance_scale) -> model, see ``method``; the scale may be a schedule
    scales : the slider's places, at least two
    n : samples per scale, at least 10 per mode

    Raises
    ------
    ValueError : a scale too few, or fewer samples than the measures need
    """
    domain = load(domain) if isinstance(domain, str) else domain
    needed = domain.samples_needed
    n = max(domain.num_shown, needed) if n is None else n
    require(n >= needed, "explore", "n", f"an int >= {needed} (10 per mode)", n)
    require(len(scales) > 1, "explore", "scales", "two numbers or more", scales)
    expected = "a function (model, guidance_scale) -> model"
    require(callable(method), "explore", "method", expected, repr(method))
    expected = f"a class, 0 to {len(domain.classes) - 1}"
    require(label in domain.classes, "explore", "label", expected, repr(label))
    try:
        model = domain.pretrained() if model is None else model
    except FileNotFoundError:
        expected = "given for a domain without shipped weights: domain.exact(), or domain.train()"
        require(False, "explore", "model", expected, None)
    explorer = Explorer(domain, model, scales, n, seed, label, method)
    total = explorer.steps.value + len(scales)
    desc = f"{domain.name}, all scales"
    look = {"delay": 2, "leave": False, "file": sys.stdout}  # a notebook paints stderr red
    with files.progress_bar(None, total, desc, progress, **look) as bar:
        for _ in explorer.work():
            bar.update()
    return explorer


def _page(view: plots.View, words: str, caption: str, bars: str) -> str:
    source = plots.data_uri("image/png", view.png)
    image = f'<img src="{source}" alt="{html.escape(words)}" style="max-width:100%">'
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start">'
        f'<figure style="margin:0;max-width:48em">{image}{_players(view.sounds)}'
        f'<figcaption style="line-height:1.4">{html.escape(caption)}</figcaption></figure>'
        f'<div style="line-height:1.4">{bars}</div></div>'
    )


def _bars(domain: Domain, shares: Sequence[float], label: int, n: int) -> str:
    """Return a table of shares with bars; a line in each marks the class's own weight."""
    own = domain.mode_weights[label].tolist()
    most = max(*shares, *own)
    rows = []
    for k, (name, share, weight) in enumerate(zip(domain.mode_names, shares, own, strict=True)):
        bar = (
            '<td aria-hidden="true" style="width:12em;position:relative">'
            f'<div style="width:{100 * share / most:.1f}%;height:.9em;'
            f'background:{domain.colour(k)}"></div>'
            f'<div style="position:absolute;top:0;bottom:0;left:{100 * weight / most:.1f}%;'
            'border-left:2px solid currentColor"></div></td>'
        )
        title = f'<th scope="row" style="text-align:right;padding-right:.5em">{html.escape(name)}'
        numbers = f"<td>{share:.2f}</td><td>{weight:.2f}</td>"
        rows.append(f"<tr>{title}</th>{bar}{numbers}</tr>")
    return (
        '<table style="border-collapse:separate;border-spacing:6px 2px"><caption style="text-align:'
        f"left\">share of each mode in {n} samples; the line is the class's own weight</caption>"
        '<thead><tr><th scope="col">mode</th><td></td><th scope="col">here</th>'
        f'<th scope="col">own</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _players(sounds: Sequence[tuple[str, bytes]]) -> str:
    return "".join(
        f'<div><label>{html.escape(name)} <audio controls aria-label="{html.escape(name)}" '
        f'src="{plots.data_uri("audio/wav", sound)}" '
        'style="height:2em;vertical-align:middle"></audio></label></div>'
        for name, sound in sounds
    )


class Playground(widgets.Tab):
    """All domains' explorers as tabs; each begins when it is first opened."""

    def __init__(self, names: Sequence[str] = tuple(DOMAINS)):
        self.names, self.explorers = tuple(names), dict[str, Explorer]()
        super().__init__([widgets.HTML("sampling ...") for _ in names], titles=self.names)
        self.observe(lambda _: self._open_tab(), "selected_index")
        self.selected_index = 0
        self._open_tab()

    def _open_tab(self) -> None:
        """Put the explorer of the selected tab in its place, if it is not there yet."""
        name = self.names[self.selected_index]
        if name not in self.explorers:
            self.explorers[name] = explore(name, progress=False)
            waiting = self.children  # type: ignore[has-type]
            self.children = [
                self.explorers.get(n, w) for n, w in zip(self.names, waiting, strict=True)
            ]

    def __repr__(self) -> str:
        return f"Playground of {', '.join(self.names)}"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Add a picture of the open tab, for where no kernel runs."""
        bundle = super()._repr_mimebundle_(**options)
        twin = self.explorers[self.names[self.selected_index or 0]].twin()
        return bundle | {"image/png": base64.b64encode(twin).decode()}
