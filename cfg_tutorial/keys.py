"""Keys: a hash of all that makes a result, functions and networks too. Knows no domain."""

import collections
import dis
import functools
import hashlib
import importlib
import inspect
import io
import operator
import random
import re
import sys
import sysconfig
import types
import typing
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cfg_tutorial.files import as_bytes

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
NAMED: tuple[Any, ...] = (torch.dtype, torch.device, torch.layout, Path, range, slice, re.Pattern)
NAMED += (types.GenericAlias, types.UnionType, typing.TypeVar, type(typing.Any | None))
IDLE = {"training", "rows_run"}  # what a network holds that says nothing of what it computes
# Functions and methods that are not written in Python: known by their names.
BUILT_IN: tuple[Any, ...] = (types.BuiltinFunctionType, types.WrapperDescriptorType)
BUILT_IN += (types.MethodDescriptorType, types.MethodWrapperType, types.ClassMethodDescriptorType)
FIELD: Any = type(collections.namedtuple("FIELD", "of").of)  # type: ignore[attr-defined]
DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType, FIELD)
TABLES = set(vars(nn.Module()))  # in which a module holds its parts

# What the interpreter adds to a class.
MADE = {"__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__annotations__"}
MADE |= {"__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"}
MADE |= {"__annotate_func__", "__annotations_cache__", "__slots__", "__match_args__"}
MADE |= {"__dataclass_params__", "__dataclass_fields__"}


class Unkeyed(TypeError):
    """Raised for a value of which no key can be made, such as an open file."""


def key_of(value: Any) -> str:
    """Return a hash of a value, the same in every process: 64 hexadecimal digits.

    Tensors, arrays and networks count with all their numbers; a function with its bytecode,
    constants, names, defaults, and the values that it closes over or finds by a global name; a
    class of one's own with its functions and attributes; a module of one's own with what is used of
    it; what is installed by its name and version. Files' names, lines and addresses do not count.

    Raises
    ------
    Unkeyed : a value that cannot be told from another of its type
    """
    try:
        return _hash(value, [])
    except Unkeyed:
        raise
    except Exception as error:  # whatever a value does when it is looked at
        raise Unkeyed(f"{type(value).__qualname__} ({type(error).__name__}: {error})") from error


def _hash(value: Any, inside: list[Any]) -> str:
    digest = hashlib.sha256()
    for part in _parts(value, inside):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts(value: Any, inside: list[Any]) -> Iterator[bytes]:
    """Yield what tells a value from others; ``inside`` are the values that hold it."""
    if any(value is one for one in inside) and not isinstance(value, PLAIN):
        yield f"held by itself {[value is one for one in inside].index(True)}".encode()
        return
    kind = type(value)
    yield f"({kind.__module__}.{kind.__qualname__}".encode()
    yield from _content_of(value, kind, [*inside, value])
    derived = isinstance(value, (*PLAIN, dict, list, tuple, set, frozenset, np.ndarray))
    if derived and not _installed(kind.__module__):  # a class of one's own, beside its base's value
        yield from _parts(kind, [*inside, value])
        yield from _parts(dict(getattr(value, "__dict__", {})), [*inside, value])
    yield b")"  # without an end [[1], 2] would be [[1, 2]]


