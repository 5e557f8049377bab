"""Sweeps: domains x methods x scales x seeds, to one table. Knows nothing of how results are drawn.

A cell is all scales of one domain, source, method and seed, drawn from the same noise. A finished
cell is one line of a journal, and a rerun does only what is missing.
"""

import functools
import hashlib
import json
import marshal
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from cfg_tutorial import measures, training
from cfg_tutorial.domains import Domain, load
from cfg_tutorial.guidance import guided, interval

SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
MEASURES = (
    "validity",
    "alignment",
    "mode_coverage",
    "captured_mass",
    "effective_modes",
    "spread",
    "kernel_distance",
)


def _interval(model: Any, scale: Any) -> Any:
    return guided(model, interval(scale, lo=0.2, hi=1.6))


METHODS: dict[str, Callable[[Any, Any], Any]] = {"cfg": guided, "interval": _interval}
SOURCES = ("trained", "shipped", "exact")
REFERENCES = ("tilted", "tilted_whole", "equation", "real", "perfect")
_progress_line: bool | int = False  # where this process draws its bars; see use_line

load_once = functools.lru_cache(maxsize=None)(load)


def sweep(
    domains: Sequence[str | Domain],
    scales: Sequence[float] = SCALES,
    methods: Sequence[str] | Mapping[str, Callable[[Any, Any], Any]] = ("cfg",),
    seeds: Iterable[int] = range(3),
    executor: Executor | None = None,
    *,
    source: str = "trained",
    references: bool = False,
    n: int = 1000,
    num_steps: int | None = None,
    folder: str | Path | None = None,
    on_cell: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = True,
) -> Any:
    """Return what samples measure, for all domains, methods, scales and seeds.

    Parameters
    ----------
    domains : names, or Domain objects
    methods : names ("cfg", "interval"), or {name: f(model, scale) -> model}
    seeds : training seeds; the noise that samples start from has the same seed at every scale
    executor : any concurrent.futures executor, to run cells in parallel
    source : "trained" (trained here, or kept from before), "shipped" or "exact"
    references : add what stands beside the curves, see ``reference``; their seed is -1
    n : samples a scale, shared out evenly to the classes
    folder : keeps results.jsonl, one line a finished cell, and the first samples of each cell;
        cells found there are not run again
    on_cell : called with each finished cell's record, from this process

    Returns
    -------
    pandas.DataFrame, one row a number: see ``to_table``

    Raises
    ------
    ValueError : an unknown domain, method or source; no scales, seeds or samples
    """
    named = dict(methods) if isinstance(methods, Mapping) else {m: METHODS.get(m) for m in methods}
    unknown = [name for name, function in named.items() if function is None]
    scales, seeds = [float(s) for s in scales], list(seeds)
    if unknown or not named:
        raise ValueError(
            f"The 'methods' parameter of sweep must be of {sorted(METHODS)} or functions. "
            f"Got {list(named)} instead."
        )
    if source not in SOURCES:
        raise ValueError(
            f"The 'source' parameter of sweep must be one of {SOURCES}. Got {source!r} instead."
        )
    if not (scales and seeds and n >= 1 and all(map(math.isfinite, scales))):
        raise ValueError(
            "The 'scales', 'seeds' and 'n' parameters of sweep must be finite, not empty and >= 1. "
            f"Got {scales}, {seeds}, {n} instead."
        )
    cells = make_cells(domains, source, named, seeds, scales, n, num_steps, folder)
    if references:
        for domain in domains:
            cells += reference_cells(domain, scales, n)
    return to_table(run_cells(cells, executor, folder, on_cell, progress))


