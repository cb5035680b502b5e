"""Light at the door: `import ganfold` and `--help` import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

VERBS = (
    "check", "plan", "train", "sample", "explore", "evaluate", "copies", "probe", "report", "upscale", "inpaint",
    "translate",
)  # fmt: skip
HELP = [
    f"import ganfold.cli as c; c.main([{verb!r}, '--help'])"
    for verb in (*VERBS, "augment", "study", "learn", "gans", "cache")
]
HEAVY = ("torch", "matplotlib", "datasets", "tensorboardX", "safetensors", "scipy", "sklearn", "skimage", "cv2")


@pytest.mark.parametrize(
    "command", ["import ganfold", "import ganfold.cli as c; c.main(['--help'])", "import ganfold.data", *HELP]
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
        "assert all(callable(getattr(ganfold, n)) for n in ganfold.__all__ if n != '__version__'), ganfold.__all__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_gan_that_is_not_trained_needs_no_compiler() -> None:
    code = (
        "import sys\nfrom ganfold.gans import find\nfrom ganfold.gans.contract import Shape\n"
        "for gan in (find('dcgan'), find('wgan')):\n    gan(gan.config_class(width=4), Shape(3, 16))\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
