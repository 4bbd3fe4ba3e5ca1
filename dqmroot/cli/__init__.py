"""The command line: each verb parses, calls one step of the pipeline, and tells what came of it.

What a machine reads goes to stdout, what a person reads to stderr. A user's mistake is one line, never a traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dqmroot._version import __version__
from dqmroot.cli import campaign, data, learn, tools, verdict
from dqmroot.cli.console import keep_log
from dqmroot.errors import DQMError, InputError, UsageError, nearest

__all__ = ["main"]

_DESCRIPTION = "Read CMS data-quality histograms, learn what good looks like, certify run periods."
_EPILOG = """exit status:
  0 done · 2 usage · 3 an input cannot be read · 4 finished, some inputs failed · 5 an output cannot be written
  10 data judged bad and --fail-on-bad · 70 a defect of dqmroot

start with:
  dqmroot demo -o demo-output

the examples of the verbs use what this writes:
  dqmroot demo --data ."""

_WELCOME = f"""dqmroot {__version__}: read CMS data-quality histograms, learn what good looks like, certify run periods

  dqmroot demo               the whole job on the data that dqmroot carries: train, certify, find the faults
  dqmroot ls FILES           what is in your files
  dqmroot train --help       learn from good lumisections; score, certify and report come after it
  dqmroot doctor             what is installed here, and what is missing
  dqmroot --help             all verbs"""


_MADE_BY = {
    **dict.fromkeys(("demo.root", "demo-labels.csv", "demo.toml"), "; dqmroot demo --data . writes it"),
    "certification.json": "; dqmroot certify writes it",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line and name what is nearest."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            close = nearest(str(value), names)
            what = "verb" if action.dest == "verb" else str(action.dest)
            told = "nearest: " + ", ".join(close) if close else "there are: " + ", ".join(names)
            raise argparse.ArgumentError(None, f"unknown {what} {value!r}; {told}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, rest = super().parse_known_args(args, namespace)
        for word in rest:
            if word.startswith("-"):
                close = nearest(word, self._option_string_actions)
                hint = f"; nearest: {', '.join(close)}" if close else ""
                self.error(f"unknown option {word}{hint}")
        return found, rest


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; builds in milliseconds and imports nothing heavy."""
    parser = _Parser(
        prog="dqmroot",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dqmroot {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_Parser)
    for module in (data, learn, verdict, campaign, tools):
        module.add_verbs(verbs)
    parser.set_defaults(parser=parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        print(_WELCOME, file=sys.stderr)
        return UsageError.exit_code
    # TensorFlow greets on stderr unless told not to; a person waits for other news.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        with keep_log(args, sys.argv[1:] if argv is None else argv):
            status: int = args.run(args)
            sys.stdout.flush()
    except DQMError as error:
        if args.verbose:
            traceback.print_exc()
        print(f"dqmroot {args.verb}: {error}{_advice(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"dqmroot {args.verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to tell, and nobody to tell it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if args.verbose:
            raise
        print(
            f"dqmroot {args.verb}: a defect of dqmroot {__version__}: {type(error).__name__}: {error}; "
            "please report it with the output of the same command and --verbose",
            file=sys.stderr,
        )
        return DQMError.exit_code
    return status


def _advice(error: DQMError) -> str:
    """Tell which verb writes a file that is not there."""
    if not isinstance(error, InputError) or Path(error.path).exists():
        return ""
    return _MADE_BY.get(Path(error.path).name, "")
