"""Tables in HTML: text is escaped, and long ones are cut."""

from sbmlgrad.markup import html_table


def test_text_is_text() -> None:
    page = html_table("<b>", ["<i>"], [["<script>"], [0.123456789]])
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<td>0.123457</td>" in page


def test_long_tables_are_cut() -> None:
    page = html_table("", ["a"], ([i] for i in range(10)), most=4)
    assert page.count("<td>") == 4
    assert "and 6 more" in page
