"""Each file of mail/ and proto/ must be covered by its own test file alone, lines and branches, 100 %.

Reads the data of a run of tests/mail and tests/proto with `--cov-context=test`: what a module does while it is imported
counts, and beyond that only what the tests of the same name reached. Part of `make cover`.
"""

import io
import sys
from pathlib import Path

import coverage

__all__ = ["main"]

PACKAGES = ("mail", "proto")


def main() -> int:
    measured = coverage.Coverage()
    measured.load()
    lacking = 0
    files = [file for package in PACKAGES for file in sorted(Path("filterd", package).glob("[!_]*.py"))]
    for file in files:
        own_tests = f"tests/{file.parent.name}/test_{file.name}"
        report = io.StringIO()
        # "^$" is the context of module level.
        percent = measured.report(include=[str(file)], contexts=["^$", f"^{own_tests}::"], file=report, skip_covered=False)
        if percent < 100.0:
            lacking += 1
            print(f"{file} is covered by {own_tests} only to {percent:.1f} %")
            print(report.getvalue())
    print(f"covered by their own tests: {len(files) - lacking} of {len(files)} files of {' and '.join(PACKAGES)}")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
