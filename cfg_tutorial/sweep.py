"""Sweeps: domains x methods x scales x seeds, to one table. Knows nothing of how results are drawn.

A cell is all scales of one domain, source, method and seed, drawn from the same noise. A finished
cell is one line of a journal, and a rerun does only what is missing.
"""

import functools
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cfg_tutorial import files, training
from cfg_tutorial.arguments import check_count, check_int, check_scale, check_several, require
from cfg_tutorial.domains import Domain, load
from cfg_tutorial.journal import Record, append, read_journal
from cfg_tutorial.keys import Unkeyed, key_of
from cfg_tutorial.methods import METHODS
from cfg_tutorial.references import FLOORS, REFERENCES, names_of, shares_of

SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
JOURNAL = "results.jsonl"
_progress_line: bool | int = False  # where this process draws its bars; see use_line

OWN: dict[str, Domain] = {}  # domains of one's own that this process knows by name
_load_once = functools.lru_cache(maxsize=None)(load)


def load_once(name: str) -> Domain:
    """Return the domain of a name, loaded once; one of one's own where OWN has it."""
    return OWN.get(name) or _load_once(name)


@dataclass(frozen=True)
class Cell:
    """All scales of one domain, source, method and seed: what is run, and kept, as a whole.

    source : one of SOURCES or REFERENCES, or the name of a model of one's own
    folder : where the first samples are kept
    function : the method, where it is one of one's own and not the METHODS' of that name
    model : the model of one's own
    sampler : the domain's own unless given
    """

    domain: str | Domain
    source: str
    method: str
    seed: int
    scales: tuple[float, ...]
    n: int
    num_steps: int | None = None
    folder: str | None = None
    function: Callable[[Any, Any], Any] | None = None
    model: Any = None
    sampler: Any = None

    @property
    def loaded(self) -> Domain:
        return _loaded(self.domain)


def _loaded(domain: str | Domain) -> Domain:
    return load_once(domain) if isinstance(domain, str) else domain


def sweep(
    domains: Sequence[str | Domain],
    scales: Sequence[float] = SCALES,
    methods: Sequence[str] | Mapping[str, Callable[[Any, Any], Any]] = ("cfg",),
    seeds: Iterable[int] = range(3),
    executor: Executor | None = None,
    *,
    source: str | None = None,
    models: Mapping[str, Any] | None = None,
    sampler: Any = None,
    references: bool = False,
    n: int = 1000,
    num_steps: int | None = None,
    folder: str | Path | None = None,
    on_cell: Callable[[Record], None] | None = None,
    progress: bool = True,
) -> Any:
    """Return what samples measure, for all domains, methods, scales and seeds.

    Parameters
    ----------
    domains : names, or Domain objects
    methods : names ("cfg", "interval"), or {name: f(model, scale) -> model}, see ``method``
    seeds : training seeds; the noise that samples start from has the same seed at every scale
    executor : any concurrent.futures executor, to run cells in parallel
    source : "trained" (trained here, or kept from before), "shipped" or "exact"; "trained" unless
        given, or none where there are models of one's own
    models : {name: model} of one's own, each swept on all the domains, with their name as source;
        known by their weights and code, of which a seed is only that of the noise
    sampler : the domains' own unless given
    references : add what stands beside the curves, see ``reference``; their seed is -1
    n : samples per scale, shared out evenly to the classes
    folder : keeps results.jsonl, one line per finished cell, and the first samples of each cell;
        cells found there are not run again
    on_cell : called with each finished cell's record, from this process

    Returns
    -------
    pandas.DataFrame, one row a number: see ``to_table``

    Raises
    ------
    ValueError : an unknown domain, method or source; no scales, seeds or samples; a model that
        does not fit a domain
    """
    known: Any = methods if isinstance(methods, Mapping) else METHODS
    named = {m: known.get(m) for m in check_several(methods, "sweep", "methods")}
    domains, n = check_several(domains, "sweep", "domains"), check_count(n, "sweep", "n")
    several = check_several(scales, "sweep", "scales")
    scales = check_scale(several, "scales", "sweep").double().tolist()
    seeds = [check_int(s, "sweep", "seeds") for s in check_several(seeds, "sweep", "seeds")]
    ok = min(seeds) >= 0 and len({*seeds}) == len(seeds)
    require(ok, "sweep", "seeds", "ints >= 0, each of them once", seeds)
    num_steps = None if num_steps is None else check_count(num_steps, "sweep", "num_steps")
    ok = all(map(callable, named.values()))
    require(ok, "sweep", "methods", f"of {sorted(METHODS)} or functions", [*named])
    source = source or (None if models else "trained")
    ok = source is None or source in SOURCES
    require(ok, "sweep", "source", f"one of {(*SOURCES,)}", repr(source))
    models = _own_models(models, [*map(_loaded, domains)])
    ok = sampler is None or callable(sampler)
    require(ok, "sweep", "sampler", "a function, such as sample_heun", repr(sampler))
    for domain in map(_loaded, domains):
        expected = f"at least {len(domain.classes)}, one for each class of {domain.name}"
        require(n >= len(domain.classes), "sweep", "n", expected, n)
    names = [domain if isinstance(domain, str) else domain.name for domain in domains]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    expected = "of different names, by which the table tells them apart: set .name on one"
    require(not twice, "sweep", "domains", expected, twice)
    kind = getattr(getattr(executor, "_mp_context", None), "get_start_method", str)()
    expected = "must start fresh processes, since a fork of this one hangs: ProcessPoolExecutor("
    expected += 'mp_context=multiprocessing.get_context("spawn"))'
    require(kind != "fork", "sweep", "executor", expected, "one that forks")
    cells = []
    for name, model in [*([(source, None)] if source else []), *models.items()]:
        own = {"model": model, "sampler": sampler}
        cells += make_cells(domains, name, named, seeds, scales, n, num_steps, folder, **own)
    if references:
        for domain in domains:
            cells += reference_cells(domain, scales, n)
    return to_table(run_cells(cells, executor, folder, on_cell, progress))


