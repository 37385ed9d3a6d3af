"""Markdown tables, compact and padded."""

from sql_ros.common.markdown import markdown_table, padded_table


def test_a_table_has_a_line_per_row_below_its_header():
    text = markdown_table(["a", "b"], [["x", 1], ["", 2.5]], right=[1])
    assert text == "| a | b |\n|---|--:|\n| x | 1 |\n|  | 2.5 |"


def test_the_columns_of_a_padded_table_are_aligned():
    table = padded_table(["a", "bb"], [["ccc", "1"]])
    assert table == "| a   | bb |\n| --- | -: |\n| ccc |  1 |"
