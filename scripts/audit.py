"""Looks for known weaknesses in the locked packages: make audit

Asks a database of weaknesses in the network, by pip-audit. Ends with 1 where it knows of one, and with 2
where not every package was looked up, which pip-audit by itself takes for success.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "requirements"


def verdict(answer: str, complaint: str, needed: set[str]) -> tuple[int, list[str]]:
    """The exit code and what to say, from pip-audit's JSON and stderr; `needed` are packages of a user."""
    if not answer:
        said = (complaint.strip().splitlines() or ["it says nothing"])[-1]
        return 2, ["nothing was looked up: the service cannot be reached", said]
    packages = json.loads(answer)["dependencies"]
    skipped = [package for package in packages if "skip_reason" in package]
    lines = []
    for package in packages:
        whose = "flowtime needs it to run" if package["name"] in needed else "for development only"
        for weakness in package.get("vulns", ()):
            fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
            name = f"{package['name']} {package['version']} ({whose})"
            lines.append(f"{name}: {weakness['id']}, fixed in {fixed}")
    code = 1 if lines else 2 if skipped else 0
    if skipped:
        lines.append(f"{len(skipped)} of {len(packages)} packages could not be looked up, the first:")
        lines.append(skipped[0]["skip_reason"])
    return code, lines or [f"{len(packages)} packages looked up, no known weakness"]


def main() -> None:
    """Asks about all locked packages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--service", default="osv", choices=("osv", "pypi"), help="whom to ask")
    service = parser.parse_args().service
    command = [sys.executable, "-m", "pip_audit", "-r", str(REQUIREMENTS / "dev.txt"), "--require-hashes"]
    asked = subprocess.run(
        [*command, "--disable-pip", "-s", service, "-f", "json", "--progress-spinner", "off"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    needed = set(re.findall(r"^([\w.-]+)==", (REQUIREMENTS / "run.txt").read_text(), re.MULTILINE))
    code, lines = verdict(asked.stdout, asked.stderr, needed)
    print("\n".join(lines))
    sys.exit(code)


if __name__ == "__main__":
    main()
