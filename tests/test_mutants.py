"""Each trap is killed: the named tests pass on the package and fail with the trap in it."""

import contextlib
import functools
import io
import warnings

import pytest
from mutants import MUTANTS, Kill

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
