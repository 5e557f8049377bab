"""Figures: draws what it is given and returns what it drew. Knows nothing of models."""

import base64
import inspect
import io
import math
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cfg_tutorial.measures import t_interval

# Colours that the colour-blind tell apart (Okabe and Ito 2008); a source keeps its colour anywhere.
STYLES: dict[str, dict[str, Any]] = {
    "trained": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "shipped": {"color": "#56B4E9", "linestyle": "-", "marker": "s"},
    "exact": {"color": "#000000", "linestyle": "--", "marker": "^"},
    "equation": {"color": "#009E73", "linestyle": (0, (1, 1)), "marker": "x"},
    "tilted": {"color": "#D55E00", "linestyle": "-.", "marker": "v"},
    "tilted_whole": {"color": "#CC79A7", "linestyle": "-.", "marker": "<"},
}
# Of models and methods of one's own, in turn; no mode, source or data set has one of them.
OWN = [("#785EF0", "P"), ("#AA3377", "X"), ("#117733", "D"), ("#6A3D00", "p"), ("#4477AA", "h")]
NAMES = {
    "trained": "trained here",
    "shipped": "shipped weights",
    "exact": "exact model, sampled",
    "equation": "exact equation",
    "tilted": "tilted law of modes (not what is sampled)",
    "tilted_whole": "tilted law of whole samples",
}
BESIDE = ("real", "perfect")  # sources that are no curve
LABELS = {
    "mode_coverage": "mode coverage (share of the class's modes)",
    "effective_modes": "effective modes (number)",
    "captured_mass": "captured mass (share of the class's law)",
    "alignment": "alignment, mean p(class | mode)",
    "validity": "validity (share of samples)",
    "accuracy": "accuracy (share of valid samples)",
    "spread": "within-mode spread (1 = real data)",
    "kernel_distance": "kernel distance (squared MMD)",
    "saturation": "saturation (share of pixels at a limit)",
    "scale": "guidance_scale (0 none, 1 conditional)",
}


