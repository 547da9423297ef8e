"""Command → function. No logic, and no heavy import before it is known what is asked."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

COMMANDS = {
    "train": "train a classifier on a folder of images",
    "pretrain": "learn features from images without labels (DINO)",
    "translate": "a translator of sentences: train, evaluate, predict",
    "find-lr": "a learning rate for your images, from one short training",
    "find-batch": "the largest batch that fits, and the fastest",
    "evaluate": "accuracy, confusion and calibration of a run",
    "compare": "runs side by side: intervals, McNemar's test, cost, recipes",
    "predict": "classes of pictures",
    "serve": "answers over HTTP, and a page to try a model",
    "explain": "what a model does: token mixing as maps and numbers",
    "pack": "write a data set into shards",
    "shrink": "less of a trained model, a short fine-tune, and what both cost and bring",
    "export": "a bundle that programs without allmlp load: ONNX, OpenVINO, torch, timm",
    "convert": "checkpoints from and into the official releases' and timm's layouts",
    "report": "one self-contained page about a run",
    "models": "architectures: parameters, multiply-adds, published accuracy",
    "profile": "what models cost: multiply-adds, memory, speed",
    "recipes": "the recipes that come with allmlp",
    "info": "versions, the machine, what allmlp decides on it and why: for bug reports",
}

TRAINING = (["train"], ["pretrain"], ["translate", "train"])
"""How commands begin that a scheduler may end, and give again."""
REFUSED = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG)
"""What a machine may refuse at any place: no fault of the program's."""
NO_MEMORY = re.compile("can't allocate memory|can't start new thread|std::bad_alloc|could not create a primitive$")
"""How a RuntimeError says so: torch's, Python's where no stack can be had, C++'s, and oneDNN's for its code."""

PURPOSE = "all-MLP image classifiers: from a folder of images to a trained model"
EPILOGUE = """\
examples:
  allmlp train                                    train on the images that come with allmlp
  allmlp train pictures/ --model resmlp_s12       a folder with one folder of images per class
  allmlp predict runs/mine holiday.jpg            classify a picture

allmlp COMMAND --help says more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 nothing usable, 2 a user's error, 130 interrupted."""
    if "OMP_WAIT_POLICY" not in os.environ:  # idle threads must not spin for long (decision 3)
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    _streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"allmlp {version('allmlp')}")
        return 0
    from contextlib import nullcontext

    from allmlp.errors import AllmlpError, one_of
    from allmlp.signals import Leave, leaving

    try:
        if given[0] not in COMMANDS:
            raise AllmlpError(f"there is no command {given[0]!r}", hint=one_of(COMMANDS, given[0]))
        with leaving(for_good=arguments is None) if given[:1] in TRAINING or given[:2] in TRAINING else nullcontext():
            command: Callable[[list[str]], int] = import_module(f"allmlp.commands.{given[0].replace('-', '_')}").main
            status = command(given[1:])
            sys.stdout.flush()  # here, where a full disk and a closed pipe are answered
        return status
    except Leave as left:
        print(f"allmlp: {left.name}: nothing was left to save; --resume auto goes on from here", file=sys.stderr)
        return 0
    except AllmlpError as error:
        _say(error.what, error.hint)
        return 2
    except KeyboardInterrupt:
        print("allmlp: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as head, has had enough
        _deaf()
        return 0
    except UnicodeEncodeError as error:
        what = f"{error.object[error.start : error.start + 100]!r} is no text in {error.encoding}"
        _say(what, "rename the file, or set PYTHONUTF8=1")
        return 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(str(error)):
            raise
        _say("memory is not enough for this", "take fewer images at a time (--batch, --train.batch), or fewer workers")
        return 2
    except OSError as error:
        if "temporary directory" in str(error):
            hint = "set TMPDIR to a folder that can be written"
        elif error.errno in REFUSED:
            hint = "check the path, its permissions, and the room on the disk"
        else:
            raise
        _say(str(error), hint)
        return 2


def _say(what: str, hint: str) -> None:
    """An error as people read it."""
    print(f"error: {what}" + (f"\nhint:  {hint}" if hint else ""), file=sys.stderr)


def _streams() -> None:
    """What was closed before we began takes everything and keeps nothing, and stdout has a way to write every name."""
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers, which the next open file would get
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _deaf() -> None:
    """Nobody reads us: what Python still has to write as it ends goes nowhere, and is no failure."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def _overview() -> str:
    rows = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    return f"usage: allmlp COMMAND ...\n\n{PURPOSE}\n\ncommands:\n{rows}\n\n{EPILOGUE}"
