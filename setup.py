"""Adds the compiled core of asrkit.ctc where it can be built; all else is in pyproject.toml."""

import sys

from setuptools import setup

SOURCES = ("core", "module", "ngram", "search", "trie")
HEADERS = ("lookup", "ngram", "path", "search", "table", "trie")

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
        )
    ]

setup(ext_modules=extensions)