def styles(sources: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return how each source is drawn: as in STYLES, or, one of one's own, in a look of OWN."""
    present = list(dict.fromkeys(sources))
    own = [name for name in present if name not in STYLES and name not in BESIDE]
    looks = {name: OWN[i % len(OWN)] for i, name in enumerate(own)}
    known = {name: STYLES[name] for name in STYLES if name in present}
    more = {n: {"color": c, "linestyle": "-", "marker": m} for n, (c, m) in looks.items()}
    return known | more


class Source(str):
    """Source code that a notebook shows as code."""

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```"


def source(thing: Any) -> Source:
    """Return the package's own code of a function or class, to be read in a notebook."""
    return Source(textwrap.dedent(inspect.getsource(thing)).rstrip())


def image_bytes(figure: Any, kind: str = "png", dpi: int = 110) -> bytes:
    """Return a figure as a file of a kind, "png" or "svg"; pyplot forgets one that it knows."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi)
    if pyplot := sys.modules.get("matplotlib.pyplot"):  # a domain of one's own may draw with it
        pyplot.close(figure)
    return buffer.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """Return a file as an address that holds it; kind such as "image/png"."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


class View(NamedTuple):
    """What is shown of samples, anywhere: a picture, what is on it in words, what is heard."""

    png: bytes
    words: str  # "3 mode 0, 1 invalid"
    sounds: list[tuple[str, bytes]]  # names of modes, each with a WAV file


def view(domain: Any, x: Any, num_sounds: int, dpi: int = 110) -> View:
    """Return what is shown of a domain's samples x (n, *shape): of the first that make a picture.

    Parameters
    ----------
    num_sounds : of how many samples a sound is made, where they make one
    """
    shown = x[: domain.num_shown]
    read = domain.read_modes(shown)
    words = ", ".join(f"{count} {mode}" for mode, count in Counter(read).most_common())
    sounds = zip(read, domain.sounds(shown[:num_sounds]), strict=False)
    return View(image_bytes(domain.show(shown), dpi=dpi), words, list(sounds))


def draw_shares(
    ax: Any,
    modes: Sequence[str],
    shares: Any,
    own: Any,
    colours: Any,
    name: str | None = None,
    size: float = 7,
) -> None:
    """Draw the share of each mode as a bar, and the class's own law as the bars' outlines.

    Parameters
    ----------
    shares, own : one number per mode
    colours : one, or one per mode
    name : what the legend calls the bars
    size : of the modes' names, in points
    """
    from cfg_tutorial.domains.picture import plain

    places = range(len(modes))
    ax.bar(places, shares, color=colours, label=name)
    outline = {"fill": False, "edgecolor": "#333333", "linewidth": 1}
    ax.bar(places, own, label="the class's own law", **outline)
    turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor", "fontsize": size}
    ax.set_xticks(places, [*map(plain, modes)], **turned)


def plot_coverage(
    table: Any,
    measure: str = "mode_coverage",
    against: str = "scale",
    titles: Mapping[str, str] | None = None,
) -> Any:
    """Return a figure of a measure against the guidance scale, or against another measure.

    Each training seed is a thin line, their mean a thick one, the band its 95 % t interval. Beside
    them, where the table has them: the exact model's curve, the exact equation's, the tilted law,
    the band of a perfect sampler of the class and the value of fresh real data. Models of one's
    own, and every method but the first, have a colour and a marker of their own.

    Parameters
    ----------
    table : pandas.DataFrame of ``sweep``, with references or without
    measure : what is on the y axis: "mode_coverage", "effective_modes", ...
    against : "scale", or a measure such as "alignment"; points are then labelled by their scale
    titles : domain to the words above its panel

    Raises
    ------
    ValueError : the table has no such measure
    """
    from cfg_tutorial.domains.picture import Picture, plain

    means = table[table.label == "mean"]
    for name, wanted in (("measure", measure), ("against", against)):
        if wanted != "scale" and wanted not in set(means.measure):
            raise ValueError(
                f"The '{name}' parameter of plot_coverage must be one of "
                f"{sorted(set(means.measure))}. Got {wanted!r} instead."
            )
    domains, drawn_as = list(dict.fromkeys(means.domain)), styles(means.source)
    several = [m for m in dict.fromkeys(means.method) if m != "none"][1:]
    free = OWN[sum(name not in STYLES for name in drawn_as) :] + OWN
    looks = {m: dict(zip(("color", "marker"), look)) for m, look in zip(several, free * 9)}  # noqa: B905
    figure = Picture(figsize=(5.2 * len(domains), 4), layout="constrained")
    axes = figure.subplots(1, len(domains), squeeze=False)
    for ax, domain in zip(axes[0], domains, strict=True):
        panel = means[means.domain == domain]
        _draw_references(ax, panel, measure, against)
        methods = [m for m in dict.fromkeys(panel.method) if m != "none"]
        present = [name for name in drawn_as if name in set(panel.source)]
        for source_name in present:
            ours = panel[panel.source == source_name]
            for method in dict.fromkeys(ours.method):
                one, style = ours[ours.method == method], drawn_as[source_name]
                style = {**style, **looks.get(method, {})}
                name = NAMES.get(source_name, plain(source_name))
                if method != "none" and len(methods) > 1:
                    name += f", {plain(method)}"
                _draw_curve(ax, one, measure, against, style, name)
                if against != "scale" and source_name == present[0]:
                    _label_scales(ax, one, measure, against, style["color"])
        ax.set_title(plain((titles or {}).get(domain, domain)), fontsize=9)
        ax.set(xlabel=LABELS.get(against, against), ylabel=LABELS.get(measure, measure))
        ax.grid(alpha=0.25)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=7, framealpha=0.85, edgecolor="none")  # a line may run behind it
    return figure


def _draw_curve(
    ax: Any, table: Any, measure: str, against: str, style: dict[str, Any], name: str
) -> None:
    y = _by_seed(table, measure)
    if y.empty:
        return
    x = y * 0 + y.index.to_numpy()[:, None]
    if against != "scale":
        x, y = _by_seed(table, against).align(y, join="inner")
    many = y.shape[1] > 1
    if many:
        for seed in y:
            ax.plot(x[seed], y[seed], color=style["color"], linewidth=0.6, alpha=0.5, label="_seed")
        if against == "scale":
            ends = [t_interval(row) for row in y.to_numpy()]
            low, high = zip(*ends, strict=True)
            ax.fill_between(
                y.index, low, high, color=style["color"], alpha=0.15, linewidth=0, label="_band"
            )
    label = f"{name} ({y.shape[1]} seeds)" if many else name
    ax.plot(x.mean(axis=1), y.mean(axis=1), label=label, linewidth=1.8, markersize=4, **style)


def _by_seed(table: Any, measure: str) -> Any:
    """Return a measure as a frame, one row per scale and one column per seed."""
    rows = table[table.measure == measure]
    return rows.pivot_table(index="scale", columns="seed", values="value")


def _label_scales(ax: Any, table: Any, measure: str, against: str, colour: str) -> None:
    x, y = _by_seed(table, against).mean(axis=1), _by_seed(table, measure).mean(axis=1)
    for scale in y.index.intersection(x.index):
        at = (x[scale], y[scale])
        ax.annotate(f"{scale:g}", at, (4, 4), textcoords="offset points", fontsize=7, color=colour)


def _draw_references(ax: Any, panel: Any, measure: str, against: str) -> None:
    def value(source_name: str, name: str) -> float:
        rows = panel[(panel.source == source_name) & (panel.measure == name)]
        return rows.value.iloc[0] if len(rows) else math.nan

    low, high = value("perfect", f"{measure}_low"), value("perfect", f"{measure}_high")
    if not math.isnan(low):
        reach = max(high, low + 0.004)
        ax.axhspan(
            low, reach, color="#CCBB44", alpha=0.3, linewidth=0, label="perfect sampler, 95 %"
        )
    real = value("real", measure)
    if not math.isnan(real) and against == "scale":
        ax.axhline(real, color="#555555", linewidth=0.8, linestyle=":", label="fresh real data")
    elif not math.isnan(real):
        x = value("real", against)
        ax.plot([x], [real], "*", color="#555555", markersize=9, label="fresh real data")
    classes = panel[panel.measure == "alignment"]
    prior = classes[(classes.scale == 0) & ~classes.source.isin(["tilted", "tilted_whole"])].value
    if against == "alignment" and len(prior):
        ax.axvline(prior.mean(), color="#555555", linewidth=0.6, label="alignment at scale 0")
    if measure == "mode_coverage":
        ax.set_ylim(0, 1.06)


def plot_modes(
    table: Any,
    domain: str,
    mode_weights: Any,
    scales: Sequence[float] = (1.0, 3.0, 8.0),
    label: int = 0,
    title: str = "",
) -> Any:
    """Return a figure of the share of each mode in samples of one class, a panel a scale.

    Bars are the mean over seeds with the seeds as dots; the class's own law is an outline, other
    sources are marks.

    Parameters
    ----------
    mode_weights : (num_classes, num_modes), the domain's
    """
    from cfg_tutorial.domains.picture import Picture, plain

    own = table[
        (table.domain == domain) & (table.measure == "mode_share") & (table.label == str(label))
    ]
    modes = list(dict.fromkeys(own["mode"]))
    drawn_as = styles(own.source)
    ours_first = ["trained", "shipped", "exact", *(s for s in drawn_as if s not in STYLES)]
    drawn = next(s for s in ours_first if s in drawn_as)
    figure = Picture(figsize=(3.6 * len(scales), 3.4), layout="constrained")
    axes = figure.subplots(1, len(scales), sharey=True, squeeze=False)
    for ax, scale in zip(axes[0], scales, strict=True):
        at = own[own.scale == scale]

        def shares(source_name: str, at: Any = at) -> Any:
            rows = at[at.source == source_name]
            rows = rows[rows.method.isin(["none", "cfg"])]
            return rows.pivot_table(index="mode", columns="seed", values="value").reindex(modes)

        ours = shares(drawn)
        colour = drawn_as[drawn]["color"]
        law = [float(w) for w in mode_weights[label]]
        draw_shares(
            ax, modes, ours.mean(axis=1), law, (colour, 0.6), NAMES.get(drawn, plain(drawn))
        )
        ax.plot(ours.to_numpy(), ".", color=colour, markersize=4, label="_seed")
        for other in drawn_as:
            if other not in (drawn, "trained", "shipped") and other in set(at.source):
                look = {**drawn_as[other], "linestyle": "none", "markersize": 5}
                name = NAMES.get(other, plain(other))
                ax.plot(shares(other).mean(axis=1).to_numpy(), label=name, **look)
        ax.set_title(f"guidance_scale {scale:g}", fontsize=9)
    axes[0][0].set_ylabel("share of the class's samples")
    named = axes[0][-1].get_legend_handles_labels()
    figure.legend(*named, loc="outside lower center", ncols=len(scales), fontsize=7, frameon=False)
    figure.suptitle(plain(title or domain), fontsize=10)
    return figure
