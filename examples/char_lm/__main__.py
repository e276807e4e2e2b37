"""The program, as `python -m examples.char_lm` starts it: Ctrl-C while it is loading is one line, too."""

import os
import signal
import sys


def stop_loading(_number: int, _frame: object) -> None:
    os.write(2, b"\nchar_lm: stopped\n")
    os._exit(130)


if __name__ == "__main__":
    before = signal.signal(signal.SIGINT, stop_loading)  # half an import cannot be undone: leave at once
    try:
        from .cli import main
    except MemoryError:
        sys.exit("char_lm: there is not enough memory to load the program")
    signal.signal(signal.SIGINT, before)
    sys.exit(main())
