"""Joins the modules that dashboard/main.py needs into dist/dashboard.py, and prints its size in bytes."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT = re.compile(r"^from dashboard\.(\w+) import .*\n", re.MULTILINE)


def collect(name, modules):
    """Put a module's text, and before it that of what it imports, into `modules`."""
    text = (ROOT / "dashboard" / f"{name}.py").read_text(encoding="utf-8")
    for needed in IMPORT.findall(text):
        if needed not in modules:
            collect(needed, modules)
    modules[name] = IMPORT.sub("", text)


def build():
    """Write the bundle; its path."""
    modules = {}
    collect("main", modules)
    bundle = "\n".join(modules.values())
    compile(bundle, "dist/dashboard.py", "exec")
    path = ROOT / "dist" / "dashboard.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(bundle, encoding="utf-8")
    return path


if __name__ == "__main__":
    print(build().stat().st_size)
