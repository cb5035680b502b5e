"""Images by a `gawwn`: one caption at nine boxes, each with its outline, and nine captions in one box.

python lab/scripts/gawwn_pictures.py runs/scenes --out docs/pictures/gawwn
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

import ganfold
from harness import protocol_of, record

ENLARGED = 96  # pixels of each sample in the sheet
CAPTION = "long orange hair, pale skin, smiling, blue shirt"
BOXES = [  # moved, shrunk, stretched
    *((0.05, 0.3, 0.5, 0.6), (0.25, 0.3, 0.5, 0.6), (0.45, 0.3, 0.5, 0.6)),
    *((0.1, 0.05, 0.8, 0.9), (0.2, 0.2, 0.6, 0.65), (0.3, 0.3, 0.4, 0.45)),
    *((0.3, 0.05, 0.4, 0.9), (0.05, 0.3, 0.9, 0.5), (0.5, 0.1, 0.4, 0.8)),
]
BOX = (0.2, 0.15, 0.6, 0.7)
CAPTIONS = [
    "short black hair, pale skin",
    "short black hair, dark skin",
    "long orange hair, pale skin, glasses",
    "green bun, brown skin, smiling",
    "pink pigtails, pale skin, yellow shirt",
    "bald, dark skin, sunglasses, red shirt",
    "blond mohawk, tan skin, sad",
    "curly white hair, brown skin, green shirt",
    "short blue hair, pale skin, smiling",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--checkpoint", default="last")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=3, help="latents: a row of each")
    parser.add_argument("--out", type=Path, required=True, help="the beginning of the two names")
    requested = parser.parse_args()
    run = ganfold.load(requested.run, requested.checkpoint)
    for name, texts_and_boxes in (
        ("boxes", [(CAPTION, box) for box in BOXES]),
        ("captions", [(text, BOX) for text in CAPTIONS]),
    ):
        sheet = Image.new("RGB", (9 * (ENLARGED + 4) - 4, requested.rows * (ENLARGED + 4) - 4), "white")
        for column, (text, box) in enumerate(texts_and_boxes):
            for row, pixels in enumerate(run.sample(requested.rows, requested.seed, text=text, box=box)):
                image = Image.fromarray(pixels).resize((ENLARGED, ENLARGED), Image.Resampling.NEAREST)
                if name == "boxes":
                    left, top, width, height = (round(ENLARGED * share) for share in box)
                    ImageDraw.Draw(image).rectangle((left, top, left + width - 1, top + height - 1), outline="red")
                sheet.paste(image, (column * (ENLARGED + 4), row * (ENLARGED + 4)))
        sheet.save(requested.out.with_name(f"{requested.out.name}-{name}.png"), optimize=True)
    metrics = {"images": requested.rows * (len(BOXES) + len(CAPTIONS))}
    protocol = protocol_of(run) | {"sample_seed": requested.seed}
    record("gawwn_pictures", metrics, seed=run.record.settings.seed, data=run.record.data, **protocol)


if __name__ == "__main__":
    main()
