"""Models between a base and its trained model: numbers by hand, files as they were, memory of pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from rlvr.models import merge as merge_module
from rlvr.models.merge import ADAPTER_CONFIG, INDEX, Weights, between, check_mergeable, merge
from rlvr.models.weights import adapters_add_nothing, weights_hash
from rlvr.types import UserError
from tests.support.tiny import tiny_model


def model(folder: Path, tensors: Mapping[str, torch.Tensor], **config: Any) -> Path:
    folder.mkdir()
    save_file({name: t.clone() for name, t in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def random_bf16(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(7, 3, generator=generator).bfloat16(), "b": torch.randn(5, generator=generator).bfloat16(),
            "s": torch.randn((), generator=generator).bfloat16()}


def merged(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def test_between_is_base_plus_share_of_the_mean_difference() -> None:
    base, one, two = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 2.0]), torch.tensor([7.0, -2.0])
    # means (5, 0): 1 + 0.25 * 4 = 2 and -2 + 0.25 * 2 = -1.5
    assert between(base, [one, two], 0.25, torch.float32).tolist() == [2.0, -1.5]
    assert between(base, [one, two], 1.0, torch.float32).tolist() == [5.0, 0.0]
    assert between(base, [one], 0.75, torch.float32).tolist() == [2.5, 1.0]
    three = torch.tensor([2.0, 3.0])  # means (4, 1)
    assert between(base, [one, two, three], 0.5, torch.float32).tolist() == [2.5, -0.5]


def test_bfloat16_is_rounded_once() -> None:
    base, end = torch.tensor([1.0]).bfloat16(), torch.tensor([1.0078125]).bfloat16()  # neighbours in bfloat16
    assert between(base, [end], 0.49, torch.bfloat16).item() == 1.0
    assert between(base, [end], 0.51, torch.bfloat16).item() == 1.0078125
    # 256 + 0.5 * (259 - 256) = 257.5: bfloat16 has 256, 258, 260 there. The mean of (258, 260) rounds before to 258 or
    # 260; through float32 it is 259.
    a, b = torch.tensor([258.0]).bfloat16(), torch.tensor([260.0]).bfloat16()
    assert between(torch.tensor([256.0]).bfloat16(), [a, b], 0.5, torch.bfloat16).item() == 258.0
    assert between(torch.tensor([256.0]).bfloat16(), [a, b], 0.5, torch.float32).item() == 257.5
    # The mean of (256, 258) is 257, in bfloat16 256: 258 - 0.5 * 1 = 257.5 rounds to 258, 258 - 0.5 * 2 = 257 to 256.
    ends = [torch.tensor([x]).bfloat16() for x in (256.0, 258.0)]
    assert between(torch.tensor([258.0]).bfloat16(), ends, 0.5, torch.bfloat16).item() == 258.0


def test_float64_stays_float64() -> None:
    base, end = torch.zeros(1).double(), torch.tensor([1 + 2.0**-40], dtype=torch.float64)
    assert between(base, [end], 0.5, torch.float64).item() == 0.5 + 2.0**-41


def test_a_merge_has_the_types_of_the_trained_model(tmp_path: Path) -> None:
    base = model(tmp_path / "base", {"w": torch.tensor([1.0, -2.0])})
    trained = model(tmp_path / "trained", {"w": torch.tensor([3.0, 2.0]).bfloat16()})
    merge(str(base), [trained], 0.25, tmp_path / "out")
    (found,) = merged(tmp_path / "out").values()
    assert found.dtype == torch.bfloat16 and found.tolist() == [1.5, -1.0]


def test_the_second_factor_of_an_embedding_is_scaled(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    save_file({f"embed.lora_embedding_{factor}": torch.tensor([[2.0]]) for factor in "AB"},
              tmp_path / "one" / "adapter_model.safetensors")
    (tmp_path / "one" / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": 1, "base_model_name_or_path": "tiny"}))
    merge("unused", [tmp_path / "one"], 0.25, tmp_path / "out")
    found = merged(tmp_path / "out")
    assert found["embed.lora_embedding_A"].item() == 2.0 and found["embed.lora_embedding_B"].item() == 0.5


def test_both_ends_are_the_inputs_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in several shards and pieces, with minus zero and NaN among the numbers."""
    start, end = random_bf16(0), random_bf16(1)
    start["a"][0, 0], end["a"][1, 1] = -0.0, float("nan")
    base, trained = model(tmp_path / "base", start, kind="base"), model(tmp_path / "trained", end, kind="trained")
    (base / "generation_config.json").write_text("{}")
    (trained / "optimizer.pt").write_text("")
    (trained / "trainer_state.json").write_text("{}")
    monkeypatch.setattr(merge_module, "PIECE", 4)
    monkeypatch.setattr(merge_module, "SHARD", 16)
    for share, expected in ((0.0, start), (1.0, end)):
        output = tmp_path / f"at-{share}"
        merge(str(base), [trained], share, output)
        found = merged(output)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[n].flatten().view(torch.uint8), expected[n].flatten().view(torch.uint8))
                   for n in expected)
        index = json.loads((output / INDEX).read_text())
        assert index["metadata"]["total_size"] == 2 * (21 + 5 + 1)
        files = {name: {n for n, f in index["weight_map"].items() if f == name}
                 for name in index["weight_map"].values()}
        assert sorted(files) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        assert all(load_file(output / name).keys() == names for name, names in files.items())
        assert json.loads((output / "config.json").read_text()) == {"kind": "trained"}
        assert sorted(p.name for p in output.glob("*.json")) == ["config.json", "generation_config.json", INDEX]


