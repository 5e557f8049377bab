"""The atlas: trains and sweeps the domains, and draws what came out. Knows nothing of guidance."""

import contextlib
import datetime
import html
import io
import math
import multiprocessing
import os
import signal
import string
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from cfg_tutorial import plots, training
from cfg_tutorial.domains import DOMAINS
from cfg_tutorial.measures import t_interval
from cfg_tutorial.sweep import (
    METHODS,
    SCALES,
    cell_key,
    load_once,
    make_cells,
    read_journal,
    reference_cells,
    run_cells,
    samples_path,
    to_table,
    use_line,
)

DRAFT = 250  # samples a scale on the first page, which comes from the shipped weights
LONGEST_FIRST = ["images", "text", "audio", "mixtures"]
ABOUT = {
    "mixtures": "Mixtures: ring layout, heaviest modes of the two classes adjacent",
    "images": "Images: 16 x 16 photographs of garments, two wardrobes",
    "text": "Text: reviews, good or bad, of eight topics; words revealed one by one",
    "audio": "Audio: four-note phrases on recorded instruments, in four styles",
}


def main(args: Any) -> int:
    """Make the atlas in ``args.out``; return the exit status.

    Parameters
    ----------
    args : has out, domains, seeds, samples, workers and quick, as ``cfg-tutorial atlas`` reads them
    """
    begun = time.monotonic()
    domains = args.domains or list(DOMAINS)
    for name in domains:
        load_once(name)
    out = Path(args.out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    n, seeds = args.samples or 1000, range(args.seeds or 3)
    cfg, scales = {"cfg": METHODS["cfg"]}, SCALES
    draft = make_cells(domains, "shipped", cfg, [0], scales, min(n, DRAFT), folder=out)
    trained = make_cells(domains, "trained", cfg, seeds, scales, n, folder=out)
    exact = make_cells(domains, "exact", cfg, seeds, scales, n, folder=out)
    beside = [cell for name in domains for cell in reference_cells(name, scales, n)]
    # The longest work starts first, once the draft is in.
    trained.sort(key=lambda cell: (LONGEST_FIRST.index(cell["domain"]), cell["seed"]))
    cells = draft + beside + exact + ([] if args.quick else trained)
    records: list[dict[str, Any]] = []

    def on_cell(record: dict[str, Any]) -> None:
        records.append(record)
        waiting = sum(r["source"] == "shipped" for r in records) < len(draft)
        if record["source"] == "trained" or (record["source"] == "shipped" and not waiting):
            first = record["source"] == "shipped"
            write_page(out, domains, records, finished=False)
            seconds = time.monotonic() - begun
            what = "first page, from the shipped weights" if first else "page brought up to date"
            print(f"\n{what}: {out / 'index.html'} ({seconds:.0f} s)", file=sys.stderr)

    known = {record["key"]: record for record in read_journal(out / "results.jsonl")}
    keys = [cell_key(cell) for cell in cells]
    records += [known[key] for key in keys if key in known]
    ready = [key in known for key in keys]
    if all(ready[: len(draft)]) and not all(ready):  # an interrupted run goes on
        write_page(out, domains, records, finished=False)
    try:
        with _workers(args.workers or min(2, os.cpu_count() or 1)) as executor:
            done = run_cells(cells, executor, out, on_cell)
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept: the same command goes on from here.")
        return 130
    write_page(out, domains, done, finished=not args.quick)
    print(f"atlas: {(out / 'index.html').resolve()} ({time.monotonic() - begun:.0f} s)")
    return 0


@contextlib.contextmanager
def _workers(number: int) -> Any:
    """Yield an executor of processes with one thread each; an interrupt ends them at once."""
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers inherit it, for torch and for the readers
    lock, lines = context.RLock(), context.Value("i", 0)
    executor = ProcessPoolExecutor(number, context, _start_worker, (lock, lines))
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    executor.shutdown()


def _start_worker(lock: Any, lines: Any) -> None:
    """Set up a worker: one thread, no interrupts of its own, a line of the screen for its bars."""
    from tqdm import tqdm

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    tqdm.set_lock(lock)
    with lines.get_lock():
        lines.value += 1
        use_line(lines.value)


def write_page(
    out: Path, domains: list[str], records: list[dict[str, Any]], finished: bool
) -> None:
    """Write the page, its figures and the table of numbers, from records alone.

    A domain that has trained records shows no shipped ones.
    """
    trained = {record["domain"] for record in records if record["source"] == "trained"}
    records = [r for r in records if not (r["source"] == "shipped" and r["domain"] in trained)]
    table = to_table(records)
    training.write_text(out / "results.csv", table.to_csv(index=False))
    drawn = {name: "trained" if name in trained else "shipped" for name in domains}
    titles = {name: f"{ABOUT.get(name, name)}\n(curve: {drawn[name]} weights)" for name in domains}
    sections = []
    for name, measure, against, words in (
        ("coverage_by_scale", "mode_coverage", "scale", "Mode coverage against guidance scale"),
        ("coverage_by_alignment", "mode_coverage", "alignment", "Mode coverage against alignment"),
        ("modes_by_scale", "effective_modes", "scale", "Effective modes against guidance scale"),
        ("modes_by_alignment", "effective_modes", "alignment", "Effective modes against alignment"),
        ("alignment_by_scale", "alignment", "scale", "Alignment against guidance scale"),
        ("validity_by_scale", "validity", "scale", "Validity against guidance scale"),
    ):
        figure = plots.plot_coverage(table, measure, against, titles)
        sections.append(_figure(out, figure, name, words, drawn))
    for name in domains:
        sections += _domain_figures(out, name, drawn[name], table, records)
    text = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    state = "Finished." if finished else "First page: it is replaced as training goes on."
    page = text.substitute(
        state=state,
        verdicts="".join(f"<li>{html.escape(verdict(table, d))}</li>" for d in domains),
        figures="".join(sections),
        tables="".join(_table(table, d, drawn[d]) for d in domains),
        made=html.escape(
            f"cfg_tutorial {training.version()}, torch {torch.__version__}, "
            f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}, command: make atlas"
        ),
    )
    training.write_text(out / "index.html", page)


