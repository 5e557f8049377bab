"""The shape of the project: rooms, size, what is loaded and what is never written down."""

import ast
import contextlib
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from toys import loaded

from cfg_tutorial.app.page import SCRIPTS

architecture = loaded("tools/architecture.py")
ROOMS = architecture.ROOMS
MOST = 450  # lines: a module with more holds two ideas
HEAVY = ["transformers", "sklearn", "pandas", "matplotlib", "ipywidgets", "torchaudio"]
HEAVY += ["soundfile", "IPython", "scipy"]


@pytest.fixture(scope="module")
def modules() -> dict[Path, ast.Module]:
    return architecture.modules()


def leftward(room: str, tree: ast.Module) -> list[str]:
    """Return the rooms that a module of `room` imports and that do not lie to its left."""
    rooms = map(architecture.leads_to, architecture.imports(tree))
    return [r for r in rooms if r != room and ROOMS.index(r) >= ROOMS.index(room)]


def test_rooms_import_only_to_the_left(root, modules):
    for path, tree in modules.items():
        room = architecture.room(path)
        if room != "__init__":
            assert room in ROOMS, f"{path} is in no room; give it its place in ROOMS"
            assert leftward(room, tree) == [], f"{path} imports from its right"


@pytest.mark.parametrize(
    "line, wrong",
    [
        ("from cfg_tutorial.guidance import guide", []),
        ("import torch", []),
        ("from cfg_tutorial.domains.base import Domain", ["domains"]),
        ("import cfg_tutorial.sweep", ["sweep"]),
        ("from cfg_tutorial import plots", ["plots"]),
        ("import cfg_tutorial as ct", ["app"]),
        ("from cfg_tutorial import guided", ["app"]),
        ("def late():\n    from cfg_tutorial.app.atlas import main", ["app"]),
    ],
)
def test_an_import_from_the_right_is_seen(line, wrong):
    assert leftward("samplers", ast.parse(line)) == wrong


def test_the_picture_of_the_rooms_is_of_this_code(root):
    text = architecture.PAGE.read_text(encoding="utf-8")
    assert architecture.TABLE.search(text).group() == architecture.table()


def test_the_page_of_faults_is_of_these_tests():
    reliability = loaded("tools/reliability.py")
    assert reliability.PAGE.read_text(encoding="utf-8") == reliability.page()


def test_each_module_says_first_what_it_does(root, modules):
    sizes = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in modules}
    for path, tree in modules.items():
        print(f"{sizes[path]:5} {path.relative_to(root)}")
        text = ast.get_docstring(tree, clean=False) or ""
        assert len(text.split("\n")[0].split()) >= 4, f"{path} needs a first line that says it all"
        assert sizes[path] <= MOST, f"{path} holds two ideas"
    print(f"{sum(sizes.values()):5} lines in the package; the aim is 5,800")


def test_each_module_of_the_page_has_one_purpose_and_says_it(root):
    folder = root / "cfg_tutorial" / "app" / "page"
    found = {path.stem for path in folder.glob("*.js")}
    assert found == set(SCRIPTS), "SCRIPTS in app/page.py puts them together"
    for path in sorted(folder.iterdir()):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert max(map(len, lines)) < 100, f"{path.name} has a long line"
        if path.suffix == ".js":
            assert len(lines) < 200, f"{path.name} has two purposes"
            assert re.match(r"// \w+.*\. Knows? nothing of ", lines[0]), path.name


@pytest.mark.parametrize("name", ["cfg_tutorial", "cfg_tutorial.app.cli"])
def test_import_loads_no_heavy_library(root, name):
    code = f"import sys, {name}; print(*(n for n in {HEAVY} if n in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def strings(tree: ast.Module):
    """Yield each string of a module with the function around it, but no docstring."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    owner = {}
    for node in ast.walk(tree):  # outer functions first, so the innermost one stays
        if isinstance(node, ast.FunctionDef):
            owner |= {id(inner): node.name for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value, owner.get(id(node), "")


def test_the_name_of_the_device_stands_in_one_helper(root, project_files):
    places = set()
    for path in project_files:
        if path.suffix == ".py" and path.parent != root / "tests":
            for text, function in strings(ast.parse(path.read_text(encoding="utf-8"))):
                if re.match(r"cuda\b", text):
                    places.add((str(path.relative_to(root)), function))
    assert len(places) <= 1


def test_strings_are_found_with_their_function():
    tree = ast.parse('"""cuda"""\ndef f():\n    "cuda"\n    return g("cuda")\nx = "cuda:0"')
    assert sorted(strings(tree)) == [("cuda", "f"), ("cuda:0", "")]


PACKAGE_INDEX = re.compile(
    r"index[-_]url|find[-_]links|trusted[-_]host|://[^\s\"')]*/simple\b|://[^\s\"')]*@",
    re.IGNORECASE,
)


def test_no_file_names_a_package_index(root, project_files):
    assert root / "pyproject.toml" in project_files
    for path in project_files:
        if path.suffix not in {".npz", ".safetensors", ".png", ".ipynb"}:
            found = PACKAGE_INDEX.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path} names an index: {found}"


@pytest.mark.parametrize(
    "line", ["pip install --extra-index" + "-url x", "https:" + "//host.org/simple/torch"]
)
def test_a_package_index_is_seen(line):
    assert PACKAGE_INDEX.search(line)


def test_no_test_opens_a_connection():
    with socket.socket() as one, pytest.raises(Exception, match="opens no connection"):
        one.connect(("192.0.2.1", 80))
    with pytest.raises(Exception, match="looks up no other machine"):
        socket.create_connection(("example.org", 80))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_may_be_asked(host):
    with socket.socket() as one, contextlib.suppress(OSError):  # where nobody answers
        one.connect((host, 9))
