"""A process that does what it is told to a registry: `python -m tests.racer ROOT CACHE`.

Each line on stdin is `ACTION ID TEXT`; the answer is a line with `ok` or the code of the error.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from tests.worlds import publish

from flowtime.errors import FlowtimeError
from flowtime.registry import Registry


def act(registry: Registry, action: str, id: str, text: str) -> None:
    """Does one of the actions that race; `text` is what a version or a tag says."""
    match action:
        case "version":
            publish(registry, "model", id, files={"model.yaml": text.encode()}, model_hash=f"sha256:{text}")
        case "edit":
            registry.tag(id, [text])
        case "delete":
            registry.delete(id, force=True)
        case "restore":
            registry.restore(id)
        case "purge":
            registry.purge(id)
        case _:
            raise ValueError(action)


def main() -> None:
    registry = Registry.open(sys.argv[1], cache_dir=Path(sys.argv[2]))
    for line in sys.stdin:
        action, id, text = line.split()
        try:
            act(registry, action, id, text)
        except FlowtimeError as error:
            print(error.code, flush=True)
        except Exception:  # noqa: BLE001 (a test asks for none)
            traceback.print_exc()
            print("defect", flush=True)
        else:
            print("ok", flush=True)


if __name__ == "__main__":
    main()
