"""What every test gets: a home of its own, Hypothesis profiles, and the `needs` marker."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import settings

TEST_ALL = os.environ.get("FLOWTIME_TEST_ALL") == "1"

settings.register_profile("dev", max_examples=100, deadline=None)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_configure(config: pytest.Config) -> None:
    """Keep this process and its children away from the user's settings, cache and registry."""
    home = tempfile.TemporaryDirectory(prefix="flowtime-tests-")
    config.add_cleanup(home.cleanup)
    for name in [name for name in os.environ if name.startswith("FLOWTIME_") and name != "FLOWTIME_TEST_ALL"]:
        del os.environ[name]
    os.environ |= {
        "HOME": home.name,
        "XDG_CONFIG_HOME": f"{home.name}/config",
        "XDG_CACHE_HOME": f"{home.name}/cache",
        "FLOWTIME_CACHE": f"{home.name}/cache/flowtime",
    }


def _unavailable(reason: str) -> NoReturn:
    if TEST_ALL:
        pytest.fail(f"FLOWTIME_TEST_ALL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], NoReturn]:
    """Call it with the reason when this machine cannot run the test: skips, or fails in CI."""
    return _unavailable


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold `@pytest.mark.needs("program", ...)`."""
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if missing:
            _unavailable(f"not installed: {', '.join(missing)}")
