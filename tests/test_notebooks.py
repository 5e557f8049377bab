"""The notebooks: their shape, their copies, and that they run; and the tool that makes them."""

import base64
import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("notebook_tool", ROOT / "tools" / "notebooks.py")
assert spec and spec.loader
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

SOURCES = {path.stem: path for path in tool.sources()}
LESSONS = [name for name in SOURCES if name[0].isdigit()]
WRITTEN = [(name, copy) for name, source in SOURCES.items() for copy in tool.copies(source)]


@pytest.fixture(params=SOURCES)
def source(request):
    """Each source, a lesson's or a page's."""
    return SOURCES[request.param]


@pytest.fixture(params=LESSONS)
def lesson(request):
    """Each source of a lesson."""
    return SOURCES[request.param]


@pytest.fixture(params=WRITTEN, ids="-".join)
def written(request):
    """Each notebook that is written: its source, and which copy it is."""
    name, copy = request.param
    return SOURCES[name], copy


@pytest.fixture
def kept(written):
    return nbformat.read(tool.target(*written), as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert {"01_mixtures", "02_images"} <= set(LESSONS)
    assert "index" in set(SOURCES) - set(LESSONS)


def test_a_page_has_one_copy_and_a_lesson_two():
    assert {("index", "student"), ("01_mixtures", "student"), ("01_mixtures", "solved")} <= {
        *WRITTEN
    }
    assert ("index", "solved") not in WRITTEN
    folder = ROOT / "notebooks" / "solutions"
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == sorted(LESSONS)


def test_a_lesson_opens_and_closes_as_all_do(lesson):
    cells = tool.build(lesson, "student").cells
    first, last = cells[0].source, cells[-1].source
    assert first.startswith("# ") and "The claim" in first and "you can" in first
    assert "minute" in first and "you need" in first
    for part in ("## Take away", "1. ", "2. ", "3. ", "**Limits.**", "**What next.**"):
        assert part in last
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for part in ("control that must fail", "## Play", "Predict"):
        assert part in prose, f"{lesson.stem} has no {part}"


def test_the_minutes_are_those_of_words_code_and_exercises(lesson):
    """200 words and one minute of code each count one minute, what is to be written two."""
    cells = tool.build(lesson, "student").cells
    (stated,) = re.findall(
        r"\| time \| (.+?) minutes to work through; .*? (\S+) minutes? ", cells[0].source + " "
    )
    minutes = [float(number) for number in re.findall(r"\d+", stated[0])]
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    stubs = sum(
        "NotImplementedError" in cell.source for cell in code(tool.build(lesson, "student"))
    )
    counted = words / 200 + float(stated[1]) + 2 * stubs
    assert sum(minutes) / len(minutes) == pytest.approx(counted, rel=0.25), f"{counted:.0f} minutes"
    assert max(minutes) <= 45


def test_the_first_code_cell_is_the_same_everywhere(source):
    first = code(tool.build(source, "student"))[0].source
    assert "sys.executable" in first and "SystemExit" in first
    assert first == code(tool.build(SOURCES["00_start_here"], "student"))[0].source


def test_a_cell_is_short(written):
    for cell in code(tool.build(*written)):
        assert len(cell.source.splitlines()) < 15, cell.source


def test_each_exercise_is_cut_and_checked(lesson):
    student = [cell.source for cell in code(tool.build(lesson, "student"))]
    solved = [cell.source for cell in code(tool.build(lesson, "solved"))]
    stubs = [i for i, cell in enumerate(student) if "NotImplementedError" in cell]
    assert len(stubs) >= 2
    for i in stubs:
        assert tool.CHECK.match(student[i + 1]), f"no check follows\n{student[i]}"
        assert "NotImplementedError" not in solved[i] and "SOLUTION" not in solved[i]
    assert [a for i, a in enumerate(student) if i not in stubs] == [
        b for i, b in enumerate(solved) if i not in stubs
    ]
    assert len(stubs) == sum(bool(tool.CHECK.search(cell)) for cell in student)


@pytest.mark.parametrize("page", sorted(set(SOURCES) - set(LESSONS)))
def test_a_page_has_no_exercise(page):
    text = SOURCES[page].read_text(encoding="utf-8")
    assert not tool.SOLUTION.search(text) and not tool.CHECK.search(text)


def test_each_stub_fails_as_it_should(lesson):
    for cell in code(tool.build(lesson, "student")):
        if "NotImplementedError" in cell.source:
            space: dict = {}
            exec(cell.source, space)
            (stub,) = (thing for name, thing in space.items() if name.startswith("my_"))
            with pytest.raises(NotImplementedError):
                stub(*[None] * stub.__code__.co_argcount)


def test_nothing_is_imported_that_is_not_used(source, tmp_path):
    path = tmp_path / "built.ipynb"
    tool.write(tool.build(source, tool.copies(source)[-1]), path)
    rules = ["ruff", "check", "--isolated", "--select", "F401,F811,F821", str(path)]
    run = subprocess.run([sys.executable, "-m", *rules], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_the_kept_copy_is_of_this_source(written, kept):
    fresh = tool.build(*written)
    assert [(c.cell_type, c.source) for c in kept.cells] == [
        (c.cell_type, c.source) for c in fresh.cells
    ]


def test_the_kept_copy_reads_well_where_nothing_runs(written, kept):
    source, copy = written
    assert tool.faults(kept, copy) == []
    assert tool.target(source, copy).stat().st_size < tool.MOST_SIZE * 1e6
    assert "widgets" not in kept.metadata
    assert "jupyter.widget" not in nbformat.writes(kept), "a view or a state without its kernel"
    assert all(cell.metadata == {} for cell in kept.cells)
    pictures = 0
    for cell, after in zip(kept.cells, kept.cells[1:], strict=False):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            pictures += 1
            assert after.source.startswith("*Figure"), f"no alt text under\n{cell.source}"
    assert pictures >= (4 if source.stem in LESSONS else 0)
    assert str(ROOT) not in nbformat.writes(kept) and sys.prefix not in nbformat.writes(kept)


def test_all_notebooks_run_as_they_are_kept():
    command = [sys.executable, str(ROOT / "tools" / "notebooks.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr


# The tool itself, on notebooks made here.


def printed(text, source="1", name="stdout"):
    return new_code_cell(source, outputs=[new_output("stream", name=name, text=text)])


def test_a_solution_is_cut_at_its_own_indent(tmp_path):
    path = tmp_path / "09_test.py"
    path.write_text(
        "# %% [markdown]\n# Title\n\n# %%\ndef my_sum(a):\n    # BEGIN SOLUTION\n    b = a\n\n"
        "    return b\n    # END SOLUTION\n",
        encoding="utf-8",
    )
    assert tool.build(path, "student").cells[1].source == (
        'def my_sum(a):\n    raise NotImplementedError("your turn")'
    )
    assert tool.build(path, "solved").cells[1].source == "def my_sum(a):\n    b = a\n\n    return b"


@pytest.mark.parametrize(
    "above, aside",
    [("# Title", ["This cell " + tool.ASIDE]), ("# Title\n#\n# The first cell " + tool.ASIDE, [])],
)
def test_the_import_becomes_the_first_cell(above, aside, tmp_path):
    path = tmp_path / "page.py"
    later = "import torch"
    path.write_text(
        f"# %% [markdown]\n# {above}\n\n# %%\n{tool.IMPORT}\n\n# %%\n{later}\n", encoding="utf-8"
    )
    cells = tool.build(path, "student").cells
    assert [cell.source for cell in cells[1:]] == [*aside, tool.FIRST, later]
    assert [cell.id for cell in cells] == [f"cell-{i:02d}" for i in range(len(cells))]


@pytest.mark.parametrize(
    "cell, said",
    [
        (new_code_cell("1", outputs=[new_output("error", ename="E", evalue="bad")]), "bad"),
        (printed("careful", name="stderr"), "careful"),
        (printed("Unexpected: modes is 2, not from 3 to 4."), "modes is 2, not from 3 to 4"),
        (printed("guide: Wrong sign", "ct.check.guide(f)"), "a check said"),
        (printed("share 0.9"), "share is 0.9, not from 0.1 to 0.2"),
        (printed("other 0.15"), "prints a number after 'share'"),
    ],
)
def test_a_fault_is_said(cell, said):
    notebook = new_notebook(cells=[cell, new_markdown_cell("You see `share`: 0.1 to 0.2.")])
    assert any(said in fault for fault in tool.faults(notebook, "solved"))


def test_a_promise_is_kept_over_the_end_of_a_line():
    promise = new_markdown_cell("You see `share`:\n0.1\nto 0.2.")
    found = tool.faults(new_notebook(cells=[printed("share 0.9"), promise]), "solved")
    assert found and "not from 0.1 to 0.2" in found[0]


def test_what_is_promised_and_kept_is_no_fault():
    cells = [printed("share 0.15"), new_markdown_cell("You see `share`: 0.1 to 0.2.")]
    cells += [printed("guide: Right.", "ct.check.guide(f)")]
    assert tool.faults(new_notebook(cells=cells), "solved") == []
    assert len(tool.faults(new_notebook(cells=cells), "student")) == 1


@pytest.mark.parametrize(
    "change, said",
    [
        (printed("found 3 modes"), None),
        (printed("found 3 ships"), "outputs were"),
        (printed("found 2 modes", source="2"), "the source has changed"),
        (new_code_cell("1"), "outputs were"),
    ],
)
def test_a_difference_is_said(change, said):
    kept, fresh = new_notebook(cells=[printed("found 2 modes")]), new_notebook(cells=[change])
    found = tool.differences(kept, fresh)
    assert (found == []) if said is None else (said in found[0])
    assert "cells are kept" in tool.differences(kept, new_notebook())[0]


def test_what_differs_from_run_to_run_is_taken_out():
    bar = (
        "\rtraining:  50%|##  | 1/2 [00:01<00:01, 1.0it/s]\rtraining: 100%|####| 2/2 [00:02<00:00, "
    )
    cell = printed(bar + "1.0it/s, loss 0.5]\n", name="stderr")
    cell.outputs += [new_output("stream", name="stdout", text=f"at {sys.executable}\n")]
    cell.metadata = nbformat.from_dict({"execution": {"iopub.execute_input": "2020"}})
    notebook = new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    tool.tidy(notebook)
    (output,) = notebook.cells[0].outputs
    assert output.text == "training: 100%|####| 2/2 loss 0.5\nat .../python\n"
    assert output.name == "stdout"
    assert notebook.cells[0].metadata == {} and notebook.metadata == {}


def picture(size=(3, 2)):
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    "twin", [{"image/png": picture()}, {"text/markdown": "**A?**\n\n- yes\n- no"}]
)
@pytest.mark.parametrize("kind", ["execute_result", "display_data"])
def test_a_widget_leaves_its_twin(twin, kind):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a1", "version_major": 2}}
    data = {"text/plain": "Explorer of mixtures"} | twin | view
    numbered = {"execution_count": 7} if kind == "execute_result" else {}
    notebook = new_notebook(
        cells=[new_code_cell("1", outputs=[new_output(kind, data, **numbered)])]
    )
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    tool.tidy(notebook)
    (output,) = notebook.cells[0].outputs
    assert set(output.data) == {"text/plain"} | set(twin)
    assert output.data["text/plain"] == "Explorer of mixtures"
    assert output.data.get("text/markdown") == twin.get("text/markdown")
    if "image/png" in twin:
        kept = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        assert kept.size == (3, 2) and kept.convert("RGB").getpixel((1, 1)) == (255, 0, 0)
    assert output.get("execution_count") == (1 if numbered else None)
    assert "jupyter.widget" not in nbformat.writes(notebook)


def test_a_warning_is_not_taken_for_progress():
    notebook = new_notebook(cells=[printed("UserWarning: 100% wrong\n", name="stderr")])
    tool.tidy(notebook)
    assert tool.faults(notebook, "solved") == ["cell 0: UserWarning: 100% wrong\n"]


def test_a_notebook_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match="No notebook is called '99'"):
        tool.sources(["99"])


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    tool.write(new_notebook(cells=[printed("good")]), path)
    before = path.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tool.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        tool.write(new_notebook(), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
