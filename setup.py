"""The part of the build that pyproject.toml cannot express: the wheel carries files from outside the packages.

They are copied into `emm_pipeline/shipped/` of the wheel, where `emm_pipeline.settings.PRODUCT_FILES` finds them.
A checkout and an editable install use the originals.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ("dagster.yaml", "workspace.yaml", "config/.env.dev", "config/postgres_init.sql", "config/grafana/**/*.*")
"""The files, listed singly, because config/.env with its credentials must not be in an archive."""


class BuildWithProductFiles(build_py):
    """Build the packages, and copy the product's files into them."""

    def run(self) -> None:
        """Build; an editable install gets no copies."""
        super().run()
        if not self.editable_mode:
            for source, target in self._copies().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_source_files(self) -> list[str]:
        """Return the files that the source archive needs, so that a wheel can be built from it."""
        return [*super().get_source_files(), *self._copies()]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return every file of the build."""
        copies = [] if self.editable_mode else self._copies().values()
        return [*super().get_outputs(include_bytecode), *copies]

    def _copies(self) -> dict[str, str]:
        """Return each file, relative to the checkout, with the place of its copy.

        Raises:
            FileNotFoundError: A file is missing; the wheel would not run.
        """
        copies = {}
        for pattern in SHIPPED:
            files = sorted(path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file())
            if not files:
                raise FileNotFoundError(f"{ROOT / pattern}: the wheel needs it")
            copies |= {str(file): str(Path(self.build_lib, "emm_pipeline", "shipped", file)) for file in files}
        return copies


setup(cmdclass={"build_py": BuildWithProductFiles})