def _own_models(models: Any, domains: list[Domain]) -> dict[str, Any]:
    """Return models of one's own by name, each known to fit the domains."""
    expected = "{name: model}, at least one"
    ok = models is None or (isinstance(models, Mapping) and models)
    require(ok, "sweep", "models", expected, lambda: repr(models)[:80])
    for name, model in (models or {}).items():
        ok = isinstance(name, str) and name not in SOURCES and name not in REFERENCES
        expected = f"named in strings other than {[*SOURCES, *REFERENCES]}"
        require(ok, "sweep", "models", expected, repr(name))
        require(
            callable(model), "sweep", "models", "functions (x, level, label)", f"{name}: {model!r}"
        )
        for domain in domains:
            has, wanted = (getattr(one, "num_classes", None) for one in (model, domain))
            ok = has is None or torch.equal(torch.as_tensor(has), torch.as_tensor(wanted))
            expected = f"of as many classes as {domain.name} has, {wanted}"
            require(ok, "sweep", "models", expected, f"{name}, of {has},")
    return dict(models or {})


def make_cells(
    domains: Sequence[str | Domain],
    source: str,
    methods: Mapping[str, Callable[[Any, Any], Any] | None],
    seeds: Iterable[int],
    scales: Sequence[float],
    n: int,
    num_steps: int | None = None,
    folder: str | Path | None = None,
    **own: Any,
) -> list[Cell]:
    """Return the cells of a sweep, seed by seed; ``own``: a model or sampler of one's own."""
    kept = str(Path(folder).expanduser()) if folder else None
    functions = {m: None if f is METHODS.get(m) else f for m, f in methods.items()}
    return [
        Cell(domain, source, method, seed, tuple(scales), n, num_steps, kept, function, **own)
        for seed in seeds
        for domain in domains
        for method, function in functions.items()
    ]


def reference_cells(domain: str | Domain, scales: Sequence[float], n: int) -> list[Cell]:
    """Return the cells of a domain's references: the laws that it has, and real data."""
    known = _loaded(domain)
    has = [name for name in REFERENCES if name in known.laws or name in FLOORS]
    return [
        cell for name in has for cell in make_cells([domain], name, {"none": None}, [-1], scales, n)
    ]


