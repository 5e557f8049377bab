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
from cfg_tutorial.methods import METHODS
from cfg_tutorial.sweep import (
    OWN,
    SCALES,
    Record,
    kept_records,
    load_once,
    make_cells,
    reference_cells,
    run_cells,
    use_line,
)

DRAFT = 250  # samples per scale on the first page, which comes from the shipped weights, at least
LONGEST_FIRST = ["images", "text", "audio", "mixtures"]


def main(args: Any) -> int:
    """Make the atlas in ``args.out``; return the exit status: 2 for arguments, 130 stopped.

    Parameters
    ----------
    args : has out, domains, data, seeds, samples, workers and quick, as ``cfg-tutorial atlas``
        reads them
    """
    domains = args.domains or list(DOMAINS)
    try:
        try:
            if getattr(args, "data", None):
                domains = [_own(args)]
            _check(args, domains)
        except ValueError as error:
            print(f"cfg-tutorial atlas: {error}", file=sys.stderr)
            return 2
        return _make(args, domains)
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept: the same command goes on from here.")
        return 130


def _own(args: Any) -> str:
    """Read the data of one's own that the command names; return the name of their domain."""
    from cfg_tutorial.domains.folders import from_path

    if args.domains:
        raise ValueError("--domains and --data do not go together.")
    name = Path(args.data).expanduser().resolve().stem
    domain = from_path(args.data, name=f"my {name}" if name in DOMAINS else name)
    OWN[domain.name] = domain
    return domain.name


def _check(args: Any, domains: list[str]) -> None:
    """Raise a ValueError that names the argument that is wrong; make the folders."""
    for name in domains:
        if name not in DOMAINS and name not in OWN:
            raise ValueError(f"--domains must be of {', '.join(DOMAINS)}. Got {name} instead.")
        if domains.count(name) > 1:
            raise ValueError(f"--domains must name each domain once. Got {name} twice.")
        few = len(load_once(name).classes)
        if args.samples and args.samples < few:
            said = f"--samples must be at least {few}, one for each class of {name}"
            raise ValueError(f"{said}. Got {args.samples} instead.")
    if not args.out:
        raise ValueError("--out must name a folder. Got '' instead.")
    try:
        (Path(args.out).expanduser() / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = f"--out must be a folder that can be written. Got {args.out} instead"
        raise ValueError(f"{said} ({error.strerror}).") from None


def _make(args: Any, domains: list[str]) -> int:
    begun, out = time.monotonic(), Path(args.out).expanduser()
    least = {d: load_once(d).samples_needed * len(load_once(d).classes) for d in domains}
    seeds, cfg, scales = range(args.seeds or 3), {"cfg": METHODS["cfg"]}, SCALES
    draft, trained, exact, beside = [], [], [], []
    for name in domains:
        few = max(DRAFT, least[name])  # coverage needs that many
        n = args.samples or (few if args.quick else 1000)
        domain = OWN.get(name, name)
        if name not in OWN:  # which have no weights that ship
            draft += make_cells([domain], "shipped", cfg, [0], scales, min(n, few), folder=out)
        trained += make_cells([domain], "trained", cfg, seeds, scales, n, folder=out)
        exact += make_cells([domain], "exact", cfg, seeds, scales, n, folder=out)
        beside += reference_cells(domain, scales, n)
    # The longest work starts first, once the draft is in.
    order = {name: i for i, name in enumerate(LONGEST_FIRST)}
    trained.sort(key=lambda cell: (order.get(str(cell.domain), -1), cell.seed))
    cells = draft + beside + exact + ([] if args.quick else trained)
    records: list[Record] = []

    def on_cell(record: Record) -> None:
        records.append(record)
        waiting = sum(r.source == "shipped" for r in records) < len(draft)
        if record.source == "trained" or (record.source == "shipped" and not waiting):
            first = record.source == "shipped"
            write_page(out, domains, records, finished=False)
            seconds = time.monotonic() - begun
            what = "first page, from the shipped weights" if first else "page brought up to date"
            print(f"\n{what}: {out / 'index.html'} ({seconds:.0f} s)", file=sys.stderr)

    keys, kept = kept_records(cells, out)
    records += kept.values()
    ready = [key in kept for key in keys]
    if draft and all(ready[: len(draft)]) and not all(ready):  # an interrupted run goes on
        write_page(out, domains, records, finished=False)
    with _workers(args.workers or min(2, os.cpu_count() or 1)) as executor:
        done = run_cells(cells, executor, out, on_cell)
    write_page(out, domains, done, finished=not args.quick)
    print(f"atlas: {(out / 'index.html').resolve()} ({time.monotonic() - begun:.0f} s)")
    return 0


class _Pool(ProcessPoolExecutor):
    """Processes that Ctrl-C, which a terminal sends to all, never reaches: not as they start."""

    def submit(self, *args: Any, **options: Any) -> Any:
        if not hasattr(signal, "pthread_sigmask"):  # on Windows
            return super().submit(*args, **options)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:  # a process that starts here inherits what is blocked
            return super().submit(*args, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _workers(number: int) -> Any:
    """Yield an executor of processes with one thread each; an interrupt ends them at once."""
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers inherit it, for torch and for the readers
    lock, lines = context.RLock(), context.Value("i", 0)
    executor = _Pool(number, context, _start_worker, (lock, lines))
    try:
        yield executor
    except BaseException:
        # The pool's own thread stumbles over what is cancelled, and would say so at length.
        threading.excepthook, hook = lambda _: None, threading.excepthook
        for process in multiprocessing.active_children():
            process.terminate()
        executor.shutdown(cancel_futures=True)
        threading.excepthook = hook
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
