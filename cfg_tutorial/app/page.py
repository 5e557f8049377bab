"""The atlas page: records to numbers, numbers to one file that needs no other. Runs no model."""

import datetime
import functools
import gzip
import html
import json
import math
import shlex
import string
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from cfg_tutorial import files, plots
from cfg_tutorial.measures import t_interval
from cfg_tutorial.methods import METHODS
from cfg_tutorial.sweep import SOURCES, Record, load_once, samples_path, to_table

ABOUT = {
    "mixtures": "Mixtures: ring layout, heaviest modes of the two classes adjacent",
    "images": "Images: 16 x 16 photographs of garments, two wardrobes",
    "text": "Text: reviews, good or bad, of eight topics; words revealed one by one",
    "audio": "Audio: four-note phrases on recorded instruments, in four styles",
}
FIGURES = (
    ("coverage_by_scale", "mode_coverage", "scale", "Mode coverage against guidance scale"),
    ("coverage_by_alignment", "mode_coverage", "alignment", "Mode coverage against alignment"),
    ("modes_by_scale", "effective_modes", "scale", "Effective modes against guidance scale"),
    ("modes_by_alignment", "effective_modes", "alignment", "Effective modes against alignment"),
    ("alignment_by_scale", "alignment", "scale", "Alignment against guidance scale"),
    ("validity_by_scale", "validity", "scale", "Validity against guidance scale"),
)
SHOWN = ("mode_coverage", "alignment", "validity", "effective_modes")  # under every picture
SOUND_BYTES = 2_500_000  # of a domain, before they are written as text
# The page's script in the order in which its parts are put together: they share one scope.
SCRIPTS = (
    *("state", "markup", "chart", "reading", "curves", "figures", "bars", "sounds", "panels"),
    *("classes", "flow", "plane", "live", "tables", "files", "tour", "start"),
)
DASHES = {"-": "", "--": "6 3", "-.": "7 2 1.5 2"}


def write_page(out: Path, domains: list[str], records: list[Record], finished: bool) -> None:
    """Write the page, the figures as files beside it and the table, from records alone.

    A domain that has trained records shows no shipped ones. ``index.html`` holds all that it
    shows: pictures, sounds, numbers, the table itself.
    """
    trained = {r.domain for r in records if r.source == "trained"}
    records = [r for r in records if not (r.source == "shipped" and r.domain in trained)]
    table = to_table(records)
    csv = table.to_csv(index=False)
    files.write_text(out / "results.csv", csv)
    drawn = {name: _drawn(table, name) for name in domains}
    titles = {name: f"{about(name)}\n(curve: {drawn[name]} weights)" for name in domains}
    for name, measure, against, _ in FIGURES:
        _save(out, plots.plot_coverage(table, measure, against, titles), name)
    for name in domains:
        domain = load_once(name)
        title = f"{about(name)}; {domain.class_names[0]}"
        figure = plots.plot_modes(table, name, domain.mode_weights, title=title)
        _save(out, figure, f"modes_{name}")
    data = page_data(table, domains, drawn)
    for name, part in zip(domains, data["domains"], strict=True):
        part["samples"] = _samples(out, name, drawn[name], records)
    parts = {
        "state": "Finished." if finished else "First page: it is replaced as training goes on.",
        "verdicts": "".join(f"<li>{html.escape(verdict(table, d))}</li>" for d in domains),
        "made": html.escape(_made(records)),
        "csv": plots.data_uri("application/gzip", gzip.compress(csv.encode(), mtime=0)),
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),  # no tag in any name
        "style": _part("page/page.css"),
        "script": "\n".join(_part(f"page/{name}.js") for name in SCRIPTS),
    }
    files.write_text(out / "index.html", string.Template(_part("page/page.html")).substitute(parts))


def _drawn(table: Any, domain: str) -> str:
    """Return the source of a domain's pictures: the first of SOURCES that the table has."""
    present = set(table[table.domain == domain].source)
    return next(source for source in SOURCES if source in present)


def about(name: str) -> str:
    """Return what a domain is in a line: our words, or the first line of its class."""
    said = ABOUT.get(name) or getattr(load_once(name), "said", "")
    return said or (type(load_once(name)).__doc__ or name).split("\n")[0]


def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _made(records: list[Record]) -> str:
    """Return the versions, seeds, date and command in a sentence."""

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(getattr(record, name)) for record in records}))

    seeds = sorted({r.seed for r in records if r.source in ("trained", "shipped")})
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return (
        f"cfg_tutorial {all_of('version')}, torch {all_of('torch')}; seeds of the weights "
        f"{', '.join(map(str, seeds)) or 'none'}; "
        f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}; command: {command}"
    )


