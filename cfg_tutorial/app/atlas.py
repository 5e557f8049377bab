"""The atlas: trains and sweeps the domains. Knows nothing of guidance, nor of the page's looks."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from cfg_tutorial.app.page import write_page
from cfg_tutorial.domains import DOMAINS
from cfg_tutorial.sweep import (
    METHODS,
    SCALES,
    cell_key,
    load_once,
    make_cells,
    read_journal,
    reference_cells,
    run_cells,
    use_line,
)

DRAFT = 250  # samples a scale on the first page, which comes from the shipped weights
LONGEST_FIRST = ["images", "text", "audio", "mixtures"]


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
    n = args.samples or (DRAFT if args.quick else 1000)
    seeds = range(args.seeds or 3)
    cfg, scales = {"cfg": METHODS["cfg"]}, SCALES
    draft = make_cells(domains, "shipped", cfg, [0], scales, min(n, DRAFT), folder=out)
    trained = make_cells(domains, "trained", cfg, seeds, scales, n, folder=out)
    exact = make_cells(domains, "exact", cfg, seeds, scales, n, folder=out)
    beside = [cell for name in domains for cell in reference_cells(name, scales, n)]
    # The longest work starts first, once the draft is in.
    order = {name: i for i, name in enumerate(LONGEST_FIRST)}
    trained.sort(key=lambda cell: (order.get(cell["domain"], -1), cell["seed"]))
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


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, even killed."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _start_worker(lock: Any, lines: Any) -> None:
    """Set up a worker: one thread, no interrupts of its own, a line of the screen for its bars."""
    from tqdm import tqdm

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    tqdm.set_lock(lock)
    with lines.get_lock():
        lines.value += 1
        use_line(lines.value)
