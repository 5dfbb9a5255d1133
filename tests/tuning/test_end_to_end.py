import pytest

from trainbench import cli


@pytest.mark.slow
def test_a_real_session_ends_with_a_table_and_a_configuration_that_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["model=vit_tiny", "model.architecture.depth=1", "precision=fp32", "steps=6", "warmup=1"]
    code = cli.main(
        ["tune", *common, "batch_size=4", "levers=remat,steps_per_call", "minutes=2.5", "--dir", "there"]
    )
    printed = capsys.readouterr().out
    assert code == 0
    assert "remat=full" in printed
    assert "operations of the compiled step are computed again" in printed
    assert "not measured: steps_per_call=4,10: steps=6 is not a multiple" in printed
    assert (tmp_path / "there" / "rounds" / "1" / "default" / "result.json").exists()
    assert cli.main(["fits", "--config-dir", "there", "+tuned=best"]) == 0
