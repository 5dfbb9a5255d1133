import dataclasses
import os

import pytest

from tests.building import request
from tests.levers.steps import compiled
from trainbench import autos, workload
from trainbench.errors import UserError
from trainbench.hardware.flags import compiler_options
from trainbench.levers import registry
from trainbench.levers.lever import Situation


def test_the_compiler_is_given_the_flags_beside_our_own():
    asked = request("compiler_flags=fewer_copies", "model=vit_tiny")
    config = autos.resolve(asked, workload.make_task(asked), "cpu", 1)
    own, _ = compiler_options("cpu", os.environ)
    assert config.compiler_options == own | {"xla_cpu_copy_insertion_use_region_analysis": "True"}


def test_what_is_lost_of_a_preset_is_recorded():
    def older(options):
        return "xla_cpu_use_onednn" not in options

    asked = request("compiler_flags=onednn", "model=vit_tiny")
    config = autos.resolve(asked, workload.make_task(asked), "cpu", 1, older)
    assert "xla_cpu_use_onednn is unknown" in config.autos["compiler_flags"].reason
    assert config.compiler_options["xla_cpu_experimental_onednn_fusion_type"] == "LIBRARY_FUSION_TYPE_DOT"


def test_a_preset_of_another_platform_is_refused_with_those_of_this_one():
    asked = request("compiler_flags=vmem")
    with pytest.raises(UserError) as error:
        registry.resolve(Situation(asked, "cpu"))
    assert "platform tpu, not cpu" in error.value.problem
    assert "wide_vectors" in error.value.allowed
    assert "latency_hiding" not in error.value.allowed
    registry.resolve(Situation(asked, "tpu"))


def proof(with_flags, without):
    program = dataclasses.replace(with_flags.program, without_flags=lambda: without)
    return str(dataclasses.replace(with_flags, program=program).proof("compiler_flags"))


def test_the_proof_says_whether_the_program_is_another_one_and_no_more():
    plain, flagged = compiled("vit_tiny"), compiled("vit_tiny", "compiler_flags=fewer_copies")
    found = proof(flagged, plain.program.text)
    assert "the compiler took xla_cpu_copy_insertion_use_region_analysis" in found
    assert "another one than without them" in found
    same = proof(flagged, flagged.program.text.replace("stack_frame_id=1", "stack_frame_id=2"))
    assert "the same without them" in same
    assert flagged.losses == pytest.approx(plain.losses, rel=1e-6)


def test_without_a_program_to_compare_with_it_says_what_the_compiler_took():
    flagged = compiled("vit_tiny", "compiler_flags=fewer_copies")
    assert flagged.proof("compiler_flags") == "the compiler took xla_cpu_copy_insertion_use_region_analysis"
