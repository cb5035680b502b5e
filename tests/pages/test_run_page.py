"""The page of a run: one file that loads nothing from outside and fits a phone.

Damaged files were looked for in: state.json, data.json, evaluation.json, copies.json, log.jsonl and the images, each
with wrong types, missing keys and bytes that are no text.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import ganfold
from ganfold import GanfoldError
from ganfold.images import grids

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as `train` leaves it, with a class name that must be escaped."""
    folder, random = tmp_path / "faces", np.random.default_rng(0)
    (folder / "samples").mkdir(parents=True)
    data = {
        "source": "photos/", "fingerprint": "ab" * 16, "images": 900, "held_out": 100, "resolution": 8, "channels": 3,
        "classes": ["<b>&", "plain"], "class_counts": [450, 450],
    }  # fmt: skip
    config = {
        "ganfold": "0.1.0", "gan": "dcgan", "config": {"lr": 2e-4, "betas": [0.5, 0.999]}, "settings": {"seed": 0},
        "data": data, "machine": {"torch": "2.13.0"}, "command": "ganfold train dcgan --data photos/",
        "started": "2026-11-21T04:00:00+00:00",
    }  # fmt: skip
    found = {"classes": {"<b>&": 500, "plain": 500}, "skipped": [{"file": "x<y>.png", "why": "truncated"}] * 60}
    state = {"images": 20000, "step": 156, "minutes": 3.5, "status": "done", "why": "the budget is spent"}
    for name, content in {"config": config, "data": found, "state": state}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    rows = [
        {"step": i, "kimg": float(i), "Loss_D": 1.0, "Loss_G": 2.0, "D(x)": 0.7, "grad_norm/D": 3.0, "images/s": 40.0}
        for i in range(2000)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("0000000.000", "0000010.000", "0000020.000", "reals"):
        grid = grids.grid(random.integers(0, 256, (64, 8, 8, 3), np.uint8), scale=8)
        grids.save_png(grid, folder / "samples" / f"{name}.png")
    grids.film(sorted((folder / "samples").glob("0*.png")), folder / "progress.webp")
    return folder


def test_it_shows_the_run_and_loads_nothing(run: Path) -> None:
    page = ganfold.report(run).read_text()
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]{5})', page)
    assert set(sources) <= {"data:", "#clip"} | {s for s in sources if s.startswith("#")}
    assert len(re.findall(r'<img src="data:image/', page)) == 5  # newest, reals, film, two earlier grids
    assert page.count("<svg") == 4
    for words in (
        "dcgan learnt from 900 colour images of 8 pixels out of photos/ (100 more were held out) for 20.0 kimg in 3.5 "
        "minutes; the budget is spent.",
        "How good the images are was not measured",
        "The doctor found nothing wrong",
        "and 10 more",
        "0.5, 0.999",
    ):
        assert words in page
    assert page.count('class="lead"') == 3
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert "x<y>" not in page


def test_two_thousand_rows_make_curves_of_five_hundred_points(run: Path) -> None:
    page = ganfold.report(run).read_text()
    longest = max(len(re.findall("[ML] ", path)) for path in re.findall(r'<path d="([^"]*)"', page))
    assert longest <= 500


def test_what_was_measured_is_shown_with_its_floor_and_protocol(run: Path) -> None:
    metric = {"name": "KID", "better": "lower", "value": 0.25, "error": 0.01, "floor": 0.002, "floor_error": 0.001}
    evaluation = {
        "figures": [metric, metric | {"name": "FD", "error": None, "floor_error": None}],
        "classes": {"<b>&": [metric]},
        "notes": ["The generated images can be told from real ones.", "FD is not to be trusted."],
        "protocol": {"extractor": "efficientnet", "seed": 0},
    }
    share = {"share": 0.042, "real": 0.01, "threshold": 0.1, "chance": 0.001}
    copies = {
        "verdict": "near-copies found: 4.2 % of 1,000 samples", "pixels": share, "features": share,
        "authenticity": 0.9, "authenticity_real": 0.5, "c_t": -5.0, "c_t_real": None, "pairs": [], "notes": ["A note."],
        "protocol": {"images": "1,000 samples"},
    }  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    (run / "copies.json").write_text(json.dumps(copies))
    shutil.copy(run / "samples" / "reals.png", run / "copies.png")
    page = ganfold.report(run).read_text()
    for words in (
        '<p class="lead">The generated images can be told from real ones.</p>',
        "The doctor found nothing wrong with the training; near-copies found: 4.2 % of 1,000 samples.",
        "<td>KID</td><td>0.25 ± 0.02</td><td>0.002 ± 0.002</td><td>lower</td>",
        "<td>FD</td><td>0.25</td><td>0.002</td>",
        "<td>&lt;b&gt;&amp;</td><td>0.25 / 0.002</td>",
        "extractor efficientnet; seed 0.",
        "in pixels</td><td>4.2 %</td><td>1.0 %</td>",
        "<td>90.0 %</td><td>50.0 %</td>",
        "<td>-5.0</td><td>-</td>",
    ):
        assert words in page, words
    assert page.count("<img") == 6
    assert not re.search(r"\b(nan|None)\b", re.sub(r'"data:[^"]*"', "", page))


