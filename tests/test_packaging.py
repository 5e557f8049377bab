"""What is installed: the files that list dependencies agree, and the wheel works by itself."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

CONDA_NAMES = {"matplotlib-base": "matplotlib", "pysoundfile": "soundfile"}


@pytest.fixture(scope="module")
def project(root) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def everything(project) -> list[Requirement]:
    """What the base install and every extra need."""
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for lines in lists for line in lines]


def bounds(lines) -> dict[str, str]:
    """Return name -> specifier of requirement lines."""
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): str(r.specifier) for r in found}


def test_dependencies_have_a_lower_bound_and_no_other(everything):
    for requirement in everything:
        operators = [part.operator for part in requirement.specifier]
        assert operators == [">="], f"{requirement} needs one lower bound and nothing else"
        assert requirement.url is None


def test_torch_and_torchaudio_are_direct_dependencies(project):
    assert {"torch", "torchaudio"} <= set(bounds(project["dependencies"]))


def test_environment_file_agrees_with_pyproject(root, project):
    listed = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (from_pip,) = [part["pip"] for part in listed if isinstance(part, dict)]
    conda = bounds(line for line in listed if isinstance(line, str) and line != "pip")
    conda = {CONDA_NAMES.get(name, name): bound for name, bound in conda.items()}
    assert conda.pop("python") == project["requires-python"]
    lab = bounds(project["optional-dependencies"]["lab"])
    assert conda | bounds(line for line in from_pip if line != "-e .") == (
        bounds(project["dependencies"]) | lab
    )
    assert "-e ." in from_pip


def test_constraints_pin_every_dependency_within_its_bounds(root, everything):
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    assert not any(name.startswith(("nvidia-", "cuda-", "triton")) for name in pins)
    for requirement in everything:
        assert Version(pins[canonicalize_name(requirement.name)]) in requirement.specifier


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_pinned_releases_run_on_every_python(root, python):
    """A pin that asks for 3.11.5, say, would keep Debian's own Python out."""
    checked = 0
    for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, pin = line.partition("==")
        for found in distributions(name=name) if pin else []:
            if found.version == pin:
                asks = found.metadata.get("Requires-Python") or ""
                assert SpecifierSet(asks).contains(python), f"{line} needs Python {asks}"
                checked += 1
    assert checked >= 50


