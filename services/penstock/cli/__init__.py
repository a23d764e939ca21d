"""The command line: `penstock VERB …`.

`main` finds the verb in the table, imports its module, and turns however it ends into an exit code and at
most one message on stderr. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from penstock.cli.exits import Exit, Failure
from penstock.cli.verbs import VERBS, below, find, load, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.cli.verbs import Verb

PURPOSE = "Keeps a model right on a Kafka stream."


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one line and names the way to the help."""

    def error(self, message: str) -> NoReturn:
        raise Failure(f"{self.prog}: {message} (see {self.prog} --help)", Exit.USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; no traceback without ``--debug``."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        code = _run(words)
        sys.stdout.flush()  # here, where a reader that has gone is still handled
    except SystemExit as end:  # argparse after --help or --version
        return end.code if isinstance(end.code, int) else Exit.FAILED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe has had enough (`penstock tail T | head -1`), which is no failure. Python
        # would complain once more while closing stdout, so give it something to close.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        if debug:
            raise
        message, code = _explain(error)
        print(message, file=sys.stderr)
    return code


def _run(words: list[str]) -> int:
    while words and words[0] == "--debug":  # the one option that may also stand before the verb
        words = words[1:]
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_overview(VERBS), end="")
        return Exit.OK
    if words[0] in {"-V", "--version"}:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and asked for seldom

        print(f"penstock {version('penstock')}")
        return Exit.OK
    verb, rest = find(words)
    if verb is None:
        return _unknown(words)
    module = load(verb)
    parser = _Parser(
        prog=f"penstock {verb.name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",  # a verb that makes a file has a -o of its own
        allow_abbrev=False,
    )
    common = parser.add_argument_group("everywhere")
    common.add_argument("-o", "--output", choices=["table", "json"], default="table", help="form of the data")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    module.add_arguments(parser)
    return module.run(parser.parse_args(rest))


def _unknown(words: list[str]) -> int:
    family = below(words[0])
    if family and (len(words) == 1 or words[1] in {"-h", "--help"}):
        print(_overview(family), end="")
        return Exit.OK if len(words) > 1 else Exit.USAGE
    known = " ".join(words[:2] if family else words[:1])
    meant = nearest(words)
    hint = f"did you mean '{meant}'?" if meant else "see penstock --help"
    raise Failure(f"penstock: unknown verb '{known}' ({hint})", Exit.USAGE)


def _overview(verbs: Sequence[Verb]) -> str:
    """The help of all verbs, by group, in the order of the table."""
    width = max(len(verb.name) for verb in VERBS)
    lines = ["usage: penstock VERB …", "", PURPOSE]
    group = ""
    for verb in verbs:
        if verb.group != group:
            group = verb.group
            lines += ["", f"{group}:"]
        lines.append(f"  {verb.name:<{width}}  {verb.help}")
    lines += ["", "penstock VERB --help says more about one.", ""]
    return "\n".join(lines)


def _explain(error: Exception) -> tuple[str, int]:
    """One message and the exit code for whatever ended the verb."""
    from penstock.kernel.errors import Invalid  # noqa: PLC0415 - only after a failure
    from penstock.runtime.errors import Unavailable  # noqa: PLC0415

    match error:
        case Failure():
            return str(error), error.code
        case Invalid():
            return str(error), Exit.INVALID
        case Unavailable():
            return str(error), Exit.UNREACHABLE
        case ModuleNotFoundError(name=str() as name) if not name.startswith("penstock"):
            return f"this needs the package {name!r}: install penstock[all]", Exit.FAILED
        case OSError(filename=str() as name, strerror=str() as why):
            return f"{name}: {why}", Exit.NOT_FOUND if isinstance(error, FileNotFoundError) else Exit.FAILED
        case _:
            return f"{type(error).__name__}: {error} (--debug shows where)", Exit.FAILED
