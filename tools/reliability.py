"""Writes docs/reliability.md from the tests: what goes wrong, what happens, and which test says so.

    python tools/reliability.py             writes the page
    python tools/reliability.py --check     writes nothing, says whether the page is as the tests

A test is on the page if its docstring has a line "Before: ...", what happened once. Its first line
is what happens now. A comment of one line between tests, as "# Journals", begins a section.
"""

import argparse
import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
HEAD = """# What happens when something goes wrong

Each line is a fault that was seen once, and what happens today. The test named beside it fails on
the code of then. This page is made from the tests: `python tools/reliability.py`.

"""


def faults() -> dict[str, list[tuple[str, str, str]]]:
    """Return section to (what happened, what happens, test), in the order of the tests."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        places = [(m.start(), m[1]) for m in re.finditer(r"^# ([^%\n]+)$", text, re.MULTILINE)]
        starts = [0, *(m.end() for m in re.finditer("\n", text))]
        for test in tree.body:
            doc = ast.get_docstring(test) if isinstance(test, ast.FunctionDef) else None
            if not doc or "Before: " not in doc:
                continue
            now, before = doc.split("Before: ")
            above = [name for place, name in places if place < starts[test.lineno - 1]]
            section = above[-1] if above else path.stem.removeprefix("test_").capitalize()
            where = f"{path.name}::{test.name}"
            found[section].append((_line(before), _line(now), where))
    return found


def _line(text: str) -> str:
    said = re.sub(r"\s+", " ", text).strip().replace("|", r"\|").replace("<", "&lt;")
    return said[0].upper() + said[1:]


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for section, rows in faults().items():
        lines = [f"| {before} | {now} | `{where}` |" for before, now, where in rows]
        top = ["| once | now | test, in `tests/` |", "|---|---|---|"]
        parts.append("\n".join([f"## {section}\n", *top, *lines]) + "\n\n")
    return "".join(parts).rstrip() + "\n"


def main() -> int:
    """Write the page, or compare; return 1 if it is not as the tests say."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page()
    print("as the tests" if same else "not as the tests: python tools/reliability.py")
    return int(not same)


if __name__ == "__main__":
    raise SystemExit(main())
