"""`make requirements` and `make sbom`: `python -m tools.dependencies requirements`, `… sbom [FILE]`."""

import sys
from pathlib import Path

from tools.dependencies import requirements, sbom


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names; return the exit code."""
    match arguments:
        case ["requirements"]:
            for file in requirements.write_all():
                print(file)
        case ["sbom", *rest] if len(rest) <= 1:
            print(sbom.write(Path(rest[0]) if rest else None))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
