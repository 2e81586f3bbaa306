"""Print the packages that the image installs: those of requirements.txt, with hashes, or those that the Pipfile pins.

`make requirements` writes requirements.txt from the Pipfile. Without that file the Pipfile alone counts.
"""

import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent


def requirements(folder: Path) -> str:
    """Return the lines of a requirements file.

    Raises:
        ValueError: The Pipfile pins a package that requirements.txt does not have in this version.
    """
    pipfile = tomllib.loads((folder / "Pipfile").read_text(encoding="utf-8"))
    pins = [name + pin for name, pin in pipfile["packages"].items()]
    file = folder / "requirements.txt"
    if not file.exists():
        return "".join(f"{pin}\n" for pin in pins)
    text = file.read_text(encoding="utf-8")
    absent = [pin for pin in pins if pin not in {line.split(" ")[0] for line in text.splitlines()}]
    if absent:
        raise ValueError(
            f"requirements.txt does not have {', '.join(absent)} of the Pipfile: write it again with "
            "`make requirements`, or delete it to install the packages of the Pipfile without checking hashes"
        )
    return text


if __name__ == "__main__":
    try:
        sys.stdout.write(requirements(FOLDER))
    except ValueError as err:
        sys.exit(str(err))