def run_cells(
    cells: list[Cell],
    executor: Executor | None = None,
    folder: str | Path | None = None,
    on_cell: Callable[[Record], None] | None = None,
    progress: bool = True,
) -> list[Record]:
    """Return the record of each cell, in order; run those that the journal in ``folder`` lacks."""
    keys, done = kept_records(cells, folder)
    journal = Path(folder).expanduser() / JOURNAL if folder else None
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in done}
    waiting, total, drawn = set(missing), len(cells), files.is_screen(sys.stderr)
    shown = progress and drawn and bool(missing)
    with files.progress_bar(None, total, "cells", shown, initial=total - len(missing)) as bar:

        def finish(record: Record) -> None:
            done[record.key] = record
            if journal:
                append(journal, record)
            bar.update()
            waiting.discard(record.key)
            if progress and not drawn:
                print(f"{total - len(waiting)} of {total}: {_said(record)}", file=sys.stderr)
            if on_cell:
                on_cell(record)

        failed: dict[str, BaseException] = {}
        if executor is None:
            for key, cell in missing.items():
                try:
                    finish(run_cell(cell, key, progress=1 if progress else False))
                except Exception as error:
                    failed[_said(cell)] = error
        else:
            futures = {executor.submit(run_cell, cell, key): cell for key, cell in missing.items()}
            try:
                for future in as_completed(futures):
                    try:
                        finish(future.result())
                    except Exception as error:
                        failed[_said(futures[future])] = error
            finally:
                for future in futures:
                    future.cancel()
    if failed:
        (name, first), more = next(iter(failed.items())), len(failed) - 1
        others = f", and {more} more: {', '.join([*failed][1:4])}" if more else ""
        text = f"The cell {name} failed{others}. Those that ended are kept. {type(first).__name__}"
        raise RuntimeError(f"{text}: {first}") from first
    return [done[key] for key in keys]


def kept_records(
    cells: list[Cell], folder: str | Path | None
) -> tuple[list[str], dict[str, Record]]:
    """Return each cell's key, and the records of those that ``folder`` holds whole, by key."""
    keys = [_key_or_none(cell) for cell in cells]
    found = read_journal(Path(folder).expanduser() / JOURNAL) if folder else []
    kept = {record.key: record for record in found}
    named = zip(keys, cells, strict=True)
    return keys, {key: kept[key] for key, cell in named if _is_whole(cell, key, kept)}


def _said(cell: Cell | Record) -> str:
    name = cell.loaded.name if isinstance(cell, Cell) else cell.domain
    return f"({name}, {cell.source}, {cell.method}, seed {cell.seed})"


def _is_whole(cell: Cell, key: str, kept: Mapping[str, Record]) -> bool:
    """Return whether a cell's record is there, and its samples where it keeps some."""
    if key not in kept or not cell.folder or cell.source in REFERENCES:
        return key in kept
    path = samples_path(cell.folder, key)
    try:
        return bool(files.load_tensors(path)[0])
    except (OSError, ValueError) as error:
        warnings.warn(f"{_said(cell)} is run again, its samples being lost: {error}", stacklevel=3)
        return False


def cell_key(cell: Cell) -> str:
    """Return the name of everything that makes a cell's result.

    Raises
    ------
    Unkeyed : the domain or the method holds what no key can be made of
    """
    domain, names = cell.loaded, ("source", "method", "seed", "n")
    made_by: dict[str, Any] = {name: getattr(cell, name) for name in names}
    made_by |= {"scales": [float(scale) for scale in cell.scales], "version": files.version()}
    made_by |= {"domain": domain.key(), "num_steps": cell.num_steps or domain.num_steps}
    made_by |= {"sampler": cell.sampler or domain.sampler}
    made_by |= {"function": cell.function or METHODS.get(cell.method)}
    if cell.model is not None:
        made_by["model"] = cell.model
    if cell.source == "trained":
        made_by |= {"recipe": domain.recipe, "network": domain.first_model(cell.seed)}
    if cell.source == "shipped":
        made_by["weights"] = training.weights_hash(domain.pretrained())
    return key_of(made_by)[:16]


def _key_or_none(cell: Cell) -> str:
    """Return a cell's key; where none can be made, one that is never found again."""
    try:
        return cell_key(cell)
    except Unkeyed as error:
        name, method = cell.loaded.name, cell.method
        warnings.warn(f"{name}, {method}: run anew each time; {error} has no key.", stacklevel=3)
        return f"unkeyed-{uuid.uuid4().hex}"


