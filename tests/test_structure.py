"""The shape of the project: rooms, size, what is loaded and what is never written down."""

import ast
import contextlib
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CORE = ["guidance", "diffusion", "samplers"]
ROOMS = [*CORE, "networks", "training", "measures", "domains", "sweep", "plots", "app"]
HEAVY = ["transformers", "sklearn", "pandas", "matplotlib", "ipywidgets", "torchaudio"]
HEAVY += ["soundfile", "IPython", "scipy"]


@pytest.fixture(scope="module")
def modules(root) -> dict[Path, ast.Module]:
    paths = sorted((root / "cfg_tutorial").rglob("*.py"))
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def leftward(room: str, tree: ast.Module) -> list[str]:
    """Return the rooms that a module of `room` imports and that do not lie to its left."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["cfg_tutorial" if node.level else "", node.module]))
            names += [f"{base}.{alias.name}" for alias in node.names]
    inside = [name.split(".") for name in names if name.split(".")[0] == "cfg_tutorial"]
    rooms = [parts[1] if len(parts) > 1 and parts[1] in ROOMS else "app" for parts in inside]
    return [r for r in rooms if r != room and ROOMS.index(r) >= ROOMS.index(room)]


def test_rooms_import_only_to_the_left(root, modules):
    for path, tree in modules.items():
        room = path.relative_to(root / "cfg_tutorial").with_suffix("").parts[0]
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


def test_each_module_says_first_what_it_does(root, modules):
    sizes = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in modules}
    for path, tree in modules.items():
        print(f"{sizes[path]:5} {path.relative_to(root)}")
        text = ast.get_docstring(tree, clean=False) or ""
        assert len(text.split("\n")[0].split()) >= 4, f"{path} needs a first line that says it all"
    print(f"{sum(sizes.values()):5} lines in the package; the aim is 3,500 with all four domains")


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
