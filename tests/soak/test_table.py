from soak.table import BEGIN, END, SoakRow, publish

KILLED = SoakRow("kill", 10, 100, 99, 0, 0, 0)


def test_a_row_of_the_soak_table_replaces_the_one_of_its_fault_and_leaves_the_text_and_the_others(tmp_path):
    document = tmp_path / "reliability.md"
    document.write_text(f"# Promises\n\n{BEGIN}\n{END}\nthe end\n")
    publish(KILLED, SoakRow("outage", 1, 5, 5, 0, 0, 0), document=document)
    publish(SoakRow("kill", 20, 200, 198, 0, 0, 0), document=document)
    text = document.read_text()
    assert "| kill | 20 | 200 | 198 | 0 | 0 | 0 |\n| outage | 1 | 5 | 5 | 0 | 0 | 0 |" in text
    assert text.startswith("# Promises\n")
    assert text.endswith("the end\n")


def test_a_row_with_a_lost_sample_is_not_clean():
    assert KILLED.is_clean()
    assert not SoakRow("kill", 10, 100, 98, 1, 0, 0).is_clean()