def _content_of(value: Any, kind: type, inside: list[Any]) -> Iterator[bytes]:
    if isinstance(value, (*PLAIN, *NAMED)):
        base: Any = next((one for one in PLAIN if isinstance(value, one)), kind)
        yield base.__repr__(value).encode()
    elif isinstance(value, random.Random):
        yield from _parts(value.getstate(), inside)
    elif isinstance(value, np.ma.MaskedArray):
        yield from _parts([np.asarray(value), np.ma.getmaskarray(value)], inside)
    elif isinstance(value, np.generic):
        yield value.tobytes()
    elif isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode() + as_bytes(value)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, dict):
        if isinstance(value, collections.defaultdict):
            yield from _parts(value.default_factory, inside)
        pairs = [(_hash(name, inside), one) for name, one in value.items()]
        for name, one in sorted(pairs, key=operator.itemgetter(0)):
            yield name.encode()
            yield from _parts(one, inside)
    elif isinstance(value, list | tuple | np.ndarray):
        for one in value:
            yield from _parts(one, inside)
    elif isinstance(value, set | frozenset):
        yield from sorted(_hash(one, inside).encode() for one in value)
    elif isinstance(value, torch.Generator):
        yield from _parts(value.get_state(), inside)
    elif isinstance(value, types.ModuleType):
        yield from _module(value, None, inside)
    elif isinstance(value, functools.partial):
        yield from _parts([value.func, value.args, value.keywords], inside)
    elif isinstance(value, types.MethodType):
        yield from _parts([value.__func__, value.__self__], inside)
    elif isinstance(value, staticmethod | classmethod):
        yield from _parts(value.__func__, inside)
    elif isinstance(value, property):
        yield from _parts([value.fget, value.fset], inside)
    elif isinstance(value, functools._lru_cache_wrapper):
        yield from _parts(value.__wrapped__, inside)
    elif isinstance(value, np.ufunc):
        name = str(getattr(value, "__name__", ""))
        if getattr(np, name, None) is not value:  # of one's own
            raise Unkeyed(f"ufunc {name}")
        yield name.encode()
    elif isinstance(value, (type, types.FunctionType, *BUILT_IN)):
        yield from _code(value, inside)
    else:
        yield from _parts(kind, inside)
        yield from _parts(_state(value), inside)


def _state(value: Any) -> Any:
    """Return what an object holds."""
    if isinstance(value, io.IOBase):
        raise Unkeyed(f"{type(value).__qualname__} {str(value)[:60]}")
    if isinstance(value, nn.Module):
        return _module_state(value)
    slots = [base.__dict__.get("__slots__", ()) for base in type(value).__mro__]
    names = [name for few in slots for name in ([few] if isinstance(few, str) else few)]
    if not names and not hasattr(value, "__dict__"):
        raise Unkeyed(f"{type(value).__qualname__} {str(value)[:60]}")
    held = {n: getattr(value, n) for n in names if n not in MADE and hasattr(value, n)}
    cached = {n for n, v in inspect.getmembers_static(type(value)) if _is_cache(v)}
    return held | {n: v for n, v in getattr(value, "__dict__", {}).items() if n not in cached}


def _module_state(value: nn.Module) -> list[Any]:
    """Return what a network holds: attributes, numbers, which of them are one, parts and hooks."""
    library = _installed(type(value).__module__)
    own = {n: v for n, v in vars(value).items() if n not in TABLES and n not in IDLE}
    own = {n: v for n, v in own.items() if not (library and n.startswith("_"))}
    named = [*value.named_parameters(remove_duplicate=False)]
    first = {id(tensor): name for name, tensor in reversed(named)}
    ties = [(name, first[id(tensor)]) for name, tensor in named if first[id(tensor)] != name]
    trained = [name for name, tensor in named if tensor.requires_grad]
    hooks = [[*vars(value)[n].values()] for n in sorted(TABLES) if n.endswith("_hooks")]
    numbers = [value._parameters, value._buffers]
    return [own, numbers, [*value._modules.items()], ties, trained, hooks]


def _is_cache(value: Any) -> bool:
    return isinstance(value, functools.cached_property)


def _module(
    value: types.ModuleType,
    names: set[str] | None,
    inside: list[Any],
    through: tuple[Any, ...] = (),
) -> Iterator[bytes]:
    """Yield a module's name and version, or of one's own what ``names`` are in it, None for all.

    As it is now: its file may have been edited since it was loaded. ``through`` are the modules
    that led here: two may import each other.
    """
    yield f"{value.__name__} {_version(value.__name__)}".encode()
    if not _installed(value.__name__) and value not in through:
        held = {n: one for n, one in vars(value).items() if _is_used(n, names)}
        yield from _named(held, names, inside, (*through, value))


