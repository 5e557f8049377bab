"""The glossary: each term stands first in the section that the glossary leads to."""

import re
from pathlib import Path

import pytest
from toys import loaded

ROOT = Path(__file__).parents[1]
tool = loaded("tools/notebooks.py")
LESSONS = [path for path in tool.sources() if path.stem[0].isdigit()]
TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
LINK = re.compile(r'^\[(\w+), "(.+)"\]\(\.\./notebooks/(\w+)\.ipynb#(.+)\)$')
ROWS = [
    [part.strip() for part in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| **")
]
TERMS = {row[0].strip("*"): row[1:] for row in ROWS}


def sections():
    """Yield each section of prose in order: lesson, heading, text. Opening cells announce only."""
    for path in LESSONS:
        heading = ""
        for cell in tool.build(path, "student").cells[1:]:
            if cell.cell_type == "markdown":
                for part in re.split(r"(?m)^(?=#+ )", cell.source):
                    found = re.match(r"#+ (.+)", part)
                    heading = found[1] if found else heading
                    yield path.stem, heading, part


def uses(term: str, text: str) -> bool:
    """Return whether a text has a term, in the plural too, over the end of a line too."""
    word = rf"{re.escape(term[:-1])}(y|ies)" if term[-1] == "y" else rf"{re.escape(term)}(s|es)?"
    found = re.search(rf"(?<![\w-]){word}(?![\w-])", " ".join(text.split()), re.IGNORECASE)
    return found is not None


def test_the_glossary_has_terms():
    assert len(TERMS) == len(ROWS) >= 25
    assert {"guidance_scale", "mode", "mode coverage", "tilted law", "score"} <= set(TERMS)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_stands_first_where_the_glossary_leads(term):
    meaning, where = TERMS[term]
    number, title, lesson, anchor = LINK.fullmatch(where).groups()
    assert len(meaning.split()) >= 3
    assert lesson.startswith(f"{number}_") and anchor == title.replace(" ", "-")
    first = next((name, heading) for name, heading, text in sections() if uses(term, text))
    assert first == (lesson, title)