def make_cells(
    domains: Sequence[str | Domain],
    source: str,
    methods: Mapping[str, Callable[[Any, Any], Any] | None],
    seeds: Iterable[int],
    scales: Sequence[float],
    n: int,
    num_steps: int | None = None,
    folder: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Return what ``run_cell`` needs to know of each cell, seed by seed."""
    return [
        {
            "domain": domain,
            "source": source,
            "method": method,
            "function": None if function is METHODS.get(method) else function,
            "seed": seed,
            "scales": list(scales),
            "n": n,
            "num_steps": num_steps,
            "folder": str(folder) if folder else None,
        }
        for seed in seeds
        for domain in domains
        for method, function in methods.items()
    ]


def reference_cells(domain: str | Domain, scales: Sequence[float], n: int) -> list[dict[str, Any]]:
    """Return the cells of a domain's references: those of REFERENCES that it has."""
    known = load_once(domain) if isinstance(domain, str) else domain
    lacks = {"equation": not known.exact_law, "tilted_whole": not known.whole_law}
    has = [name for name in REFERENCES if not lacks.get(name)]
    return [
        cell
        for source in has
        for cell in make_cells([domain], source, {"none": None}, [-1], scales, n)
    ]


def run_cells(
    cells: list[dict[str, Any]],
    executor: Executor | None = None,
    folder: str | Path | None = None,
    on_cell: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Return the record of each cell, in order; run those that the journal in ``folder`` lacks."""
    journal = Path(folder) / "results.jsonl" if folder else None
    done = {record["key"]: record for record in read_journal(journal)} if journal else {}
    keys = [cell_key(cell) for cell in cells]
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in done}
    initial = len(cells) - len(missing)
    with training.progress_bar(
        None, len(cells), "cells", progress and bool(missing), initial=initial
    ) as bar:

        def finish(record: dict[str, Any]) -> None:
            done[record["key"]] = record
            if journal:
                _append(journal, record)
            bar.update()
            if on_cell:
                on_cell(record)

        if executor is None:
            for key, cell in missing.items():
                finish(run_cell(cell, key, progress=1 if progress else False))
        else:
            futures = [executor.submit(run_cell, cell, key) for key, cell in missing.items()]
            try:
                for future in as_completed(futures):
                    finish(future.result())
            finally:
                for future in futures:
                    future.cancel()
    return [done[key] for key in keys]


def _domain(cell: dict[str, Any]) -> Domain:
    domain = cell["domain"]
    return load_once(domain) if isinstance(domain, str) else domain


def cell_key(cell: dict[str, Any]) -> str:
    """Return the name of everything that makes a cell's result."""
    domain = _domain(cell)
    made_by = {
        name: cell[name] for name in ("source", "method", "seed", "scales", "n", "num_steps")
    }
    made_by |= {"config": domain.config(), "version": training.version()}
    if cell["source"] == "trained":
        made_by["recipe"] = domain.recipe
    if cell["function"] is not None:  # a function of one's own is known by its code
        made_by["function"] = _code(cell["function"])
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]


def _code(function: Any) -> str:
    """Return what a function does as text: its code and the values that it closes over."""
    if not hasattr(function, "__code__"):
        return repr(function)
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    return f"{marshal.dumps(function.__code__).hex()} {closed} {function.__defaults__}"


def use_line(line: int) -> None:
    """Let cells that this process runs draw their bars on a line of the screen."""
    global _progress_line
    _progress_line = line


def run_cell(
    cell: dict[str, Any], key: str = "", progress: bool | int | None = None
) -> dict[str, Any]:
    """Return the record of one cell: all its scales, drawn in one call from the same noise."""
    progress = _progress_line if progress is None else progress
    domain, seed, scales, n = _domain(cell), cell["seed"], cell["scales"], cell["n"]
    shared = {
        "key": key,
        "domain": domain.name,
        "source": cell["source"],
        "method": cell["method"],
        "seed": seed,
        "n": n,
        "num_steps": cell["num_steps"] or domain.num_steps,
        "mode_names": domain.mode_names,
        "version": training.version(),
        "torch": torch.__version__,
    }
    if cell["source"] in REFERENCES:
        return shared | reference(domain, cell["source"], scales, n)
    begun = time.perf_counter()
    if cell["source"] == "trained":
        model = domain.train(seed, progress=progress)
    else:
        model = domain.exact() if cell["source"] == "exact" else domain.pretrained()
    ready = time.perf_counter()
    run_before: Any = getattr(model, "rows_run", 0)  # by training
    method = cell["function"] or METHODS[cell["method"]]
    label = (torch.arange(n) % len(domain.classes)).repeat(len(scales))
    rows = torch.arange(n).repeat(len(scales))
    scale = torch.tensor(scales).repeat_interleave(n)
    x = domain.sample(
        method(model, scale),
        label,
        seed=seed,
        rows=rows,
        num_steps=cell["num_steps"],
        progress=progress,
    )
    drawn = time.perf_counter()
    parts = list(zip(x.split(n), label.split(n), strict=True))
    found = [domain.measure(*part) for part in parts]
    if cell["folder"]:
        keep = min(n, max(64, 4000 // x[0].numel()))
        first = torch.stack([part[:keep] for part, _ in parts])
        training.save_tensors(samples_path(cell["folder"], key), {"x": first}, {"cell": key})
    names = [*MEASURES, *found[0].extra]
    return shared | {
        "scales": scales,
        "rows": getattr(model, "rows_run", run_before) - run_before,
        "weights": training.weights_hash(model),
        "measures": {name: [_value(one, name) for one in found] for name in names},
        "mode_share": [_shares(one.mode_counts, len(domain.classes)) for one in found],
        "seconds": {"model": ready - begun, "sample": drawn - ready},
    }


def _value(found: measures.Coverage, name: str) -> float:
    return found.extra[name] if name in found.extra else getattr(found, name)


def _shares(counts: torch.Tensor, num_classes: int) -> list[list[float]]:
    counts = counts.reshape(num_classes, -1)
    return (counts / counts.sum(1, keepdim=True)).tolist()


def reference(domain: Domain, source: str, scales: list[float], n: int) -> dict[str, Any]:
    """Return what stands beside a curve, as a record like those of ``run_cell``.

    tilted : the closed form p(mode | class)^s p(mode)^(1-s)
    tilted_whole : the modes under p(x | class)^s p(x)^(1-s), if more than the mode tells the class
    equation : the exact law of guidance with the ODE, where the domain has it in closed form
    real : fresh real data measured as if sampled (the floor), and how well the reader reads them
    perfect : the band of a sampler that makes no error, low and high
    """
    classes, weights, shares = domain.classes, domain.mode_weights, []
    laws_of = {"tilted": "tilted_law", "tilted_whole": "whole_law", "equation": "exact_law"}
    if source in laws_of:
        law = getattr(domain, laws_of[source])
        laws = [[law(s, c) for c in classes] for s in scales]
        each = [[measures.law_measures(p, weights, c) for c, p in enumerate(row)] for row in laws]
        found = {name: [fmean(m[name] for m in row) for row in each] for name in each[0][0]}
        shares = [[p.tolist() for p in row] for row in laws]
    elif source == "real":
        batch = domain.data(n, seed=2, held_out=True)
        measured, read = domain.measure(batch.x, batch.label), domain.assign(batch.x)
        found = {name: [_value(measured, name)] for name in (*MEASURES, *measured.extra)}
        right = (read == batch.mode)[read >= 0].double().mean().item()
        found["reader_accuracy"], scales = [right], [math.nan]
        shares = [_shares(measured.mode_counts, len(domain.classes))]
    else:
        bands = [measures.perfect_band(weights[c], n // len(classes)) for c in classes]
        found = {
            f"{name}_{end}": [fmean(one[name][i] for one in bands)]
            for name in bands[0]
            for i, end in enumerate(("low", "high"))
        }
        scales = [math.nan]
    return {"scales": scales, "measures": found, "mode_share": shares, "rows": 0, "weights": ""}


def to_table(records: Iterable[dict[str, Any]]) -> Any:
    """Return records as a tidy pandas.DataFrame, one row a number.

    Columns
    -------
    domain, source (one of SOURCES or REFERENCES), method, seed (-1
    for references), scale (NaN where there is none), label (class, or "mean" over classes), mode
    (its name, for measure "mode_share", else ""), measure, value, n (samples a scale), num_steps,
    rows (network rows that sampling the whole cell ran), weights (SHA-256 of the model's weights)
    """
    import pandas as pd

    rows = []
    for record in records:
        names = ("domain", "source", "method", "seed", "n", "num_steps", "rows", "weights")
        shared = {name: record[name] for name in names}
        for i, scale in enumerate(record["scales"]):
            at = {**shared, "scale": scale}
            for name, values in record["measures"].items():
                rows.append(
                    {**at, "label": "mean", "mode": "", "measure": name, "value": values[i]}
                )
            for label, shares in enumerate(record["mode_share"][i] if record["mode_share"] else []):
                share = {**at, "label": str(label), "measure": "mode_share"}
                for mode, value in zip(record["mode_names"], shares, strict=True):
                    rows.append({**share, "mode": mode, "value": value})
    columns = ["domain", "source", "method", "seed", "scale", "label", "mode", "measure", "value"]
    return pd.DataFrame(rows, columns=[*columns, "n", "num_steps", "rows", "weights"])


def read_journal(path: str | Path) -> list[dict[str, Any]]:
    """Return the records in a journal; a last line cut short is dropped, no file is no records."""
    if not Path(path).exists():
        return []
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _append(path: Path, record: dict[str, Any]) -> None:
    """Add one line; what an interrupted writer left of a line is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def samples_path(folder: str | Path, key: str) -> Path:
    """Return where the first samples of a cell are kept: safetensors, x (scales, rows, *shape)."""
    return Path(folder) / "samples" / f"{key}.safetensors"
