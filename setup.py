"""The one part of Darkroom that is compiled; everything else about the package stands in pyproject.toml.

Optional: without a C compiler the installation goes on, and ncnn's convolutions are used (`gpu_worker.engines.kernels`).
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "gpu_worker.engines.kernels._winograd",
            ["gpu_worker/engines/kernels/winograd.c"],
            extra_compile_args=["-O3", "-std=gnu11", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
