"""Checkpoints of other trainers: found in step order, or answered with the command that merges their shards."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
import torch

from rlvr.cli.model_paths import expanded, merge_command, step_of
from rlvr.lab.model import BASE_DIR, load_lab_model
from rlvr.models.loading import load_model
from rlvr.types import UserError
from tests.cli.test_bad_input import failure


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def model(folder: Path, weights: str = "model.safetensors") -> Path:
    touch(folder / "config.json", folder / weights)
    return folder


def test_all_checkpoints_of_a_folder_in_step_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (100, 9, 60):
        model(tmp_path / "hf" / f"checkpoint-{step}")
    model(tmp_path / "hf")  # the model that Trainer.save_model leaves beside its checkpoints
    touch(tmp_path / "hf" / "checkpoint-200" / "trainer_state.json")
    assert [step_of(path) for path in expanded(str(tmp_path / "hf"))] == [9, 60, 100]
    assert "holds a model and 3 checkpoints; the checkpoints are probed" in capsys.readouterr().err
    for path in ("global_step_40/actor/huggingface", "global_step_120/actor/huggingface"):  # verl, merged
        model(tmp_path / "verl" / path)
        touch(tmp_path / "verl" / path.replace("huggingface", "model_world_size_1_rank_0.pt"))
    assert expanded(str(tmp_path / "verl")) == [f"{tmp_path}/verl/global_step_{step}/actor/huggingface"
                                               for step in (40, 120)]
    model(tmp_path / "openrlhf" / "global_step20_hf", "pytorch_model-00001-of-00002.bin")
    model(tmp_path / "prime" / "weights" / "step_30")
    touch(tmp_path / "lora" / "checkpoint-7" / "adapter_config.json",
          tmp_path / "lora" / "checkpoint-7" / "adapter_model.safetensors")
    assert [[step_of(path) for path in expanded(str(tmp_path / name))] for name in ("openrlhf", "prime", "lora")] == [
        [20], [30], [7]]
    assert expanded(str(tmp_path / "hf" / "checkpoint-9")) == [str(tmp_path / "hf" / "checkpoint-9")]
    assert capsys.readouterr().err == ""


def test_shards_are_answered_with_the_command_of_their_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actor = tmp_path / "my verl" / "global_step_60" / "actor"
    touch(actor / "model_world_size_2_rank_0.pt", actor / "model_world_size_2_rank_1.pt", actor / "fsdp_config.json",
          actor / "huggingface" / "config.json", actor.parent / "critic" / "model_world_size_2_rank_0.pt",
          tmp_path / "my verl" / "global_step_80" / "actor" / "model_world_size_2_rank_0.pt")
    command = (f"python -m verl.model_merger merge --backend fsdp --local_dir {shlex.quote(str(actor))} --target_dir "
               f"{shlex.quote(str(actor / 'huggingface'))}")
    assert merge_command(actor) == command
    for named in (actor, actor.parent, actor / "huggingface", tmp_path / "my verl"):
        line = failure(capsys, "probe", str(named), "--data", "lab", "data.probe.size=3", "-o", str(tmp_path / "out"))
        assert line.endswith(command) and "in shards" in line
        assert ("and likewise 1 more" in line) == (named == tmp_path / "my verl")
    model(actor / "huggingface")  # merged: the other one is left out, and named
    assert expanded(str(tmp_path / "my verl")) == [str(actor / "huggingface")]
    assert "left out 1 of 2 checkpoints" in capsys.readouterr().err
    zero = tmp_path / "zero" / "checkpoint-5"
    touch(zero / "config.json", zero / "zero_to_fp32.py",
          zero / "global_step5" / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    with pytest.raises(UserError) as error:
        expanded(str(zero.parent))
    assert str(error.value).endswith(f": python {zero}/zero_to_fp32.py {zero} {zero} --safe_serialization")
    model(zero)  # ZeRO-2, or gathered on saving: whole weights beside the optimizer's shards
    assert expanded(str(zero.parent)) == [str(zero)] == expanded(str(zero))
    touch(tmp_path / "fsdp" / "pytorch_model_fsdp_0" / "__0_0.distcp", tmp_path / "mega" / "dist_ckpt" / "x")
    assert merge_command(tmp_path / "fsdp") == (
        f"accelerate merge-weights {tmp_path}/fsdp/pytorch_model_fsdp_0 {tmp_path}/fsdp")
    assert "--backend megatron" in (merge_command(tmp_path / "mega") or "")
    assert merge_command(tmp_path) is None


def test_a_checkpoint_that_is_still_being_written_is_refused(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    touch(tmp_path / "config.json", tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"names 2 files of weights, of which 1 are not there \(first: model-00002"):
        expanded(str(tmp_path))


class Nasty:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("was_here",))


def test_sharded_weights_in_bin_files_are_read_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = load_lab_model("lab")[0].state_dict()
    (tmp_path / "config.json").write_bytes((Path(BASE_DIR) / "config.json").read_bytes())
    files = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(whole)}
    for file in set(files.values()):
        torch.save({name: whole[name] for name in whole if files[name] == file}, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    assert expanded(str(tmp_path)) == [str(tmp_path)]
    loaded = load_model(str(tmp_path), dtype="float32").state_dict()
    assert all(torch.equal(loaded[name], whole[name]) for name in whole)
    torch.save({**{name: whole[name] for name in whole if files[name].startswith("pytorch_model-00001")},
                "nasty": Nasty()}, tmp_path / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(UserError, match="hold more than weights"):
        load_model(str(tmp_path), dtype="float32")
    assert not (tmp_path / "was_here").exists()