def page_data(table: Any, domains: list[str], drawn: dict[str, str]) -> dict[str, Any]:
    """Return every number that the page shows, from the table alone; NaN is None.

    Parameters
    ----------
    table : pandas.DataFrame of ``to_table``
    drawn : domain to the source of its pictures, one of SOURCES
    """
    shown = table[table.domain.isin(domains)]
    scales = sorted(set(shown[shown.source.isin(drawn.values())].scale))
    methods = [m for m in dict.fromkeys(shown.method) if m != "none"]
    return {
        "scales": scales,
        "methods": sorted(methods, key=lambda m: list(METHODS).index(m) if m in METHODS else 99),
        "measures": {name: plots.LABELS.get(name, name) for name in dict.fromkeys(shown.measure)},
        "shown": list(SHOWN),
        "figures": [dict(zip(("id", "measure", "against", "title"), f)) for f in FIGURES],  # noqa: B905
        "sources": {
            name: {
                "name": plots.NAMES[name],
                "colour": style["color"],
                "dash": DASHES.get(str(style["linestyle"]), "1.5 2"),
            }
            for name, style in plots.STYLES.items()
            if name in set(shown.source)
        },
        "domains": [_domain_data(shown[shown.domain == d], d, drawn[d]) for d in domains],
        "live": _live(domains),
    }


def _live(domains: list[str]) -> dict[str, Any] | None:
    """Return the mixture that the page integrates itself."""
    if "mixtures" not in domains:
        return None
    mixture = load_once("mixtures").mixture  # type: ignore[attr-defined]
    return {
        "means": mixture.means.tolist(),
        "variance": mixture.variances[0].item(),
        "weights": mixture.mode_weights.tolist(),
    }


def _domain_data(table: Any, name: str, drawn: str) -> dict[str, Any]:
    domain = load_once(name)
    means, shares = table[table.label == "mean"], table[table.measure == "mode_share"]
    curves, wides = [], {}
    for (source, method), rows in means.groupby(["source", "method"], sort=False):
        if source in plots.STYLES:
            wide = {m: _by_seed(one) for m, one in rows.groupby("measure", sort=False)}
            wides[source, method] = dict(wide)
            if 1.0 in wide["effective_modes"].index:
                modes = wide["effective_modes"]
                wide["relative_modes"] = modes / modes.loc[1.0]
            measures = {m: _series(one) for m, one in wide.items() if len(one)}
            curves.append({"source": source, "method": method, "measures": measures})
    beside = {s: means[means.source == s].set_index("measure").value for s in ("perfect", "real")}
    return {
        "name": name,
        "about": about(name),
        "classes": list(domain.class_names),
        "modes": list(domain.mode_names),
        "law": [[_number(w) for w in row] for row in domain.mode_weights.tolist()],
        "colours": [domain.colour(k) for k in range(domain.num_modes)],
        "drawn": drawn,
        "n": int(table[table.source == drawn].n.max()),
        "curves": curves,
        "perfect": {
            m: [_number(beside["perfect"][f"{m}_{end}"]) for end in ("low", "high")]
            for m in SHOWN
            if f"{m}_low" in beside["perfect"]
        },
        "real": {m: _number(v) for m, v in beside["real"].items()},
        "shares": [
            {
                "source": source,
                "method": method,
                "label": int(label),
                "modes": [
                    _series(_by_seed(rows[rows["mode"] == mode])) for mode in domain.mode_names
                ],
            }
            for (source, method, label), rows in shares.groupby(
                ["source", "method", "label"], sort=False
            )
            if source in plots.STYLES
        ],
        "paired": _paired(wides, drawn),
    }


def _paired(wides: dict[tuple[str, str], Any], drawn: str) -> list[dict[str, Any]]:
    """Return differences within each seed: of a scale from scale 1, of drawn from exact samples."""
    found = []
    for method in (method for source, method in wides if source == drawn):
        for measure in SHOWN:
            ours = wides[drawn, method][measure]
            exact = wides.get(("exact", method), {measure: ours[:0]})[measure]
            pairs = {"scale 1": ours - ours.loc[1.0] if 1.0 in ours.index else ours[:0]}
            both = ours.columns.intersection(exact.columns)
            pairs["exact"] = (ours[both] - exact[both]).dropna(how="all")
            found += [
                {"method": method, "measure": measure, "against": against, **_series(one)}
                for against, one in pairs.items()
                if one.size
            ]
    return found