def test_ruff_asks_for_encodings(root, tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def read(path):\n    with open(path) as f:\n        return f.read()\n", "utf-8")
    command = ["ruff", "check", "--config", root / "pyproject.toml", "--output-format=concise", bad]
    run = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert run.returncode == 1
    assert "PLW1514" in run.stdout or "unspecified-encoding" in run.stdout


def pip(*arguments, cwd):
    """Run pip with no network, none of the machine's settings, and no build tools but ours."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [sys.executable, "-m", "pip", *arguments]
    run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module")
def source(root, project_files, tmp_path_factory):
    """A copy of the project's files, to build from."""
    folder = tmp_path_factory.mktemp("source")
    for path in project_files:
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel, built from a copy of the project's files."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    pip("wheel", *offline, "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package_and_its_data_and_nothing_else(root, project_files, wheel):
    def ships(path):
        inside = path.relative_to(root).parts
        if inside[0] == "data":
            return len(inside) == 2
        return inside[0] == "cfg_tutorial" or inside == ("notebooks", "playground.ipynb")

    expected = {path.relative_to(root).as_posix() for path in project_files if ships(path)}
    outside = ("data/", "notebooks/")
    expected = {f"cfg_tutorial/{n}" if n.startswith(outside) else n for n in expected}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected


def test_wheel_carries_licences_and_the_command(wheel):
    archive = zipfile.ZipFile(wheel)
    names = {name.split("/", 1)[1]: name for name in archive.namelist() if ".dist-info/" in name}
    assert {"licenses/LICENSE", "licenses/LICENSE-lessons"} <= set(names)
    entry = archive.read(names["entry_points.txt"]).decode()
    assert "cfg-tutorial = cfg_tutorial.app.cli:main" in entry


OPEN_EACH = """
import pathlib
import cfg_tutorial as ct
package = pathlib.Path(ct.__file__).parent
print(package)
kinds = {"prompt": "prompt", "left": "autoregressive"}
for path in sorted((package / "data").glob("*.safetensors")):
    name, *rest = path.stem.split("-")
    model = ct.load(name, **{kinds[kind]: True for kind in rest}).pretrained()
    print(path.stem, model.num_classes)
"""


def test_installed_wheel_opens_each_checkpoint_in_an_empty_folder(root, wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip("install", "--no-index", "--no-deps", "--target", site, wheel, cwd=empty)
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["CFG_TUTORIAL_CACHE"] = str(empty / "cache")
    command = [sys.executable, "-c", OPEN_EACH]
    run = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    package, *opened = run.stdout.splitlines()
    assert package == str(site / "cfg_tutorial"), "the package under test is not the wheel's"
    shipped = sorted((root / "data").glob("*.safetensors"))
    assert {"mixtures", "images", "text", "text-prompt", "text-left", "audio"} <= {
        path.stem for path in shipped
    }
    assert [line.split()[0] for line in opened] == [path.stem for path in shipped]
    for path in shipped:
        copy = site / "cfg_tutorial" / "data" / path.name
        assert digest(copy) == digest(path)
    assert list(empty.iterdir()) == [], "opening a shipped checkpoint leaves nothing behind"


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_person_finds_the_licences(root):
    licence = (root / "LICENSE").read_text(encoding="utf-8")
    assert "MIT License" in licence and "LICENSE-lessons" in licence
    assert "creativecommons.org/licenses/by/4.0" in (root / "LICENSE-lessons").read_text("utf-8")


# The first code cell of a notebook, where something is missing.

BEFORE = """
import json, sys


class Absent:
    def find_spec(name, path=None, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


places, absent = json.loads(sys.argv[1])
sys.path[:0] = places
sys.meta_path.insert(0, Absent)
"""


def python(code, places, absent=(), *, cwd):
    """Run code in a Python with no packages but those in ``places``, less the ``absent`` ones."""
    given = json.dumps([[str(place) for place in places], absent])
    command = [sys.executable, "-S", "-I", "-c", BEFORE + code, given]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def others() -> list[str]:
    """Where the packages of this Python are, torch among them."""
    return [place for place in sys.path if place]


@pytest.fixture(scope="module")
def first_cell(root) -> str:
    text = (root / "notebooks" / "01_mixtures.ipynb").read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "".join(cells[0]["source"])


def remedy(run) -> str:
    """Return what a cell that stopped says to install; it named the interpreter first."""
    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stdout == f"Python {sys.version.split()[0]} at {sys.executable}\n"
    said = r"No .+\. Run  %pip install (.+)  in a new cell, then restart\.\n"
    assert re.fullmatch(said, run.stderr), run.stderr
    return re.fullmatch(said, run.stderr)[1]


@pytest.mark.parametrize("folder, project", [("notebooks", ".."), ("notebooks/solutions", "../..")])
def test_where_the_package_is_missing_the_first_cell_says_so(
    root, first_cell, others, folder, project
):
    stopped = python(first_cell, others, ["cfg_tutorial"], cwd=root / folder)
    assert remedy(stopped) == f"--no-deps {project}", "torch is here, and must stay as it is"
    for places in ([], [root]):
        assert remedy(python(first_cell, places, cwd=root / folder)) == project


def test_where_a_requirement_is_missing_the_first_cell_names_it(root, first_cell, others):
    stopped = python(first_cell, [root, *others], ["safetensors"], cwd=root / "notebooks")
    assert remedy(stopped) == "safetensors"


NO_METADATA = """
import importlib.metadata


def version(name, real=importlib.metadata.version):
    if name == "cfg-tutorial":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)


importlib.metadata.version = version
"""


def test_where_the_package_is_found_but_not_installed_it_is_installed(root, first_cell, others):
    stopped = python(NO_METADATA + first_cell, [root, *others], cwd=root / "notebooks")
    assert remedy(stopped) == "--no-deps ..", "never a package of this name from elsewhere"


def test_where_nothing_is_missing_the_first_cell_goes_on(root, first_cell, others):
    run = python(first_cell + "\nprint(ct.guided)", [root, *others], cwd=root / "notebooks")
    assert run.returncode == 0 and "function guided" in run.stdout, run.stderr


def test_the_remedy_of_the_first_cell_leaves_torch_alone(source, first_cell, others, tmp_path):
    folder, site = source / "notebooks", tmp_path / "site"
    asked = shlex.split(remedy(python(first_cell, others, ["cfg_tutorial"], cwd=folder)))
    offline = ["--no-index", "--no-build-isolation", "--target", site]
    pip("install", *asked, *offline, cwd=folder)
    new = {path.name.partition("-")[0] for path in site.iterdir()}
    assert new - {"bin"} == {"cfg_tutorial"}
    look = "import torch, {}; print(torch.__version__, torch.__file__, {}.__file__)"
    before = python(look.format("json", "json"), others, ["cfg_tutorial"], cwd=folder).stdout
    after = python(look.format("cfg_tutorial", "cfg_tutorial"), [site, *others], cwd=folder).stdout
    assert after.split()[:2] == before.split()[:2] and len(before.split()) == 3
    assert after.split()[2] == str(site / "cfg_tutorial" / "__init__.py")
