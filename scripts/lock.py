"""Resolve the newest versions of what pyproject.toml asks for into the lock files in requirements/.

`dev.txt` is resolved first; the others follow its versions, so that they agree.
The files hold names, versions, markers and hashes; no address of any package index.
"""

import subprocess
import sysconfig
from pathlib import Path

UV = Path(sysconfig.get_path("scripts")) / "uv"
REQUIREMENTS = Path("requirements")
COMPILE = [
    str(UV),
    "pip",
    "compile",
    "--no-config",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--upgrade",
    "--quiet",
]


def lock(name: str, *sources: str) -> None:
    """Write `requirements/<name>.txt`."""
    target = REQUIREMENTS / f"{name}.txt"
    subprocess.run([*COMPILE, *sources, f"--output-file={target}"], check=True)
    pins = sum("==" in line for line in target.read_text().splitlines())
    print(f"{target}: {pins} packages")


if __name__ == "__main__":
    everything = str(REQUIREMENTS / "dev.txt")
    lock("dev", "pyproject.toml", "--group=dev")
    lock("run", "pyproject.toml", f"--constraint={everything}")
    lock("build", "--group=build", f"--constraint={everything}")
    lock("audit", "--group=audit", f"--constraint={everything}")