def _domain_figures(
    out: Path, name: str, drawn: str, table: Any, records: list[dict[str, Any]]
) -> list[str]:
    import matplotlib.pyplot as plt

    domain = load_once(name)
    title = f"{ABOUT.get(name, name)}; {domain.class_names[0]}"
    figure = plots.plot_modes(table, name, domain.mode_weights, title=title)
    words = f"{name}: share of each mode"
    sections = [_figure(out, figure, f"modes_{name}", words, {name: drawn})]
    record = next(r for r in records if r["domain"] == name and r["source"] == drawn)
    x = training.load_tensors(samples_path(out, record["key"]))[0]["x"]
    rows = []
    for scale, samples in zip(record["scales"], x, strict=True):
        shown = samples[:: len(domain.classes)][: domain.num_shown]
        figure = domain.show(shown)
        file = f"figures/samples_{name}_{scale:g}.png"
        training.write_bytes(out / file, _bytes(figure, "png"))
        plt.close(figure)
        alt = f"{name}, {domain.class_names[0]}: samples at guidance scale {scale:g}"
        rows.append(
            f'<figure class="strip"><img src="{file}" alt="{html.escape(alt)}">'
            f"<figcaption>scale {scale:g}</figcaption></figure>"
        )
    caption = f"{name}: the same noise at each guidance scale, {domain.class_names[0]}"
    source = f"{drawn} weights, seed {record['seed']}"
    return [*sections, f"<h2>{html.escape(caption)} <small>({source})</small></h2>", *rows]


def _figure(out: Path, figure: Any, name: str, words: str, drawn: dict[str, str]) -> str:
    """Save a figure as PNG and SVG and return its place on the page."""
    import matplotlib.pyplot as plt

    for kind in ("png", "svg"):
        training.write_bytes(out / f"figures/{name}.{kind}", _bytes(figure, kind))
    plt.close(figure)
    source = "; ".join(f"{domain}: {source} weights" for domain, source in drawn.items())
    words = html.escape(words)
    return (
        f'<figure><img src="figures/{name}.png" alt="{words}: numbers are in the tables below">'
        f"<figcaption>{words}. {html.escape(source)}. Bands: 95 % t interval over training seeds. "
        f'<a href="figures/{name}.svg">SVG</a></figcaption></figure>'
    )


def _bytes(figure: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110)
    return buffer.getvalue()


def _mean(table: Any, domain: str, source: str, measure: str, scale: float) -> list[float]:
    rows = table[(table.domain == domain) & (table.source == source) & (table.label == "mean")]
    return rows[(rows.measure == measure) & (rows.scale == scale)].value.tolist()


def verdict(table: Any, domain: str) -> str:
    """Return in a sentence what guidance bought and cost in a domain, from the table alone."""
    source = "trained" if "trained" in set(table[table.domain == domain].source) else "shipped"

    def between(measure: str) -> tuple[float, float]:
        low, high = (_mean(table, domain, source, measure, scale) for scale in (1.0, 8.0))
        return fmean(low), fmean(high)

    gain, cost = between("alignment"), between("mode_coverage")
    modes = between("effective_modes")
    said = "bought alignment" if gain[1] > gain[0] + 0.01 else "bought no alignment"
    paid = "cost coverage" if cost[1] < cost[0] - 0.05 else "cost no coverage"
    return (
        f"{domain}: from scale 1 to 8 guidance {said} ({gain[0]:.3f} to {gain[1]:.3f}) and {paid} "
        f"({cost[0]:.2f} to {cost[1]:.2f} of the class's modes, effective modes {modes[0]:.2f} "
        f"to {modes[1]:.2f}). Source: {source} weights."
    )


def _table(table: Any, domain: str, source: str) -> str:
    """Return the numbers behind the figures of a domain as an HTML table."""
    rows = table[(table.domain == domain) & (table.source == source) & (table.label == "mean")]
    names = list(dict.fromkeys(rows.measure))
    head = "".join(f"<th scope=col>{html.escape(name.replace('_', ' '))}</th>" for name in names)
    body = ""
    for scale in sorted(set(rows.scale)):
        cells = ""
        for name in names:
            values = _mean(table, domain, source, name, scale)
            low, high = t_interval(values)
            width = "" if math.isnan(low) else f" &plusmn; {(high - low) / 2:.3f}"
            cells += f"<td>{fmean(values):.3f}{width}</td>"
        body += f"<tr><th scope=row>{scale:g}</th>{cells}</tr>"
    seeds = len(set(rows.seed))
    return (
        f"<h2>{html.escape(domain)}: {source} weights, {seeds} seed{'s' * (seeds > 1)}</h2>"
        f"<div class=wide><table><tr><th scope=col>scale</th>{head}</tr>{body}</table></div>"
    )
