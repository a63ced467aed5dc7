"""Settings of the whole test run."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core, so a thread for each process
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("default", deadline=None)  # a busy machine is not a failure
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """No option comes from the environment, or the files, of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("ASRKIT_")]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    nowhere = os.path.join(__file__, "no-such-folder")  # nor can there be one: it is a file
    monkeypatch.setenv("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", nowhere)