def test_pieces_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, trained = model(tmp_path / "base", random_bf16(0)), model(tmp_path / "trained", random_bf16(1))
    monkeypatch.setattr(merge_module, "PIECE", 4)
    merge(str(base), [trained], 0.3, tmp_path / "out")
    for name, start in random_bf16(0).items():
        expected = (start.double() + 0.3 * (random_bf16(1)[name].double() - start.double())).bfloat16()
        assert torch.equal(merged(tmp_path / "out")[name], expected)


def test_a_tied_weight_may_be_stored_in_one_of_them_only(tmp_path: Path) -> None:
    embed = torch.randn(4, 2)
    base = model(tmp_path / "base", {"embed": embed, "w": torch.zeros(2)})
    trained = model(tmp_path / "trained", {"embed": embed + 1, "head": embed + 1, "w": torch.ones(2)})
    merge(str(base), [trained], 0.5, tmp_path / "out")
    found = merged(tmp_path / "out")
    assert torch.allclose(found["head"], embed + 0.5) and torch.equal(found["head"], found["embed"])
    merge(str(trained), [base], 0.5, tmp_path / "back")  # and the other way round
    assert merged(tmp_path / "back").keys() == {"embed", "w"}
    other = model(tmp_path / "other", {"embed": embed + 1, "head": embed + 2, "w": torch.ones(2)})
    with pytest.raises(UserError, match="has no weight 'head'"):
        merge(str(base), [other], 0.5, tmp_path / "bad")


def test_what_has_no_line_between_is_refused(tmp_path: Path) -> None:
    base = model(tmp_path / "base", {"w": torch.zeros(2), "i": torch.tensor([1])})
    for name, tensors, message in (
        ("wide", {"w": torch.zeros(3), "i": torch.tensor([1])}, r"'w' is \[2\], .* \[3\]"),
        ("count", {"w": torch.zeros(2), "i": torch.tensor([2])}, "'i' .*differs from that of"),
        ("fp8", {"w": torch.zeros(2).to(torch.float8_e4m3fn), "i": torch.tensor([1])}, "quantized"),
    ):
        trained = model(tmp_path / name, tensors)
        with pytest.raises(UserError, match=message):
            check_mergeable(str(base), [trained])
        with pytest.raises(UserError, match=message):
            merge(str(base), [trained], 0.5, tmp_path / f"out-{name}")
        assert not (tmp_path / f"out-{name}").exists()
    (tmp_path / "bin").mkdir()
    with pytest.raises(UserError, match="expected a model saved as safetensors"):
        Weights.of(str(tmp_path / "bin"))


