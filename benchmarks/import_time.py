"""How long `import tinygrad_seq, nn` takes, beside `import numpy`.

Whole processes, less an empty one, with the byte code cached.
"""

from __future__ import annotations

import os
import subprocess
import sys

from .timing import interleaved


def run(code: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def main() -> None:
    codes = {"nothing": "pass", "numpy": "import numpy", "ours": "import tinygrad_seq, nn"}
    seconds = interleaved({name: lambda code=code: run(code) for name, code in codes.items()}, rounds=15)  # type: ignore[misc]
    numpy, ours = seconds["numpy"] - seconds["nothing"], seconds["ours"] - seconds["nothing"]
    print(f"Import: numpy {numpy * 1e3:.0f} ms, tinygrad_seq and nn (numpy included) {ours * 1e3:.0f} ms", end="")
    print(f": {ours / numpy:.2f} times")


if __name__ == "__main__":
    main()
