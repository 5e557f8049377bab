"""The doctor and the command line: each requirement, met and missed."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from cfg_tutorial import files
from cfg_tutorial.app import cli, doctor


def problems(check) -> list[str]:
    return [text for good, text, _ in check() if not good]


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("2.14.1", [2, 14, 1]),
        ("2.11.0+cpu", [2, 11]),
        ("5.0.0", [5]),
        ("3.0rc1", [3]),
        ("10", [10]),
    ],
)
def test_release(text, numbers):
    assert doctor.release(text) == numbers


def test_release_of_a_missing_package_is_below_every_bound():
    assert doctor.release("is missing") < doctor.release("0.1")


def test_every_dependency_has_its_line_and_is_new_enough():
    found = list(doctor.packages())
    assert {text.split()[0] for _, text, _ in found} >= {"torch", "torchaudio", "scikit-learn"}
    assert problems(doctor.packages) == []
    assert not any("pytest" in text for _, text, _ in found)


def test_an_old_and_a_missing_package_are_problems(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["old>=1.10", "pip>=1", "no-such-name>=2.0"])
    monkeypatch.setattr(
        doctor, "version", lambda n: {"old": "1.9.2", "pip": "1.0"}.get(n) or gone(n)
    )
    bad = [(text, remedy) for good, text, remedy in doctor.packages() if not good]
    assert [text for text, _ in bad] == [
        "old 1.9.2 (1.10 or newer)",
        "no-such-name is missing (2.0 or newer)",
    ]
    assert bad[0][1].endswith('-m pip install "old>=1.10"')


def gone(name):
    raise doctor.PackageNotFoundError(name)


def test_torchaudio_loads_here():
    assert problems(doctor.audio) == []


def test_a_crash_of_torchaudio_does_not_end_the_doctor(monkeypatch):
    monkeypatch.setattr(doctor, "PAIR", "import os; os.abort()")
    (good, text, remedy), *_ = doctor.audio()
    assert not good and "torchaudio" in remedy
    assert doctor.installed("torch") in text and doctor.installed("torchaudio") in text


def test_an_error_of_torchaudio_is_quoted(monkeypatch):
    monkeypatch.setattr(doctor, "PAIR", "raise OSError('undefined symbol')")
    assert "undefined symbol" in problems(doctor.audio)[0]


def test_a_small_machine_has_three_problems(monkeypatch):
    import psutil

    gib = 2**30
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 2))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2.9 * gib))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0.9 * gib))
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0}, raising=False)
    found = problems(doctor.machine)
    assert [text.split()[0] for text in found] == ["Python", "cores:", "memory", "disk"]
    assert "2.9 GiB" in found[2]


def test_a_roomy_machine_has_none(monkeypatch):
    import psutil

    gib = 2**30
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4 * gib))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * gib))
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(doctor.Path, "exists", lambda _: False)  # no limit on this container
    assert problems(doctor.machine) == []


@pytest.mark.parametrize(
    "command, good",
    [
        ("python", True),
        ("python3.12", True),
        (sys.executable, True),
        ("/elsewhere/bin/python3", False),
    ],
)
def test_kernel(monkeypatch, command, good):
    from jupyter_client.kernelspec import KernelSpecManager

    spec = SimpleNamespace(argv=[command, "-m", "ipykernel_launcher"])
    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda *_: spec)
    assert [found[0] for found in doctor.kernel()] == [good]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with two whole files."""
    save_file({"weight": np.zeros(3, dtype=np.float32)}, tmp_path / "net.safetensors")
    (tmp_path / "photos.npz").write_bytes(b"photos")
    names = ["net.safetensors", "photos.npz"]
    sums = [f"{hashlib.sha256((tmp_path / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (tmp_path / "checksums.txt").write_text("".join(sums), encoding="utf-8")
    monkeypatch.setattr(doctor, "DATA", tmp_path)
    return tmp_path


def test_whole_files_pass(data):
    assert [good for good, _, _ in doctor.shipped()] == [True, True]


def test_a_changed_file_is_a_problem(data):
    (data / "photos.npz").write_bytes(b"other")
    assert problems(doctor.shipped) == ["data/photos.npz differs from its checksum, or has none"]


def test_a_missing_and_an_unlisted_file_are_problems(data):
    (data / "net.safetensors").rename(data / "other.safetensors")
    found = problems(doctor.shipped)
    assert len(found) == 2
    assert "net.safetensors does not open" in found[0] and "other.safetensors" in found[1]


def test_a_truncated_checkpoint_is_a_problem_even_with_its_checksum(data):
    path = data / "net.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    (data / "checksums.txt").write_text(f"{checksum}  {path.name}\n", encoding="utf-8")
    assert "does not open" in problems(doctor.shipped)[0]


def test_the_shipped_files_are_whole_and_all_listed(root):
    found = list(doctor.shipped())
    assert [text for good, text, _ in found if not good] == []
    listed = {text.split()[0] for _, text, _ in found}
    assert listed >= {"data/mixtures.safetensors", "data/images.safetensors", "data/fashion16.npz"}


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CFG_TUTORIAL_CACHE", str(tmp_path / "not" / "yet"))
    assert problems(doctor.writable) == []
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    assert len(problems(doctor.writable)) == 2


def test_main_prints_a_line_for_each_and_counts(monkeypatch, capsys):
    def well():
        yield True, "fine", "nothing"

    def ill():
        yield False, "old", "renew it"

    def broken():
        raise RuntimeError("no idea")

    checks = dict(
        machine=well, packages=ill, audio=broken, kernel=well, shipped=well, writable=well
    )
    for name, check in checks.items():
        monkeypatch.setattr(doctor, name, check)
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "[problem] old -> renew it"
    assert lines[2].startswith("[problem] broken: no idea -> ")
    assert lines[-1] == "problems: 2" and lines.count("[ok] fine") == 4
    monkeypatch.setattr(doctor, "packages", well)
    monkeypatch.setattr(doctor, "audio", well)
    assert cli.main(["doctor"]) == 0


def test_doctor_runs_without_the_package(root, tmp_path):
    path = root / "cfg_tutorial" / "app" / "doctor.py"
    run = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True)
    assert run.stderr == ""
    assert all(
        line.startswith(("[ok] ", "[problem] ", "problems: ")) for line in run.stdout.splitlines()
    )
    assert run.returncode == int("[problem]" in run.stdout)


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"cfg-tutorial {doctor.version('cfg-tutorial')}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["atlsa"], ["atlas", "--seeds", "0"], ["atlas", "--workers", "two"]]
)
def test_wrong_arguments_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: cfg-tutorial" in capsys.readouterr().err


