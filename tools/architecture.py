"""Draws the package's rooms and imports from its code, for docs/architecture.md.

    python tools/architecture.py            writes docs/architecture.png and the page's table
    python tools/architecture.py --check    writes nothing, says whether the table is as the code

Rooms stand in the order in which data flow. An arc is an import, from the room that imports to the
one on its left; one that pointed back would be red and lie below.
"""

import argparse
import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, PAGE = ROOT / "cfg_tutorial", ROOT / "docs" / "architecture.md"
ROOMS = ["arguments", "files", "keys", "guidance", "diffusion", "samplers", "methods", "models"]
ROOMS += ["networks", "training", "measures", "domains", "journal", "references", "sweep", "plots"]
ROOMS += ["lessons", "app"]
CORE = {"guidance", "diffusion", "samplers"}
TABLE = re.compile(r"(?<=<!-- rooms -->\n).*?(?=<!-- end -->)", re.S)


def modules() -> dict[Path, ast.Module]:
    """Return each module of the package, by path, as its syntax tree."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def room(path: Path) -> str:
    """Return the room that a module is in; the package's own ``__init__`` is in none."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.Module) -> set[str]:
    """Return the modules of the package that a module imports, also late, as dotted names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["cfg_tutorial" if node.level else "", node.module]))
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "cfg_tutorial"}


def leads_to(name: str) -> str:
    """Return the room of an imported name; what the package itself exports counts as the last."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ROOMS[-1]


def table() -> str:
    """Return what each module says it does, as a table in Markdown."""
    lines = ["| module | what it does, and what it knows nothing of |", "|---|---|"]
    found = [(room(path), path, tree) for path, tree in modules().items()]
    for _, path, tree in sorted(
        (f for f in found if f[0] in ROOMS), key=lambda f: ROOMS.index(f[0])
    ):
        first = (ast.get_docstring(tree) or "").split("\n")[0].replace("|", "\\|")
        if tree.body[1:]:
            lines.append(f"| `{path.relative_to(PACKAGE).as_posix()}` | {first} |")
    return "\n".join(lines) + "\n"


def draw() -> None:
    """Draw the rooms and the arcs between them."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Arc

    arcs: Counter[tuple[str, str]] = Counter()
    sizes: Counter[str] = Counter()
    for path, tree in modules().items():
        here = room(path)
        if here in ROOMS:
            sizes[here] += len(path.read_text(encoding="utf-8").splitlines())
            arcs.update((here, there) for there in map(leads_to, imports(tree)) if there != here)
    figure = Figure(figsize=(12, 5.2))
    ax = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    at = {name: i for i, name in enumerate(ROOMS)}
    for (here, there), count in arcs.items():
        back, width = at[there] > at[here], abs(at[there] - at[here])
        colour = "#D55E00" if back else "#0072B2" if there in CORE else "#777777"
        ends = (180, 360) if back else (0, 180)
        middle = (at[here] + at[there]) / 2
        line = {"color": colour, "linewidth": 0.6 + 0.35 * count, "alpha": 0.7}
        ax.add_patch(
            Arc((middle, 0.28), width, 0.62 * width, theta1=ends[0], theta2=ends[1], **line)
        )
    for name, i in at.items():
        face = "#cfe5f5" if name in CORE else "#eeeeec"
        box = {"boxstyle": "round,pad=0.35", "facecolor": face, "edgecolor": "#555555"}
        words = f"{name}\n{max(10, round(sizes[name], -1))} lines"
        ax.text(i, -0.25, words, ha="center", va="center", fontsize=8, bbox=box)
    ax.text(-0.4, 4.6, "imports point left; thicker: more of them; blue: to the core", fontsize=9)
    ax.set(xlim=(-0.6, len(ROOMS) - 0.4), ylim=(-0.8, 4.9))
    ax.set_axis_off()
    figure.savefig(ROOT / "docs" / "architecture.png", dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    text = PAGE.read_text(encoding="utf-8")
    fresh = TABLE.sub(lambda _: table(), text)
    if parser.parse_args().check:
        print("As the code." if fresh == text else "docs/architecture.md is of other code.")
        return int(fresh != text)
    PAGE.write_text(fresh, encoding="utf-8")
    draw()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
