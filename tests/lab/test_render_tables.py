"""Tables of the documentation are what their results say, and an error names page and line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from render_tables import ROOT, TableError, draft, main, rendered

COLUMNS = {"gan": "GAN", "seeds": "seeds", "KID": "KID"}


def row(kid: Any, *, seed: int | None = 0, metrics: Mapping[str, Any] | None = None, **protocol: Any) -> dict[str, Any]:
    return {"date": "2026-11-25", "seed": seed, "protocol": protocol, "metrics": {"KID": kid, **(metrics or {})}}


def page(root: Path, rows: list[dict[str, Any]], **mark: Any) -> str:
    """A page with one mark, its table filled."""
    (root / "x.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    mark = {"file": "x.jsonl", "columns": COLUMNS, **mark}
    return rendered(f"# Page\n\n<!-- table: {json.dumps(mark)} -->\n<!-- end -->\n\nAfter.\n", "page.md", root)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_every_table_of_the_documentation_is_fresh(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.argv", ["render_tables.py", "--check"])
    assert main() == 0, "".join(capsys.readouterr())


def test_seeds_become_mean_and_sample_deviation(tmp_path: Path) -> None:
    rows = [row(kid, seed=seed, gan="dcgan") for seed, kid in enumerate((1, 2, 4))] + [row(9.0, gan="rs|gan")]
    assert lines(page(tmp_path, rows)) == [
        "| GAN | seeds | KID |",
        "| --- | --- | --- |",
        "| dcgan | 3 | 2.333 ± 1.5 |",  # the mean of 1, 2, 4 is 7/3; the deviation over n - 1 is 1.5275
        "| rs\\|gan | 1 | 9 |",
    ]


def test_the_last_row_of_a_seed_counts_and_what_is_missing_is_said(tmp_path: Path) -> None:
    rows = [row(5.0), row(1.0), row(3.0, seed=1), row(None, seed=2)]
    assert lines(page(tmp_path, rows, columns={"KID": "KID"}))[2:] == ["| 2 ± 1.4 (n = 2) |"]


def test_a_deviation_beside_a_metric_is_shown(tmp_path: Path) -> None:
    rows = [row(0.03712, metrics={"KID_std": 0.0041}, gan="a")]
    assert lines(page(tmp_path, rows))[2:] == ["| a | 1 | 0.03712 ± 0.0041 |"]
    assert lines(page(tmp_path, rows, digits={"KID": 3}))[2:] == ["| a | 1 | 0.037 ± 0.004 |"]


def test_where_chooses_rows_and_the_order_of_the_file_stays(tmp_path: Path) -> None:
    rows = [row(i, gan=gan, minutes=m) for i, (gan, m) in enumerate([("b", 3), ("a", 3), ("a", 6), ("c", 3)])]
    shown = lines(page(tmp_path, rows, where={"minutes": 3}))[2:]
    assert [line.split()[1] for line in shown] == ["b", "a", "c"]
    assert len(lines(page(tmp_path, rows, where={"minutes": 3, "gan": ["a", "b"]}))[2:]) == 2


def test_values_of_every_kind_are_shown(tmp_path: Path) -> None:
    rows = [row(0.00012345, rate=1e-4, betas=[0.5, 0.9], on=True, images=123456, note="a\nb", none=None)]
    keys = ("date", "KID", "rate", "betas", "on", "images", "note")
    cells = lines(page(tmp_path, rows, columns={key: key for key in keys}))[2]
    assert cells == "| 2026-11-25 | 0.0001234 | 0.0001 | 0.5, 0.9 | yes | 123,456 | a b |"


def test_rendering_twice_changes_nothing_and_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    once = page(tmp_path, [row(1, gan="a")])
    assert once.startswith("# Page\n\n<!-- table:")
    assert once.endswith("| a | 1 | 1 |\n\n<!-- end -->\n\nAfter.\n")
    assert rendered(once, "page.md", tmp_path) == once
    two = once + "\n" + once
    assert rendered(two, "page.md", tmp_path) == two


def test_a_mark_in_a_code_block_is_an_example(tmp_path: Path) -> None:
    text = '```\n<!-- table: {"file": "none"} -->\n```\n'
    assert rendered(text, "page.md", tmp_path) == text


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ({"where": {"gan": "c"}}, 'no row of x.jsonl has {"gan": "c"}'),
        ({"columns": {"FD": "FD"}}, 'no shown row of x.jsonl has "FD"'),
        ({"columns": {"KID": "KID"}}, 'two lines look alike but differ in "gan"'),
        ({"file": "y.jsonl"}, "there is no file y.jsonl"),
        ({"filter": {}}, "a mark is an object with"),
    ],
)
def test_a_wrong_mark_is_one_sentence_with_page_and_line(tmp_path: Path, mark: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=re.escape(message)) as error:
        page(tmp_path, [row(1, gan="a"), row(2, gan="b")], **mark)
    assert str(error.value).startswith("page.md, table in line 3: ")
    assert "\n" not in str(error.value)


def test_a_mark_without_end_or_json_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no <!-- end --> follows"):
        rendered('<!-- table: {"file": "x", "columns": {}} -->\n', "page.md", tmp_path)
    with pytest.raises(TableError, match="its mark is no JSON"):
        rendered("<!-- table: file=x -->\n<!-- end -->\n", "page.md", tmp_path)


def test_check_names_the_stale_page_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("render_tables.ROOT", tmp_path)
    monkeypatch.setattr("render_tables.rendered", lambda text, name: rendered(text, name, tmp_path))
    path = tmp_path / "page.md"
    fresh = page(tmp_path, [row(1, gan="a")])
    stale = fresh.replace("| a | 1 | 1 |", "| a | 1 | 0.5 |")
    path.write_text(stale, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["render_tables.py", str(path), "--check"])
    assert main() == 1
    assert "page.md is stale" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == stale
    monkeypatch.setattr("sys.argv", ["render_tables.py", str(path)])
    assert main() == 0
    assert path.read_text(encoding="utf-8") == fresh


def test_a_draft_shows_what_differs_and_can_be_rendered(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [row(i, gan=gan, minutes=3, metrics={"FD": 1.0, "FD_std": 0.1, "each": [1]}) for i, gan in enumerate("ab")]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    mark = draft(path)
    assert '{"gan": "gan", "seeds": "seeds", "KID": "KID", "FD": "FD"}' in mark
    assert lines(rendered(mark, "page.md", ROOT))[2] == "| a | 1 | 0 | 1 ± 0.1 |"
