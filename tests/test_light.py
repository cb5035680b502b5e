"""Light at the door, and arrows that point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ganfold"
HEAVY = ("torch", "matplotlib", "datasets", "tensorboardX", "safetensors", "scipy", "sklearn", "skimage", "cv2")
LAYERS = {  # each may import those that stand before it, and its own
    "errors": 0, "files": 1, "pictures": 2, "checkpoint": 2, "data": 3, "networks": 2, "gans": 3, "fields": 4,
    "metrics": 4, "run": 5, "applying": 6, "training": 6,
    "sampling": 6, "upscaling": 7, "inpainting": 7, "translating": 7, "captioned": 7, "probing": 7,
    "evaluation": 8, "copying": 8, "reporting": 9, "study": 10, "__init__": 11, "cli": 12, "__main__": 13,
}  # fmt: skip


@pytest.mark.parametrize(
    "command", ["import ganfold", "import ganfold.cli as c; c.main(['--help'])", "import ganfold.data"]
)
def test_the_door_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys\ntry:\n    {command}\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_every_public_name_is_there_even_beside_a_module_of_its_name() -> None:
    code = (
        "import ganfold, ganfold.pages.run_page, ganfold.verbs.train\n"
        "assert all(callable(getattr(ganfold, n)) for n in ganfold.__all__), ganfold.__all__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_arrows_point_one_way() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganfold"):
                assert node.module
                tail = node.module.split(".")[1:]
                modules = [tail[0]] if tail else [alias.name for alias in node.names]
            for there in modules:
                if there in LAYERS and there != here and LAYERS[there] >= LAYERS[here]:
                    wrong.append(f"{path.name} imports {there}")
    assert wrong == []