def test_atlas_hands_its_arguments_on(monkeypatch):
    seen = []
    fake = SimpleNamespace(main=lambda args: seen.append(args))
    monkeypatch.setitem(sys.modules, "cfg_tutorial.app.atlas", fake)
    monkeypatch.setattr("cfg_tutorial.app.atlas", fake, raising=False)
    command = "atlas --out pictures --domains mixtures images --seeds 2 --samples 100 --quick"
    assert cli.main([*command.split(), "--workers", "1"]) == 0
    (args,) = seen
    assert (args.out, args.domains, args.seeds) == ("pictures", ["mixtures", "images"], 2)
    assert (args.samples, args.quick, args.workers) == (100, True, 1)


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from cfg_tutorial.app.cli import main
sys.exit(main({arguments!r}))
"""


def without(names, *arguments, **environment):
    """Run the command where some packages cannot be found."""
    code = BLOCKED.format(names=set(names), arguments=list(arguments))
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize("name", ["numpy", "tqdm", "safetensors", "torch", "psutil", "filelock"])
def test_the_doctor_runs_without_what_it_looks_for(name):
    """Without a package the doctor names it, and a remedy; all else it finds as it is.

    Before: a traceback, since the command imported the package first.
    """
    run = without([name], "doctor")
    bad = [line for line in run.stdout.splitlines() if line.startswith("[problem]")]
    assert run.returncode == 1 and run.stderr == ""
    assert any(re.search(rf"^\[problem\] {name} .* -> .*-m pip install .*{name}", b) for b in bad)
    assert all(name in line or "torchaudio" in line for line in bad)
    assert "once more" not in run.stdout and run.stdout.endswith(f"problems: {len(bad)}\n")


def test_other_commands_send_to_the_doctor():
    """Without a package an atlas is one line that names it and the doctor.

    Before: a traceback.
    """
    run = without(["safetensors"], "atlas", "--quick")
    assert run.returncode == 1 and run.stdout == "" and len(run.stderr.splitlines()) == 1
    assert "No module named 'safetensors'" in run.stderr and "cfg-tutorial doctor" in run.stderr


def test_an_import_of_the_package_says_what_is_missing():
    """Whoever imports the package, and not its command, is told at once."""
    code = BLOCKED.format(names={"safetensors"}, arguments=[]).split("from cfg_tutorial")[0]
    run = subprocess.run(
        [sys.executable, "-c", code + "import cfg_tutorial"], capture_output=True, text=True
    )
    assert run.returncode == 1 and "No module named 'safetensors'" in run.stderr


def test_without_a_home_the_doctor_says_what_to_name(monkeypatch):
    """Without a home folder the doctor, and training, say to name a folder.

    Before: it said to install once more.
    """
    monkeypatch.delenv("CFG_TUTORIAL_CACHE", raising=False)

    def nowhere(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    monkeypatch.setattr(Path, "home", lambda: nowhere(None))
    found = [(text, remedy) for good, text, remedy in doctor.writable() if not good]
    assert "is nowhere" in found[-1][0] and "CFG_TUTORIAL_CACHE" in found[-1][1]
    with pytest.raises(RuntimeError, match="no home folder.*CFG_TUTORIAL_CACHE"):
        files.cache_folder()


def test_a_home_in_the_cache_folders_name_is_looked_for(monkeypatch, tmp_path):
    """The doctor looks at ~ where training does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CFG_TUTORIAL_CACHE", "~/kept")
    assert f"{tmp_path / 'kept'} can be written" in [text for _, text, _ in doctor.writable()]


