"""The one part of Darkroom that is compiled; everything else about the package stands
in pyproject.toml.

Optional: without a C compiler the installation goes on, and ncnn's convolutions are
used.
"""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = "gpu_worker.engines.kernels.winograd"
VERSION = 1  # as in gpu_worker/engines/kernels/__init__.py


class BuildLibrary(build_ext):
    """A plain shared library, not a Python module: its name must not look like one."""

    def get_ext_filename(self, fullname):
        return f"{fullname.replace('.', '/')}.so.{VERSION}"


setup(
    cmdclass={"build_ext": BuildLibrary},
    ext_modules=[
        Extension(
            KERNELS,
            ["gpu_worker/engines/kernels/winograd.c"],
            extra_compile_args=["-O3", "-std=gnu11", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ],
)