def _is_used(name: str, names: set[str] | None) -> bool:
    return name in names if names is not None else not name.startswith("__")


def _named(
    held: dict[str, Any], names: set[str] | None, inside: list[Any], through: tuple[Any, ...] = ()
) -> Iterator[bytes]:
    """Yield names and their values; of a module of one's own, what ``names`` are in it."""
    for name, one in sorted(held.items()):
        yield name.encode()
        if isinstance(one, types.ModuleType):
            yield from _module(one, names, inside, through)
        else:
            yield from _parts(one, inside)


def _code(value: Any, inside: list[Any]) -> Iterator[bytes]:
    """Yield what a function or class does, or where it is installed."""
    home = getattr(value, "__module__", None) or ""
    if isinstance(value, types.FunctionType):
        home = str(value.__globals__.get("__name__"))  # `wraps` gives it another's __module__
        if home.split(".")[0] == "cfg_tutorial":
            yield f"{value.__module__}.{value.__qualname__} {_version(home)}".encode()
            return
        yield from _parts([value.__defaults__, value.__kwdefaults__], inside)
        for cell in value.__closure__ or ():
            yield from _parts(_content(cell), inside)
        yield from _parts({n: v for n, v in vars(value).items() if n != "__wrapped__"}, inside)
        if _installed(home):
            yield f"{home}.{value.__code__.co_qualname} {_version(home)}".encode()
            return
        yield from _bytecode(value.__code__)
        yield from _named(_used(value), _names(value.__code__), inside)
    elif isinstance(value, type) and not _installed(home):
        yield from _parts([*value.__bases__], inside)
        if type(value) is not type:
            yield from _parts(type(value), inside)
        for name, one in sorted(vars(value).items()):
            if name not in MADE and not isinstance(one, DESCRIPTORS):
                yield name.encode()
                yield from _parts(one.func if _is_cache(one) else one, inside)
    else:  # of a library, or built in
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            yield from _parts(owner, inside)
        yield f"{home}.{value.__qualname__} {_version(home)}".encode()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return None


def _bytecode(code: types.CodeType) -> Iterator[bytes]:
    yield code.co_code + code.co_exceptiontable
    yield f"{code.co_names} {code.co_varnames} {code.co_freevars} {code.co_flags}".encode()
    yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount}".encode()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _bytecode(constant)
        else:
            yield from _parts(constant, [])


def _used(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function, and the code inside it, reads by a global name or imports."""
    held, found = function.__globals__, {}
    for one in _instructions(function.__code__):
        name = str(one.argval)
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME") and name in held:
            found[name] = held[name]
        if one.opname == "IMPORT_NAME" and not _installed(name):
            found[name] = importlib.import_module(name)
    return found


def _instructions(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _instructions(one)


def _names(code: types.CodeType) -> set[str]:
    """Return all names in code, and in the code inside it: those of attributes too."""
    within = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*(_names(one) for one in within))


@functools.cache
def _places() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({str(Path(sysconfig.get_path(name)).resolve()) for name in names})


def _installed(home: str) -> bool:
    """Return whether a module is the interpreter's, a library's or this package's."""
    top = home.split(".")[0]
    if top == "cfg_tutorial" or top in sys.stdlib_module_names:
        return True
    if top == "__main__":  # a notebook, though its file may be a library's
        return False
    path = getattr(sys.modules.get(home), "__file__", None)
    return path is not None and str(Path(path).resolve()).startswith(_places())


def is_ours(value: Any) -> bool:
    """Return whether a class or function is this package's, unchanged since it was installed."""
    return getattr(value, "__module__", "").split(".")[0] == "cfg_tutorial"


@functools.cache
def _version(home: str) -> str:
    top = home.split(".")[0]
    if not top:
        return ""
    if top in sys.stdlib_module_names:
        return ".".join(map(str, sys.version_info[:2]))
    known = getattr(sys.modules.get(top), "__version__", None)
    try:
        return known or metadata.version(top.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return ""
