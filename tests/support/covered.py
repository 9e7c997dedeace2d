"""The suite measured part by part: `python -m tests.support.covered` runs each folder of tests in a process of its own.

All but tests/mail and tests/proto, which are measured on their own. One process for all of it was once ended by a segmentation
fault while it was measured; the cause is not known. A part for itself is quicker to repeat, and a signal that ends one is a
failure like any other.
"""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
MEASURED_ELSEWHERE = {"mail", "proto"}
PYTEST = [sys.executable, "-m", "pytest", "--cov", "--cov-append", "--cov-report=", "--cov-fail-under=0"]


def parts() -> list[list[str]]:
    """Each folder with tests, and the files beside the folders together."""
    folders = [folder for folder in sorted(TESTS.iterdir()) if folder.is_dir() and any(folder.glob("test_*.py"))]
    files = [str(file) for file in sorted(TESTS.glob("test_*.py"))]
    return [*([str(folder)] for folder in folders if folder.name not in MEASURED_ELSEWHERE), files]


def main() -> int:
    for part in parts():
        code = subprocess.run([*PYTEST, *part], check=False).returncode
        if code < 0:
            sys.stderr.write(f"{part[0]} …: ended by signal {-code}\n")
        if code:
            return abs(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
