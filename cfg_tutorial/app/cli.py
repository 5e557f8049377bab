"""The command `cfg-tutorial`. Reads arguments and hands them on; knows nothing of what runs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

COMMANDS = """
  cfg-tutorial atlas            draw every curve into the folder atlas/
  cfg-tutorial atlas --quick    from the shipped models, without training
  cfg-tutorial atlas --data FOLDER   of your own data: a folder class/mode/file, or an npz
  cfg-tutorial playground       every slider in one page, for this machine alone
  cfg-tutorial doctor           say what is missing on this machine
"""


def positive(text: str) -> int:
    """Turn an argument into an int of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Got {text} instead.")
    return value


def port(text: str) -> int:
    """Turn an argument into the number of a port."""
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 1 to 65535. Got {text} instead.")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `cfg-tutorial`."""
    top = argparse.ArgumentParser(
        prog="cfg-tutorial",
        description="What classifier-free guidance buys and what it costs.",
        epilog="examples:" + COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    try:
        known = version("cfg-tutorial")
    except PackageNotFoundError:
        known = "(found, but not installed)"
    top.add_argument("--version", action="version", version=f"cfg-tutorial {known}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    atlas = commands.add_parser("atlas", help="draw coverage against guidance scale")
    atlas.add_argument("--out", default="atlas", metavar="FOLDER", help="where to (default: atlas)")
    atlas.add_argument("--domains", nargs="+", metavar="NAME", help="which domains (default: all)")
    said = "your own data instead: an .npz of x, label and perhaps mode, a folder, a .txt of lines"
    atlas.add_argument("--data", metavar="PATH", help=said)
    atlas.add_argument("--seeds", type=positive, metavar="N", help="training seeds a domain")
    atlas.add_argument("--samples", type=positive, metavar="N", help="samples per scale")
    atlas.add_argument("--workers", type=positive, metavar="N", help="processes, one thread each")
    atlas.add_argument("--quick", action="store_true", help="use the shipped models, train nothing")

    playground = commands.add_parser("playground", help="serve every slider in one page")
    playground.add_argument("--port", type=port, default=8866, metavar="N")
    playground.add_argument("--no-browser", action="store_true", help="open no browser")

    commands.add_parser("doctor", help="check this machine, one line a requirement")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `cfg-tutorial` with the given arguments (the command line's by default).

    Returns
    -------
    int, the exit status: 0 when all is well
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console may lack a letter of a path
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(arguments)
    try:
        if args.command == "doctor":
            from cfg_tutorial.app import doctor

            return doctor.main()
        if args.command == "playground":
            from cfg_tutorial.app import playground

            return playground.main(args.port, not args.no_browser)
        from cfg_tutorial.app import atlas

        return atlas.main(args) or 0
    except ImportError as error:
        print(f"cfg-tutorial: {error}. `cfg-tutorial doctor` says what to do.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while libraries are loaded
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
