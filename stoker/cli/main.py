"""The command line's entry: runs one command and turns whatever happens into an exit code."""

from __future__ import annotations

import os
import sys
import traceback

import stoker
from stoker.cli import failure
from stoker.errors import StokerError


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """The exit code of one command."""
    debug = "--debug" in words[: words.index("--")] if "--" in words else "--debug" in words
    try:
        code = _run(words)
        sys.stdout.flush()
    except failure.Quit as end:
        return end.code
    except KeyboardInterrupt:
        return failure.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter's last flush finds no pipe
        return failure.FAILED
    except Exception as error:  # noqa: BLE001  (the one place that stands between any error and the user)
        if debug:
            traceback.print_exc()
        return _refuse(error)
    return code


def _run(words: list[str]) -> int:
    if words in (["version"], ["--version"]):  # answered without the parser, whose import takes longer than all the rest
        print(f"stoker {stoker.__version__}")  # noqa: T201
        return 0
    from stoker.cli.tree import command

    result = command().main(args=words, prog_name="stoker", standalone_mode=False, obj=words)
    return result if isinstance(result, int) else 0


def _refuse(error: Exception) -> int:
    if isinstance(error, StokerError):
        failure.say(failure.sentence(error))
        return failure.exit_code(error)
    shown = getattr(error, "format_message", None)
    if callable(shown):  # the parser's own errors, whichever library it comes from
        return _usage(error, str(shown()))
    if type(error).__name__ == "Abort":
        return failure.INTERRUPTED
    if isinstance(error, OSError):
        failure.say(f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}")
        return failure.FAILED
    failure.say(f"an unexpected error ended the command ({type(error).__name__}: {error}); type it again with --debug and report it")
    return failure.FAILED


def _usage(error: Exception, message: str) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "stoker"
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)  # noqa: T201
    else:
        failure.say(f"{message.strip().rstrip('.')}; see `{path} --help`")
    return failure.USAGE


if __name__ == "__main__":
    main()