def test_letters_that_a_console_lacks(tmp_path):
    """A path in letters that the console lacks is written in escapes, and judged as it is.

    Before: the doctor said to install once more, and an atlas ended in an error after its work.
    """
    folder = tmp_path / "\u0441\u043b\u043e\u0432\u043e"
    folder.mkdir()
    run = without(
        [], "doctor", CFG_TUTORIAL_CACHE=str(folder), PYTHONIOENCODING="cp1252", PYTHONUTF8="0"
    )
    line = next(line for line in run.stdout.splitlines() if "\\u0441" in line)
    assert line.startswith("[ok] ") and line.endswith("can be written") and not run.stderr


def test_a_broken_torchaudio_is_said_to_touch_text(tmp_path):
    """Where torchaudio does not load, text says so and names the doctor, who names text.

    Before: text ended in an error of another library, and the doctor spoke of sound alone.
    """
    (tmp_path / "torchaudio").mkdir()
    text = 'raise OSError("undefined symbol")'
    (tmp_path / "torchaudio" / "__init__.py").write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    run = without([], "doctor", PYTHONPATH=path)
    assert re.search(r"\[problem\] torchaudio.* so audio and text do not: .*undefined", run.stdout)
    code = 'import cfg_tutorial as ct; ct.load("text").pretrained()'
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    failed = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = "ImportError: transformers, which text needs, does not load: undefined symbol."
    assert failed.stderr.splitlines()[-1] == f"{said} `cfg-tutorial doctor` says what to do."


def test_a_folder_that_is_gone_is_said_to_be(monkeypatch):
    """In a folder that was deleted the doctor says that it is gone."""

    def gone_folder(path=None):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone_folder)
    assert "the current folder is gone: No such file or directory" in problems(doctor.machine)


def test_without_its_metadata_the_package_is_said_to_be_not_installed(monkeypatch, root):
    """In a Python in which the package is found but not installed, the doctor says so."""
    monkeypatch.setattr(doctor, "requires", gone)
    ((good, text, remedy),) = doctor.packages()
    assert not good and "not installed in this Python" in text and f'-e "{root}"' in remedy


def test_a_kernel_that_is_not_there_and_sums_that_cannot_be_read(monkeypatch, tmp_path):
    """A missing kernel, or list of checksums, is named with a remedy that helps."""
    monkeypatch.setattr(doctor, "DATA", tmp_path)
    ((good, text, _),) = doctor.shipped()
    assert not good and text.startswith("data/checksums.txt cannot be read")
    (tmp_path / "checksums.txt").write_bytes(b"\xff\xfe")
    assert not next(iter(doctor.shipped()))[0]

    def missing(self, name):
        raise KeyError(name)

    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec", missing)
    ((good, text, remedy),) = doctor.kernel()
    assert not good and "cannot be started" in text and "ipykernel install" in remedy
