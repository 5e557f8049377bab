"""Makes the notebooks from notebooks/src and runs them: the student's copies and the solved ones.

    python tools/notebooks.py [names]            writes notebooks/ and notebooks/solutions/
    python tools/notebooks.py [names] --check    writes nothing, and says what would differ

A source is a jupytext percent script. A lesson's name starts with its number; any other source is a
page, such as the index, which has no exercises and one copy, the student's. The cell that imports
cfg_tutorial and no more becomes the one that says which Python runs the notebook, and what to do if
the import fails. What stands between the lines `# BEGIN SOLUTION` and `# END SOLUTION` becomes
`raise NotImplementedError` in the student's copy. What `ct.expect` finds out of its range is a
fault; text that says "`label`: 0.1 to 0.2" promises that a cell above it prints such a number.
"""

import argparse
import base64
import io
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
COPIES = ("student", "solved")

IMPORT = "import cfg_tutorial as ct\n\n# isort: split"
ASIDE = "says which Python runs the notebook. If it stops, do what it says."
FIRST = """
import sys
from importlib.util import find_spec
from pathlib import Path

print("Python", sys.version.split()[0], "at", sys.executable)
try:
    import cfg_tutorial as ct
except ImportError as error:
    what = ".." if Path("../pyproject.toml").exists() else "../.."  # the project's folder
    lacks = (error.name or "cfg_tutorial").replace("-", "_")
    if find_spec("torch"):  # keep the torch that is here: install what is missing, no more
        what = f"--no-deps {what}" if lacks == "cfg_tutorial" else lacks
    raise SystemExit(f"{error}. Run  %pip install {what}  in a new cell, then restart.") from None
""".strip()

SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n(.*?)^ *# END SOLUTION$\n?", re.M | re.S)
STUB = r'\1raise NotImplementedError("your turn")\n'
CHECK = re.compile(r"^ct\.check\.\w+\(", re.M)
RANGE = re.compile(r"`([^`]+)`:\s+(-?[\d.]+)\s+to\s+(-?\d+(?:\.\d+)?)")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
WIDGET = "application/vnd.jupyter.widget-view+json"
COLOUR_CODE = re.compile("\x1b\\[[0-9;]*m")
PROGRESS = re.compile(r"^([^:|]+: +100%\|[^|]*\| \d+/\d+) \[[^\],]*, [^\],]*(?:, )?([^\]]*)\]$")

MOST_MEMORY = 1.5  # GiB
MOST_SIZE = 0.35  # MB
UNEXPECTED = "Unexpected: "  # as `ct.expect` begins what it says
VERDICT = {"student": "not written yet", "solved": "Right"}


class Interpreter(KernelSpecManager):
    """Names one kernel: the running interpreter, whatever else is installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f"]
        argv += ["{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def sources(names: list[str] | None = None) -> list[Path]:
    """Return the sources of the notebooks whose names start with one of ``names``, or all.

    Raises
    ------
    SystemExit : a name that no source has
    """
    found = sorted((FOLDER / "src").glob("*.py"))
    for name in names or []:
        if not any(path.stem.startswith(name) for path in found):
            raise SystemExit(f"No notebook is called {name!r}: {[path.stem for path in found]}")
    return [p for p in found if not names or any(p.stem.startswith(name) for name in names)]


def copies(source: Path) -> tuple[str, ...]:
    """Return the copies of a source: of a lesson both, of a page, which has no solutions, one."""
    return COPIES if source.stem[0].isdigit() else COPIES[:1]


def target(source: Path, copy: str, folder: Path = FOLDER) -> Path:
    """Return where a copy of a source is written."""
    return folder / ("" if copy == "student" else "solutions") / f"{source.stem}.ipynb"


def build(source: Path, copy: str) -> Any:
    """Return the notebook of a source, not executed: copy "student" or "solved"."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for i, cell in enumerate(notebook.cells):
        if cell.source == IMPORT:
            cell.source = FIRST
            if ASIDE not in notebook.cells[i - 1].source:  # the index says it in its own words
                notebook.cells.insert(i, nbformat.v4.new_markdown_cell(f"This cell {ASIDE}"))
            break
    for i, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{i:02d}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.source = SOLUTION.sub(STUB if copy == "student" else r"\2", cell.source).rstrip()
    return notebook


