import dataclasses

from tests.levers.steps import compiled


def test_steps_in_one_call_are_a_loop_of_that_length():
    assert (
        compiled("vit_tiny", "steps_per_call=3").proof("steps_per_call") == "a loop of 3 in the compiled step"
    )


def test_micro_batches_are_a_loop_of_that_length():
    found = compiled("vit_tiny", "gradient_accumulation=4")
    assert found.proof("gradient_accumulation") == "a loop of 4 in the compiled step"


def test_a_step_without_the_loop_is_told_as_unrolled():
    asked, plain = compiled("vit_tiny", "steps_per_call=3"), compiled("vit_tiny")
    assert "no loop of 3" in str(dataclasses.replace(asked, program=plain.program).proof("steps_per_call"))
