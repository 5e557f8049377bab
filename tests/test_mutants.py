"""Each trap is killed: the named tests pass on the package and fail with the trap in it."""

import ast
import contextlib
import functools
import io
import warnings

import pytest
from mutants import MUTANTS, Change, Kill, Stale, trap

FAILS = (AssertionError, pytest.fail.Exception)


def call(kill: Kill, folder) -> None:
    """Run a test as pytest would, silently."""
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        kill(tmp_path=folder, monkeypatch=patch)


@functools.cache
def passed() -> dict[str, bool]:
    return {}


def passes(kill: Kill, folder) -> None:
    if repr(kill) not in passed():
        call(kill, folder)
        passed()[repr(kill)] = True


def test_each_trap_finds_its_place():
    """Said for all at once, so that those a change of the package leaves behind can be renewed."""
    stale = []
    for mutant in MUTANTS:
        try:
            _ = mutant.code
        except Stale as error:
            stale.append(str(error))
    assert not stale, "\n".join(stale)


@pytest.mark.parametrize(
    "function, old, said",
    [
        ("guyde", "scale", "guyde is in no module, not in just one"),
        ("Guided.guide", "scale", "Guided.guide is in no module, not in just one"),
        ("forward", "x", "forward is in no module, not in just one"),
        ("_draw", "x", r"_draw is in \[.*exact', 'cfg_tutorial.samplers'\], not in just one"),
        ("guide", "scale - 7", "guide has no 'scale - 7'"),
        ("guide", "return scale", "guide has no 'return scale'"),
        ("guide", "scale; cond", "guide has no 'scale; cond'"),
    ],
)
def test_a_trap_without_a_place_says_so(function, old, said):
    with pytest.raises(Stale, match=f"^'a trap': {said}$"):
        _ = trap("a trap", function, {old: "0"}).code


@pytest.mark.parametrize(
    "old, new, result",
    [
        ("a+ b", "c", "f(c)\nreturn g(c)"),
        ("f(a + b)", "g", "g\nreturn g(a + b)"),
        ("f(a + b)", "pass", "pass\nreturn g(a + b)"),
        ("f(a + b); return g(a + b)", "return a", "return a"),
        ("b", "b + b", "f(a + (b + b))\nreturn g(a + (b + b))"),
        ("return g(a + b)", "x = b; return x", "f(a + b)\nx = b\nreturn x"),
    ],
)
def test_what_equals_the_old_is_changed_whatever_its_layout(old, new, result):
    tree = ast.parse("if x:\n  f(a +\n    b)  # why\n  return g((a + b))")
    change = Change(old, new)
    change.visit(tree)
    assert change.count
    assert ast.unparse(tree.body[0].body) == result


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.trap)
def test_trap_is_killed(mutant, tmp_path_factory):
    for kill in mutant.killers:
        passes(kill, tmp_path_factory.mktemp("without"))
        with mutant.swapped_in(), pytest.raises(FAILS):
            call(kill, tmp_path_factory.mktemp("with"))


def test_a_trap_leaves_nothing_behind(tmp_path):
    for mutant in MUTANTS[:3]:
        with pytest.raises(ZeroDivisionError), mutant.swapped_in():
            raise ZeroDivisionError
        call(mutant.killers[-1], tmp_path)


def test_traps_have_names_and_killers():
    assert len({mutant.trap for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.killers for mutant in MUTANTS)


def test_no_file_of_tests_takes_anything_from_another(root):
    taken = []
    for path in (root / "tests").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [getattr(node, "module", None), *(alias.name for alias in node.names)]
                taken += [(path.name, name) for name in modules if (name or "")[:5] == "test_"]
    assert not taken, "what several tests share is in tests/toys.py"
