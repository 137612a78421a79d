"""The one part of Darkroom that is compiled; everything else about the package stands
in pyproject.toml.

Optional: without a C compiler the installation goes on, and ncnn's convolutions are
used. The wheels of a release are built by cibuildwheel, where a compiler is a must.
Every instruction set of the architecture is compiled, wherever that happens; which one
runs is chosen where Darkroom runs.
"""

import os

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDER = "gpu_worker/engines/kernels"
SOURCES = [f"{FOLDER}/{name}.c" for name in ("winograd", "avx512", "avx2", "neon")]
HEADERS = [f"{FOLDER}/{name}.h" for name in ("winograd", "block")]
VERSION = 2  # as in gpu_worker/engines/kernels/convolution.py


class BuildLibrary(build_ext):
    """A plain shared library, not a Python module: its name must not look like one."""

    def get_ext_filename(self, fullname):
        return f"{fullname.replace('.', '/')}.so.{VERSION}"


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and every Python: the library knows nothing of Python."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PlatformWheel},
    ext_modules=[
        Extension(
            "gpu_worker.engines.kernels.winograd",
            SOURCES,
            depends=HEADERS,
            extra_compile_args=["-O3", "-std=gnu11", "-pthread"],
            extra_link_args=["-pthread"],
            optional="CIBUILDWHEEL" not in os.environ,
        )
    ],
)
