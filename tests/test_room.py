"""What a room is given, the index and the plan of an hour: both agree with the lessons."""

import re
import subprocess
import sys
from itertools import takewhile

import nbformat
import pytest
from toys import ROOT, loaded

import cfg_tutorial as ct

tool = loaded("tools/notebooks.py")
SOURCES = {path.stem: path for path in tool.sources()}
LESSONS = [name for name in SOURCES if name[0].isdigit()]
PLAN = (ROOT / "docs" / "teaching" / "one-hour.md").read_text(encoding="utf-8")
PAGE = (ROOT / "cfg_tutorial" / "app" / "page" / "page.html").read_text(encoding="utf-8")


def prose(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


LESSON = {name: tool.build(SOURCES[name], "student") for name in LESSONS}
INDEX = tool.build(SOURCES["index"], "student")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def rows(text: str, first: str) -> list[list[str]]:
    """Return the cells of the table whose header starts with ``first``, without the header."""
    lines = text[text.index(f"| {first} |") :].splitlines()
    table = list(takewhile(lambda line: line.startswith("|"), lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def header(name: str) -> dict[str, str]:
    """Return the table at the top of a lesson, such as {"time": "15 minutes to ...", ...}."""
    lines = LESSON[name].cells[0].source.splitlines()
    return {
        row[1].strip(): row[2].strip() for row in (line.split("|") for line in lines) if row[2:]
    }


def question(name: str) -> str:
    """Return what the title of a lesson asks: "# 0 · Start here: does ...?" asks "Does ...?"."""
    asked = LESSON[name].cells[0].source.splitlines()[0].split(" · ")[1].split(": ")[-1]
    return asked[0].upper() + asked[1:]


def needs(text: str) -> set[str]:
    """Return the notebooks and the memory that a text asks for."""
    return set(re.findall(r"\b0\d\b|[\d.]+ GiB", text))


@pytest.fixture(scope="module")
def index() -> dict[str, list[str]]:
    """The index table: name of the lesson -> the other cells of its row."""
    found = {}
    for link, *cells in rows(prose(INDEX), "notebook"):
        name, path = re.fullmatch(r"\[(\w+)\]\((\w+\.ipynb)\)", link).groups()
        assert path == f"{name}.ipynb"
        found[name] = cells
    return found


def test_the_index_has_a_row_for_each_lesson_in_order(index):
    assert list(index) == LESSONS


@pytest.mark.parametrize("name", LESSONS)
def test_a_row_says_what_its_lesson_says(index, name):
    asked, minutes, code, needed, exercises = index[name]
    assert asked == question(name)
    time = header(name)["time"]
    assert time.startswith(f"{minutes} minutes to work through; the code runs for ")
    how, number = re.search(r"runs for (less than|about) (one|[\d.]+)", time).groups()
    stated = float(number.replace("one", "1"))
    low, high = (0, stated) if how == "less than" else (stated - 0.5, stated + 0.5)
    assert low < float(code) <= high, f"{code} minutes, and the lesson says {how} {number}"
    said = needs(header(name)["you know"] + header(name)["you need"])
    assert needs(needed) == said
    count, titles = exercises.split(": ", 1)
    checks = [tool.CHECK.search(cell.source) for cell in LESSON[name].cells]
    assert int(count) == sum(map(bool, checks))
    assert titles.split(" · ") == re.findall(r"^#+ Exercise \d+: (.+)$", prose(LESSON[name]), re.M)


def test_the_readme_asks_the_same(index):
    table = {re.search(r"\[(\w+)\]", row[0])[1]: row[1:] for row in rows(README, "notebook")}
    short = {name: [cells[0], cells[1].replace(" to ", "-")] for name, cells in index.items()}
    assert table == short


@pytest.fixture(scope="module")
def scales() -> list[list[str]]:
    return rows(prose(INDEX), "where")


def test_the_conversion_table_is_right(scales):
    """A converter that knows the table alone passes the check of the exercise."""
    zero = {}
    for where, number, unguided, trained, three in scales:
        (name,) = [c for c in ct.check.CONVENTIONS if c in where.replace("this package", "ours")]
        zero[name] = float(trained) - 1
        assert float(unguided) == zero[name] and float(three) == 3 + zero[name], where
        assert number.split("= ")[-1] == ("s" if zero[name] == 0 else f"s - {-zero[name]:.0f}")
    assert set(zero) == set(ct.check.CONVENTIONS)
    told = ct.check.convert_scale(lambda value, a, b: value - zero[a] + zero[b])
    assert told.passed, told


def test_all_that_convert_scales_agree(scales):
    assert scales == rows(prose(LESSON["00_start_here"]), "where")
    text = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    from_zero = {row[0] for row in rows(text, "where") if row[2].endswith("+ 1")}
    words = {name.split(",")[0] for name, number, *_ in scales if number.endswith("- 1")}
    assert len(from_zero) == len(words) == 2
    assert all(any(name.startswith(word) for name in from_zero) for word in words)


def test_links_of_index_and_plan_lead_somewhere():
    for text, folder in ((prose(INDEX), tool.FOLDER), (PLAN, ROOT / "docs" / "teaching")):
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        assert len(links) >= 3
        assert [link for link in links if not (folder / link).exists()] == []


def test_the_index_leads_to_each_solution_and_to_the_plan():
    text = prose(INDEX)
    assert [f"solutions/{name}.ipynb" in text for name in LESSONS] == [True] * len(LESSONS)
    assert "(../docs/teaching/one-hour.md)" in text


def test_the_index_is_kept_from_a_machine_that_lacks_nothing():
    kept = nbformat.read(tool.target(SOURCES["index"], "student"), as_version=4)
    shown = [output.get("data", {}) for cell in kept.cells for output in cell.get("outputs", [])]
    assert any(data.get("text/markdown", "").startswith("Nothing is missing: ") for data in shown)


# The plan.


def headings(text: str) -> list[str]:
    """Return the headings of a notebook's prose, without numbers such as "1 · "."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return [re.sub(r"^\d+ · ", "", heading) for heading in found]


def lesson(number: str):
    (name,) = [name for name in LESSONS if name.startswith(f"{number}_")]
    return LESSON[name]


def test_each_section_that_the_plan_names_is_there():
    named = re.findall(r"\b(0\d|page),\s+\"([^\"]+)\"", PLAN)
    assert len(named) >= 20 and {"00", "01", "page"} <= {where for where, _ in named}
    for where, title in named:
        if where == "page":
            assert f">{title}</h2>" in PAGE, f"the page has no section {title!r}"
        else:
            assert title in headings(prose(lesson(where))), f"{where} has no section {title!r}"
    others = {number for number in re.findall(r"\b0\d\b", PLAN)}
    assert all(lesson(number) for number in others)


def test_the_plan_promises_what_the_lessons_promise():
    promised = tool.RANGE.findall(" ".join(PLAN.split()))
    assert len(promised) == len(re.findall(r"`:\s-?\d", PLAN)) >= 6
    code = "\n".join(c.source for name in LESSONS for c in LESSON[name].cells)
    kept = {tuple(map(float, pair)) for pair in re.findall(r"\((-?[\d.]+), (-?[\d.]+)\)", code)}
    assert {(float(low), float(high)) for _, low, high in promised} <= kept


def test_the_sections_of_01_that_the_plan_runs_need_no_other():
    """The last prediction skips ahead: its cells use names of the sections run before it alone."""
    places = " ".join(row[-1] for row in rows(PLAN, "minute"))
    run = set(re.findall(r"01, \"([^\"]+)\"", places))
    assert "When does guidance lose no modes?" in run
    taken, code = True, ""
    for cell in lesson("01").cells[1:]:
        if cell.cell_type == "code" and taken:
            code += cell.source + "\n"
        elif cell.cell_type == "markdown":
            for title in headings(cell.source):
                taken = title in run
    assert "contrast" in code and "TwoGaussians" not in code
    rules = ["ruff", "check", "--isolated", "--select", "F821", "-"]
    found = subprocess.run(
        [sys.executable, "-m", *rules], input=code, capture_output=True, text=True, encoding="utf-8"
    )
    assert found.returncode == 0, found.stdout


def test_the_plan_is_one_page_and_fills_the_hour():
    assert len(PLAN.splitlines()) <= 80
    spans = [tuple(map(int, row[0].split("-"))) for row in rows(PLAN, "minute")]
    assert spans[0][0] == 0 and spans[-1][1] == 60
    assert [end for _, end in spans[:-1]] == [begin for begin, _ in spans[1:]]
    assert all(begin < end for begin, end in spans)
