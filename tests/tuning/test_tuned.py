import hydra
import pytest
from omegaconf import OmegaConf

from trainbench.errors import UserError
from trainbench.recompose import compose
from trainbench.tuning import tuned


def reused(directory, *more):
    with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
        where = f"hydra.searchpath=[file://{directory}]"
        return OmegaConf.to_container(hydra.compose("config", [where, "+tuned=best", *more]), resolve=True)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=vit_tiny", "first_moment=bf16", "batch_size=16"],
        ["model=vit_tiny", "optimizer=lamb", "optimizer.weight_decay=0.1", "precision=fp32"],
        ["model=resnet_tiny", "model.architecture.depths=[1]", "measure.blocks=20", "compiler_flags=onednn"],
        ["model=bert_tiny", "reference.extra='a b, c.csv'", "price_per_hour=null", "data=kjv"],
        ["remat=dots"],
    ],
)
def test_the_file_composes_what_the_overrides_do(tmp_path, overrides):
    file = tuned.write(tmp_path, overrides, ["why, and how"])
    assert file == tmp_path / "tuned" / "best.yaml"
    assert "# why, and how\n" in file.read_text()
    assert reused(tmp_path) == compose(overrides)


def test_further_overrides_still_win(tmp_path):
    tuned.write(tmp_path, ["model=vit_tiny", "batch_size=16"], [])
    assert reused(tmp_path, "batch_size=4", "model=resnet18")["model"]["name"] == "resnet18"
    assert reused(tmp_path, "batch_size=4")["batch_size"] == 4


@pytest.mark.parametrize("override", ["+new=1", "~seed", "hydra.run.dir=x", "reproduce=some-id", "model"])
def test_what_no_file_can_hold_is_refused(override):
    with pytest.raises(UserError, match="is not for tune"):
        tuned.check([override])
