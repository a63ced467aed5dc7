"""The parts of the build that pyproject.toml cannot say: native code that may be missing."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Without a compiler the build goes on, and asrkit.ctc.align uses its NumPy form.
        Extension(
            "asrkit.ctc._align_native",
            ["asrkit/ctc/_align_native.cpp"],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-ffp-contract=off"],
            optional=True,
        ),
    ]
)
