"""Programs for a page, made of npm packages that are modules: bundled when a test asks, never committed."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

from .server import REPOSITORY

MODULES = REPOSITORY / "console/node_modules"


def node() -> str:
    """The node of the environment, or the system's."""
    ours = Path(sys.executable).with_name("node")
    found = str(ours) if ours.exists() else shutil.which("node")
    assert found is not None, "the tests that run JavaScript need node"
    return found


@functools.cache
def bundled(source: Path) -> str:
    """This module with everything it imports from the console's packages, as one script."""
    program = f"""
        import {{ rolldown }} from {json.dumps(str(MODULES / "rolldown/dist/index.mjs"))};
        const bundle = await rolldown({{
            input: {json.dumps(str(source))},
            resolve: {{ modules: [{json.dumps(str(MODULES))}] }},
            logLevel: "silent",
        }});
        const {{ output }} = await bundle.generate({{ format: "iife", name: "bundle" }});
        process.stdout.write(output[0].code);
    """
    done = subprocess.run([node(), "--input-type=module", "-e", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
