"""Start tags and where they stand."""

from __future__ import annotations

from sbmlgrad.sbml.tags import as_utf8, tags

TEXT = """<?xml version="1.0" encoding="latin-1"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"
    xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2" fbc:required="false">
  <model id="m">
    <notes><p xmlns="http://www.w3.org/1999/xhtml">a <b>note</b></p></notes>
    <listOfSpecies>
      <species id="A"/>
      <species
        id="B" fbc:charge="2"/>
    </listOfSpecies>
    <fbc:listOfObjectives><fbc:objective fbc:id="o"/></fbc:listOfObjectives>
    <listOfReactions><reaction id="r"><listOfReactants><speciesReference species="A"/></listOfReactants></reaction>
    </listOfReactions>
  </model>
</sbml>
"""


def test_every_tag_of_sbml_has_its_line_and_owner() -> None:
    every = tags(TEXT)
    assert [(tag.name, tag.line) for tag in every][:5] == [
        *(("sbml", 2), ("model", 4), ("listOfSpecies", 6), ("species", 7), ("species", 8)),
    ]
    by_name = {tag.name: tag for tag in every}
    assert "p" not in by_name, "notes are passed over"
    assert by_name["listOfSpecies"].children == 2
    assert by_name["species"].in_words == "<species> 'B'"
    assert by_name["speciesReference"].in_words == "<speciesReference> of <reaction> 'r'"
    assert (by_name["objective"].package, by_name["objective"].identifier) == ("fbc", "o")
    assert by_name["model"].package == ""


def test_what_is_declared_is_utf8_and_lines_keep_their_numbers() -> None:
    text = "\ufeff\n" + TEXT
    assert as_utf8(text).startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    assert as_utf8(text).count("latin-1") == 0
    assert tags(text)[0].line == tags(TEXT)[0].line + 1