def adapters(folder: Path, seed: int, **changes: Any) -> Path:
    config = LoraConfig(**({"r": 2, "lora_alpha": 3, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | changes))
    peft: Any = get_peft_model(tiny_model(), config)
    peft.peft_config["default"].base_model_name_or_path = "tiny"
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    peft.save_pretrained(folder)
    return folder


def update(folder: Path) -> tuple[Any, torch.Tensor]:
    """The model with its adapters, and what they add to the weight of the first query projection."""
    peft: Any = PeftModel.from_pretrained(tiny_model(), folder)
    return peft, peft.base_model.model.model.layers[0].self_attn.q_proj.get_delta_weight("default")


def test_adapters_are_scaled_and_averaged(tmp_path: Path) -> None:
    one, two = adapters(tmp_path / "one", 1), adapters(tmp_path / "two", 2)
    merge("unused", [one], 0.5, tmp_path / "half")
    assert torch.allclose(update(tmp_path / "half")[1], 0.5 * update(one)[1], atol=1e-6)
    merge("unused", [one, two], 0.5, tmp_path / "mean")
    assert torch.allclose(update(tmp_path / "mean")[1], 0.25 * (update(one)[1] + update(two)[1]), atol=1e-6)
    merge("unused", [one], 1.0, tmp_path / "all")
    assert all(torch.equal(t, merged(one)[n]) for n, t in merged(tmp_path / "all").items())
    merge("unused", [one], 0.0, tmp_path / "none")
    at_base = update(tmp_path / "none")[0]
    assert adapters_add_nothing(at_base) and weights_hash(at_base) == weights_hash(tiny_model())


def test_adapters_that_were_trained_further_go_back_to_those_before(tmp_path: Path) -> None:
    """Bug: they were scaled towards the model below, past the adapters that the run began with."""
    before, after, other = (adapters(tmp_path / name, seed) for seed, name in enumerate(("before", "after", "other")))
    start, end, second = (update(folder)[1] for folder in (before, after, other))
    merge(str(before), [after], 0.25, tmp_path / "quarter")
    assert torch.allclose(update(tmp_path / "quarter")[1], start + 0.25 * (end - start), atol=1e-6)
    merge(str(before), [after, other], 0.5, tmp_path / "mean")
    assert torch.allclose(update(tmp_path / "mean")[1], start + 0.5 * ((end + second) / 2 - start), atol=1e-6)
    for share, at in ((0.0, before), (1.0, after)):
        merge(str(before), [after], share, tmp_path / f"at-{share}")
        found = merged(tmp_path / f"at-{share}")
        assert found.keys() == merged(at).keys() and all(torch.equal(t, merged(at)[n]) for n, t in found.items())
        assert json.loads((tmp_path / f"at-{share}" / ADAPTER_CONFIG).read_text())["r"] == 2
    for name, changes, message in (("wide", {"r": 4}, "r is 2, in .*wide 4"),
                                   ("rs", {"use_rslora": True}, "use_rslora.* merge these into the model before")):
        trained = adapters(tmp_path / name, 3, **changes)
        with pytest.raises(UserError, match=message):
            check_mergeable(str(before), [trained])
    with pytest.raises(UserError, match="one holds adapters"):
        check_mergeable(str(before), [model(tmp_path / "whole", {"w": torch.zeros(1)})])


def test_adapters_that_are_more_than_lora_are_refused(tmp_path: Path) -> None:
    plain = adapters(tmp_path / "plain", 1)
    for name, changes, message in (("dora", {"use_dora": True}, "plain LoRA"), ("wide", {"r": 4}, "r is 4"),
                                   ("more", {"target_modules": ["k_proj"]}, "adapts other modules")):
        other = adapters(tmp_path / name, 2, **changes)
        with pytest.raises(UserError, match=message):
            check_mergeable("unused", [plain, other])
        with pytest.raises(UserError, match=message):
            merge("unused", [plain, other], 0.5, tmp_path / f"out-{name}")
    with pytest.raises(UserError, match="one holds adapters"):
        merge("unused", [plain, model(tmp_path / "whole", {"w": torch.zeros(1)})], 0.5, tmp_path / "out")
