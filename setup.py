"""Adds the compiled cores where they can be built; all else is in pyproject.toml."""

import sys

from setuptools import Extension, setup

SOURCES = ("core", "module", "ngram", "search", "trie")
HEADERS = ("lookup", "ngram", "path", "search", "table", "trie")
DECODER = "asrkit/models/native"
DECODER_HEADERS = ("decoder.h", "kernels.h", "kernels.inl", "team.h")

try:
    from pybind11.setup_helpers import Pybind11Extension
except ImportError:  # a build without isolation: asrkit works without the core
    extensions = []
else:
    extensions = [
        Pybind11Extension(
            "asrkit.ctc._native",
            [f"asrkit/ctc/native/{name}.cpp" for name in SOURCES],
            depends=[f"asrkit/ctc/native/{name}.h" for name in HEADERS],
            cxx_std=17,
            # Sums must round as Python's do, on machines with fused multiply-add too.
            extra_compile_args=[] if sys.platform == "win32" else ["-ffp-contract=off"],
            optional=True,  # no compiler is no error
        ),
        Pybind11Extension(
            "asrkit.models._native",
            [f"{DECODER}/{name}.cpp" for name in ("decoder", "kernels", "module")],
            depends=[f"{DECODER}/{name}" for name in DECODER_HEADERS],
            cxx_std=20,
            # Vectors are those of GCC and Clang.
            extra_compile_args=["-O3", "-ffp-contract=fast", "-Wno-psabi"],
            optional=True,
        ),
    ]

aligner = Extension(
    "asrkit.ctc._align_native",
    ["asrkit/ctc/native/align.cpp"],
    language="c++",
    extra_compile_args=(
        ["/std:c++17"] if sys.platform == "win32" else ["-std=c++17", "-O3", "-ffp-contract=off"]
    ),
    optional=True,
)

setup(ext_modules=[*extensions, aligner])