def use_line(line: int) -> None:
    """Let cells that this process runs draw their bars on a line of the screen."""
    global _progress_line
    _progress_line = line


def run_cell(cell: Cell, key: str = "", progress: bool | int | None = None) -> Record:
    """Return the record of one cell: all its scales, drawn in one call from the same noise."""
    progress = _progress_line if progress is None else progress
    domain = cell.loaded
    measured: Any = REFERENCES.get(cell.source, _sampled)
    return Record(
        key=key,
        domain=domain.name,
        source=cell.source,
        method=cell.method,
        seed=cell.seed,
        n=cell.n,
        num_steps=cell.num_steps or domain.num_steps,
        mode_names=domain.mode_names,
        version=files.version(),
        torch=torch.__version__,
        **measured(cell, domain, key, progress),
    )


def _sampled(cell: Cell, domain: Domain, key: str, progress: bool | int) -> dict[str, Any]:
    begun = time.perf_counter()
    make = SOURCES.get(cell.source)
    model = make(domain, cell.seed, progress) if make else cell.model
    ready = time.perf_counter()
    run_before: Any = getattr(model, "rows_run", 0)  # by training
    label = torch.arange(cell.n) % len(domain.classes)
    x = domain.at_scales(
        model,
        cell.scales,
        cell.n,
        label=label,
        method=cell.function or METHODS[cell.method],
        seed=cell.seed,
        num_steps=cell.num_steps,
        sampler=cell.sampler,
        progress=progress,
    )
    drawn = time.perf_counter()
    found = [domain.measure(part, label) for part in x]
    if cell.folder:
        keep = min(cell.n, max(64, 4000 // x[0, 0].numel()))
        files.save_tensors(samples_path(cell.folder, key), {"x": x[:, :keep]}, {"cell": key})
    return {
        "scales": list(cell.scales),
        "rows": getattr(model, "rows_run", run_before) - run_before,
        "weights": training.weights_hash(model),
        "measures": {name: [getattr(f, name) for f in found] for name in names_of(found[0])},
        "mode_share": [shares_of(one.mode_counts, domain) for one in found],
        "seconds": {"model": ready - begun, "sample": drawn - ready},
    }


# Where a model comes from: (domain, seed, progress) -> model.
SOURCES: dict[str, Callable[[Domain, int, Any], Any]] = {
    "trained": lambda domain, seed, progress: domain.train(seed, progress=progress),
    "shipped": lambda domain, seed, progress: domain.pretrained(),
    "exact": lambda domain, seed, progress: domain.exact(),
}


def to_table(records: Iterable[Record]) -> Any:
    """Return records as a tidy pandas.DataFrame, one row a number.

    Columns
    -------
    domain, source (one of SOURCES or REFERENCES, or a model's name), method, seed (-1
    for references), scale (NaN where there is none), label (class, or "mean" over classes), mode
    (its name, for measure "mode_share", else ""), measure, value, n (samples per scale), num_steps,
    rows (network rows that sampling the whole cell ran), weights (SHA-256 of the model's weights)
    """
    import pandas as pd

    rows = []
    for record in records:
        names = ("domain", "source", "method", "seed", "n", "num_steps", "rows", "weights")
        shared = {name: getattr(record, name) for name in names}
        for i, scale in enumerate(record.scales):
            at = {**shared, "scale": scale}
            for name, values in record.measures.items():
                rows.append(
                    {**at, "label": "mean", "mode": "", "measure": name, "value": values[i]}
                )
            for label, shares in enumerate(record.mode_share[i] if record.mode_share else []):
                share = {**at, "label": str(label), "measure": "mode_share"}
                for mode, value in zip(record.mode_names, shares, strict=True):
                    rows.append({**share, "mode": mode, "value": value})
    columns = ["domain", "source", "method", "seed", "scale", "label", "mode", "measure", "value"]
    return pd.DataFrame(rows, columns=[*columns, "n", "num_steps", "rows", "weights"])


def samples_path(folder: str | Path, key: str) -> Path:
    """Return where the first samples of a cell are kept: safetensors, x (scales, rows, *shape)."""
    return Path(folder) / "samples" / f"{key}.safetensors"
