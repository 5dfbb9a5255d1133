import dataclasses

from tests.levers.steps import compiled


def test_operations_that_are_computed_again_are_counted_and_their_absence_is_told():
    full, plain = compiled("vit_tiny", "remat=full"), compiled("vit_tiny")
    assert "operations of the compiled step are computed again" in str(full.proof("remat"))
    assert "undid" in str(dataclasses.replace(full, program=plain.program).proof("remat"))
    assert plain.proof("remat") is None
