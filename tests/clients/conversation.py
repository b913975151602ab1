"""The conversation with tests/clients/scripted.rs."""

import sys

# Names are UTF-8, whatever the locale says.
sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")


def requests():
    for line in sys.stdin:
        yield line.rstrip("\n").split("\t")


def answer(given):
    for line in str(given if given is not None else "").splitlines():
        print(" " + line)
    print("ok", flush=True)


def complain(error):
    print("error", type(error).__name__, " ".join(str(error).split()), sep="\t", flush=True)


def hold(operations):
    """Does each operation that is asked for."""
    for operation, *arguments in requests():
        try:
            given = operations[operation](*arguments)
        except Exception as error:
            complain(error)
        else:
            answer(given)
