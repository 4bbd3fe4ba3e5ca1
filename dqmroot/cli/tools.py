"""Verbs around the work: export, doctor, completion."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dqmroot.cli.console import new_verb, print_json, print_table, say
from dqmroot.errors import UsageError

__all__ = ["add_verbs"]

_SHELLS = ("bash", "zsh", "tcsh")


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module to the parser."""
    export = new_verb(
        verbs,
        "export",
        _export,
        "write models as ONNX files, which onnxruntime runs without dqmroot",
        "dqmroot export model -o onnx",
    )
    export.add_argument("model", metavar="MODEL", help="model folder")
    export.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="model.onnx for one model; a folder, for any number"
    )
    export.add_argument("--me", action="append", metavar="NAME", help="only the model of this ME; repeatable")
    export.add_argument("--json", action="store_true", help="what was written on stdout")

    doctor = new_verb(
        verbs, "doctor", _doctor, "tell what is installed and what is missing: versions, GPU, cache", "dqmroot doctor"
    )
    doctor.add_argument("--no-gpu", action="store_true", help="do not ask Keras for GPUs, which takes some seconds")
    doctor.add_argument("--json", action="store_true", help="for a machine, on stdout")

    completion = new_verb(
        verbs,
        "completion",
        _completion,
        "print the completion of a shell",
        "dqmroot completion bash > ~/.local/share/bash-completion/completions/dqmroot",
    )
    completion.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=", ".join(_SHELLS))


def _export(args: argparse.Namespace) -> int:
    from dqmroot.deployment import export_models
    from dqmroot.model import load_models

    if args.model.endswith(".onnx"):
        raise UsageError(f"{args.model}: is exported already; name the model folder that it was made of")
    models = load_models(args.model, args.me)
    paths = export_models(models, args.output)
    if args.json:
        print_json([{"me": model.me, "path": str(path)} for model, path in zip(models, paths, strict=True)])
    for model, path in zip(models, paths, strict=True):
        say(args, f"{model.me}: {path}")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from dqmroot.doctor import examine

    found = examine(gpu=not args.no_gpu)
    if args.json:
        print_json([one.to_dict() for one in found])
    else:
        columns = {"what": "what", "state": "state", "found": "told", "to get it": "help"}
        print_table({head: [getattr(one, key) for one in found] for head, key in columns.items()})
    missing = [one.what for one in found if one.state == "missing"]
    say(args, f"missing: {', '.join(missing)}" if missing else "everything that the main job needs is here")
    return 0


def _completion(args: argparse.Namespace) -> int:
    import shtab

    sys.stdout.write(shtab.complete(args.parser, args.shell) + "\n")
    return 0