def execute(notebook: Any) -> tuple[float, float]:
    """Run a notebook in place; return its minutes and the kernel's peak memory in GiB.

    Every run starts with an empty cache of weights, so that training is always seen.

    Raises
    ------
    CellExecutionError : a cell failed
    """
    peak = "__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss"
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            km=AsyncKernelManager(kernel_spec_manager=Interpreter()),
            timeout=600,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        settings = {"CFG_TUTORIAL_CACHE": folder, "OMP_NUM_THREADS": "1"}
        settings["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        notebook.cells.append(nbformat.v4.new_code_cell(f"print({peak})"))
        start = time.monotonic()
        environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | settings
        with client.setup_kernel(env=environment, cleanup_kc=True):
            for i, cell in enumerate(notebook.cells):
                client.execute_cell(cell, i)
    probe = notebook.cells.pop()
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return (time.monotonic() - start) / 60, int(probe.outputs[0].text) / unit


def tidy(notebook: Any) -> None:
    """Take out of an executed notebook what differs from run to run and machine to machine."""
    notebook.metadata.pop("widgets", None)
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = _merge(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            if WIDGET in output.get("data", {}):  # its kernel is gone; what stands beside it stays
                del output.data[WIDGET]
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _shrink(output.data["image/png"])
                output.metadata = nbformat.from_dict({})


def _merge(outputs: list[Any]) -> list[Any]:
    """Join the pieces of a stream, and leave the last line of each progress bar."""
    merged: list[Any] = []
    for output in outputs:
        if output.output_type == "stream":
            if merged and merged[-1].get("name") == output.name:
                merged[-1].text += output.text
                continue
            output = output.copy()
        merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            lines = [line.rsplit("\r", 1)[-1].rstrip() for line in output.text.split("\n")]
            output.text = "\n".join(_plain(line) for line in lines).strip("\n") + "\n"
            bars = [line for line in output.text.splitlines() if line and "100%|" not in line]
            if output.name == "stderr" and not bars:
                output.name = "stdout"
    kept = [output for output in merged if output.get("text", "x").strip()]
    for i in range(len(kept) - 1, 0, -1):
        if kept[i].get("name") == kept[i - 1].get("name") == "stdout":
            kept[i - 1].text += kept.pop(i).text
    return kept


def _plain(line: str) -> str:
    """Return a line without seconds, and without where this machine keeps its Python."""
    line = line.replace(sys.executable, ".../python")
    return PROGRESS.sub(lambda bar: " ".join(filter(None, bar.groups())), line)


def _shrink(png: str) -> str:
    """Return a picture with a palette of 256 colours, as base64 text."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    small = io.BytesIO()
    palette = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def text(cell: Any) -> str:
    """Return what a code cell printed or showed as text."""
    said = [
        o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", [])
    ]
    return "\n".join(said)


def faults(notebook: Any, copy: str) -> list[str]:
    """Return what an executed notebook breaks: errors, warnings, checks and promised ranges."""
    found, above = [], ""
    for i, cell in enumerate(notebook.cells):
        where = f"cell {i}"
        if cell.cell_type == "markdown":
            for label, low, high in RANGE.findall(cell.source):
                seen = re.findall(re.escape(label) + r"[:=\s]*(" + NUMBER.pattern + ")", above)
                if not seen:
                    found.append(f"{where}: no cell above prints a number after {label!r}")
                elif not float(low) <= float(seen[-1]) <= float(high):
                    found.append(f"{where}: {label} is {seen[-1]}, not from {low} to {high}")
            continue
        above += text(cell) + "\n"
        found += [f"{where}: {line}" for line in text(cell).splitlines() if UNEXPECTED in line]
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"{where}: {output.get('evalue') or output.text}")
        if CHECK.search(cell.source) and VERDICT[copy] not in text(cell):
            found.append(f"{where}: a check said {text(cell)!r}, not {VERDICT[copy]!r}")
    return found


def differences(committed: Any, fresh: Any) -> list[str]:
    """Return how two executed copies of one notebook differ, numbers and pixels set aside."""
    if len(committed.cells) != len(fresh.cells):
        return [f"{len(committed.cells)} cells are kept, the source has {len(fresh.cells)}"]
    found = []
    for i, (old, new) in enumerate(zip(committed.cells, fresh.cells, strict=True)):
        if (old.cell_type, old.source) != (new.cell_type, new.source):
            found.append(f"cell {i}: the source has changed:\n{old.source}\n---\n{new.source}")
        elif old.cell_type == "code":
            kinds = [[_kind(output) for output in cell.outputs] for cell in (old, new)]
            if kinds[0] != kinds[1]:
                found.append(f"cell {i}: outputs were\n  {kinds[0]}\nand are now\n  {kinds[1]}")
    return found


def _kind(output: Any) -> tuple[str, ...]:
    """Return what an output is, and the words of its text, every number, or bar, a #."""
    if output.output_type == "stream":
        words = re.sub("#+", "#", NUMBER.sub("#", output.text)).split()
        return "stream", output.name, " ".join(words)
    return output.output_type, *sorted(output.get("data", {}))


def write(notebook: Any, path: Path) -> None:
    """Write a notebook whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def make(source: Path, copy: str, check: bool) -> list[str]:
    """Build and run one copy, write it or compare it; return what is wrong with it.

    A copy with faults does not take the place of a good one: it is left beside it, as .ipynb.tmp.
    """
    path = target(source, copy)
    name = str(path.relative_to(ROOT))
    notebook = build(source, copy)
    try:
        minutes, memory = execute(notebook)
    except CellExecutionError as error:
        return [f"{name}: {COLOUR_CODE.sub('', str(error))}"]
    tidy(notebook)
    wrong, size = faults(notebook, copy), len(nbformat.writes(notebook)) / 1e6
    if memory > MOST_MEMORY or size > MOST_SIZE:
        wrong.append(f"{memory:.2f} GiB of {MOST_MEMORY}, {size:.2f} MB of {MOST_SIZE}: too much")
    if check and not path.exists():
        wrong.append("it is not there; make it with tools/notebooks.py")
    elif check:
        kept = nbformat.read(path, as_version=4)
        wrong += differences(kept, notebook) + [f"kept: {fault}" for fault in faults(kept, copy)]
    else:
        write(notebook, path.with_name(f"{path.name}.tmp") if wrong else path)
    print(f"{name}: {minutes:.1f} minutes, {memory:.2f} GiB, {size:.2f} MB", flush=True)
    return [f"{name}: {fault}" for fault in wrong]


def main(arguments: list[str] | None = None) -> int:
    """Make or check the notebooks; return 0 when all is well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="first letters of the notebooks' names")
    parser.add_argument(
        "--check", action="store_true", help="compare with the copies that are kept"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="kernels at one time")
    args = parser.parse_args(arguments)
    jobs = [(source, copy, args.check) for source in sources(args.names) for copy in copies(source)]
    with ThreadPoolExecutor(min(args.workers, 2)) as pool:
        wrong = [fault for found in pool.map(lambda job: make(*job), jobs) for fault in found]
    print("\n".join(wrong) if wrong else "All is well.")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
