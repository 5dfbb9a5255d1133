import os

import pytest

from tests.forecast.outcomes import VERSIONS, program, too_large
from trainbench.errors import UserError
from trainbench.forecast.compiler import cache
from trainbench.forecast.targets import find


@pytest.mark.parametrize("outcome", [program(), too_large()])
def test_what_was_saved_is_loaded(tmp_path, outcome):
    entry = tmp_path / "forecast" / "key.json"
    assert cache.load(entry) is None
    cache.save(entry, "resnet50", "tpu-v6e", outcome)
    assert cache.load(entry) == outcome


def test_the_program_is_kept_compressed_beside_the_entry(tmp_path):
    cache.save(tmp_path / "key.json", "resnet50", "tpu-v6e", program())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["key.hlo.gz", "key.json"]
    assert b"HloModule" not in (tmp_path / "key.json").read_bytes()


@pytest.mark.parametrize("name", ["key.json", "key.hlo.gz"])
@pytest.mark.parametrize("damage", [b"", b"{", b"[]", None])
def test_a_damaged_entry_is_compiled_again(tmp_path, name, damage):
    entry = tmp_path / "key.json"
    cache.save(entry, "resnet50", "tpu-v6e", program())
    file = tmp_path / name
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert cache.load(entry) is None


def test_the_key_is_of_everything_that_decides_what_is_compiled():
    keys = [
        cache.key("module", find("v6e-1"), VERSIONS),
        cache.key("another", find("v6e-1"), VERSIONS),
        cache.key("module", find("v5e-1"), VERSIONS),
        cache.key("module", find("v6e-4"), VERSIONS),
        cache.key("module", find("v6e-1"), VERSIONS | {"libtpu": "0.0.53"}),
        cache.key("module", find("v6e-1"), VERSIONS | {"xla_flags": "LIBTPU_INIT_ARGS=--x"}),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == cache.key("module", find("v6e-1"), dict(reversed(VERSIONS.items())))


def test_the_last_compilation_of_a_model_for_the_same_chip_tells_how_long_it_takes(tmp_path):
    def compiled(name, model, chip, seconds, when):
        entry = tmp_path / f"{name}.json"
        cache.save(entry, model, chip, program(compile_s=seconds))
        os.utime(entry, (when, when))

    assert cache.earlier_compile_s(tmp_path, "resnet50", "tpu-v3") is None
    compiled("a", "resnet50", "tpu-v5e", 240.0, 3000)
    compiled("b", "vit_b16", "tpu-v3", 20.0, 4000)
    assert cache.earlier_compile_s(tmp_path, "resnet50", "tpu-v3") == 240
    compiled("c", "resnet50", "tpu-v3", 95.0, 1000)
    compiled("d", "resnet50", "tpu-v3", 90.0, 2000)
    (tmp_path / "damaged.json").write_text("{}")
    assert cache.earlier_compile_s(tmp_path, "resnet50", "tpu-v3") == 90


def test_a_cache_that_cannot_be_written_is_told_with_the_variable_that_moves_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        cache.save(tmp_path / "file" / "key.json", "resnet50", "tpu-v6e", program())
    assert "TRAINBENCH_CACHE" in error.value.fix