def test_the_doctors_findings_and_the_checkups_are_shown(run: Path) -> None:
    checkup = {"KID/error": 0.1, "coverage": 0.1, "opinion/train": 2.0, "opinion/held-out": -1.0, "opinion/fake": -3.0}
    with open(run / "log.jsonl", "a") as log:
        for i, kid in enumerate((3.0, 2.0)):
            log.write(json.dumps({"step": 2000 + i, "kimg": 2000.0 + i, "KID": kid, **checkup}) + "\n")
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps(state | {"best": {"KID": 2.0, "kimg": 2001.0}, "rescues": []}))
    page = ganfold.report(run).read_text()
    assert "The best checkpoint is that of 2001 kimg, with a quick KID of 2." in page
    assert "The doctor says: D overfits" in page
    assert "Its opinion of held-out images is 60% of the way" in page
    assert page.count("<svg") == 6  # KID and D's opinions beside the four


def test_a_young_run_has_a_report_too(run: Path) -> None:
    for path in [*run.iterdir()]:
        if path.name != "config.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = ganfold.report(run).read_text()
    assert "No report has been logged yet" in page
    assert "<img" not in page


def test_a_half_written_last_line_is_left_out(run: Path) -> None:
    with open(run / "log.jsonl", "a") as log:
        log.write('{"step": 20')
    assert ganfold.report(run).read_text().count("<svg") == 4


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match="is not a run folder"):
        ganfold.report(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(GanfoldError, match="is damaged"):
        ganfold.report(tmp_path)


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        ({}, "gan, config, settings, data"),
        ([1, 2], "gan, config, settings, data"),
        ({"gan": "dcgan", "config": {}, "settings": {}}, "data"),
        ({"gan": 3, "config": {}, "settings": {}, "data": []}, "gan, data"),
    ],
)
def test_a_config_of_something_else_is_refused(content: object, lacks: str, squares: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content))
    for use in (ganfold.report, ganfold.load, lambda out: ganfold.train("dcgan", squares, out, progress=False)):
        with pytest.raises(GanfoldError, match=f"its config.json lacks {lacks}.:|config.json is damaged"):
            use(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_in_a_browser_it_fits_a_phone_and_asks_for_nothing(run: Path, tmp_path: Path) -> None:
    page = ganfold.report(run)
    frame = tmp_path / "frame.html"  # a headless window is never narrower than 500 px, a frame may be
    frame.write_text(
        f'<iframe id="f" src="{page.as_uri()}" width="390" height="900"></iframe><script>f.onload = () => '
        "{ const d = f.contentDocument.documentElement; document.title = d.scrollWidth + ' ' + d.clientWidth }</script>"
    )
    net = tmp_path / "net.json"
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files",
        "--virtual-time-budget=8000",
        "--dump-dom",
    ]
    assert CHROMIUM
    words = [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={net}", frame.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    title = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert title, done.stdout[:500]
    assert int(title[1]) <= int(title[2]) <= 390
    asked = {url for url in re.findall(r'"url":"(\w+:[^"]{0,60})', net.read_text()) if "://" in url}
    assert {url for url in asked if url.startswith(("http:", "https:")) and "google" not in url} == set()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation.json", '{"figures": [{"name": "KID"}], "classes": {}, "notes": ["x"], "protocol": {}}'),
        ("evaluation.json", '{"figures": [], "notes": 3}'),
        ("evaluation.json", '{"figures": 7}'),
        ("copies.json", '{"verdict": "none"}'),
        ("copies.json", '{"verdict": 3, "pixels": {}, "features": {}}'),
        ("copies.json", "[]"),
        ("data.json", '{"classes": [1, 2], "notes": "x"}'),
        ("data.json", '{"skipped": 5}'),
        ("state.json", '{"images": "many", "minutes": null}'),
        ("log.jsonl", '{"kimg": "x", "Loss_D": 1}\n{"kimg": 2, "Loss_D": "y"}\n'),
        ("log.jsonl", "[1]\n[2]\n"),
        ("log.jsonl", '{"KID": 1.0, "kimg": 1}\n{"KID": 1.0, "kimg": 2}\n'),
        ("samples/reals.png", "no image"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(name: str, content: str, run: Path) -> None:
    (run / name).write_text(content)
    with pytest.raises(GanfoldError) as caught:
        ganfold.report(run)
    assert str(caught.value).startswith(f"{run / name} is damaged (")
    assert "\n" not in str(caught.value)


def test_a_log_that_ends_in_rubbish_is_shown_up_to_there(run: Path) -> None:
    with open(run / "log.jsonl", "ab") as log:
        log.write(b"\0\0\xff\xfe\n")
    assert ganfold.report(run).read_text().count("<svg") == 4


def test_names_that_look_like_mathematics_are_drawn_as_they_are(run: Path) -> None:
    rows = [{"step": i, "kimg": float(i), r"Loss_$\frac{$": 1.0, "Loss_G": 2.0} for i in range(9)]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert r"Loss_$\frac{$" in ganfold.report(run).read_text()


def test_a_file_among_the_samples_that_is_no_grid_is_passed_over(run: Path) -> None:
    shutil.copy(run / "samples" / "reals.png", run / "samples" / "my favourite.png")
    assert "my favourite" not in ganfold.report(run).read_text()


def test_the_summary_and_the_doctor_have_one_voice(run: Path) -> None:
    kids = enumerate([4.0, 3.0, 2.0, 1.9, 1.2, 1.0], 1)
    rows = [{"step": i, "kimg": float(i), "KID": kid, "KID/error": 0.01, "coverage": 0.4} for i, kid in kids]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hint = "The budget was spent while the images were still getting better"
    page = ganfold.report(run).read_text()
    assert f"<h3>{hint}</h3>" in page
    assert f"The doctor found nothing wrong with the training, and has a hint: {hint}." in page