def _by_seed(rows: Any) -> Any:
    """Return a measure as a frame, one row per scale and one column per seed."""
    return rows.pivot_table(index="scale", columns="seed", values="value")


def _series(wide: Any) -> dict[str, Any]:
    """Return a curve: its scales, each seed's values, their mean and the 95 % t interval."""
    ends = [t_interval(row) for row in wide.to_numpy()]
    return {
        "scale": [float(s) for s in wide.index],
        "seeds": {str(seed): [_number(v) for v in wide[seed]] for seed in wide},
        "mean": [_number(v) for v in wide.mean(axis=1)],
        "low": [_number(low) for low, _ in ends],
        "high": [_number(high) for _, high in ends],
    }


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(f"{value:.8g}")


def _samples(out: Path, name: str, drawn: str, records: list[Record]) -> list[dict[str, Any]]:
    """Return the pictures of the first seed of each method, and write them as files."""
    found = []
    ours = [r for r in records if r.domain == name and r.source == drawn]
    for method in dict.fromkeys(r.method for r in ours):
        record = min((r for r in ours if r.method == method), key=lambda r: r.seed)
        path = samples_path(out, record.key)
        budget = SOUND_BYTES // len({r.method for r in ours})
        for label, pictures in enumerate(_pictures(name, path, path.stat().st_mtime_ns, budget)):
            frames = []
            for scale, (png, words, sounds) in zip(record.scales, pictures, strict=True):
                file = f"samples_{name}_{method}_{label}_{scale:g}.png"
                files.write_bytes(out / "figures" / file, png)
                heard = [{"words": w, "wav": plots.data_uri("audio/wav", s)} for w, s in sounds]
                frame = {"scale": scale, "png": plots.data_uri("image/png", png), "words": words}
                frames.append({**frame, "sounds": heard})
            where = {"method": method, "label": label, "seed": record.seed, "source": drawn}
            found.append({**where, "frames": frames})
    return found


@functools.lru_cache(maxsize=64)  # the page is written again as cells finish, samples stay
def _pictures(name: str, path: Path, changed: int, budget: int) -> list[list[plots.View]]:
    """Return each class's views, one per scale, with no more sounds than the budget has bytes."""
    domain, x = load_once(name), files.load_tensors(path)[0]["x"]
    num_classes = len(domain.classes)

    def view(samples: Any) -> plots.View:
        found = plots.view(domain, samples, num_sounds=8)
        size = max((len(sound) for _, sound in found.sounds), default=1)
        most = max(1, budget // (len(x) * num_classes * size))
        return found._replace(sounds=found.sounds[:most])

    return [[view(samples[label::num_classes]) for samples in x] for label in domain.classes]


def _save(out: Path, figure: Any, name: str) -> None:
    """Save a figure as PNG and SVG."""
    for kind in ("png", "svg"):
        files.write_bytes(out / f"figures/{name}.{kind}", plots.image_bytes(figure, kind))


def verdict(table: Any, domain: str) -> str:
    """Return in a sentence what guidance bought and cost in a domain, from the table alone."""
    source = _drawn(table, domain)
    rows = table[(table.domain == domain) & (table.source == source) & (table.label == "mean")]

    def between(measure: str) -> tuple[float, float]:
        ours = rows[rows.measure == measure]
        low, high = (ours[ours.scale == scale].value.tolist() for scale in (1.0, 8.0))
        return fmean(low), fmean(high)

    gain, cost = between("alignment"), between("mode_coverage")
    modes = between("effective_modes")
    said = "bought alignment" if gain[1] > gain[0] + 0.01 else "bought no alignment"
    bought = f"{domain}: from scale 1 to 8 guidance {said} ({gain[0]:.3f} to {gain[1]:.3f})"
    if math.isnan(sum(gain) + sum(cost)):
        why = "too few samples of a class, or none that is valid"
        return f"{domain}: {why}, to say what guidance bought and cost. Source: {source} weights."
    paid = "cost coverage" if cost[1] < cost[0] - 0.05 else "cost no coverage"
    return (
        f"{bought} and {paid} ({cost[0]:.2f} to {cost[1]:.2f} of the class's modes, effective "
        f"modes {modes[0]:.2f} to {modes[1]:.2f}). Source: {source} weights."
    )
