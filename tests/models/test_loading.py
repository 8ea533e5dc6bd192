"""One way to load a base, a checkpoint and a directory of adapters, with revision and chat template of the recipe."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from rlvr.cli.main import main
from rlvr.config.data import DataSpec
from rlvr.config.sections import LoraSpec, ModelSpec
from rlvr.data.load import load_problems
from rlvr.lab.exact import exact_success
from rlvr.lab.model import load_lab_model
from rlvr.models import loading
from rlvr.models.declared import declared
from rlvr.models.loading import (
    adapter_of,
    check_trainable,
    config_overrides,
    keep_float32,
    load_options,
    model_of,
    processing_of,
)
from rlvr.models.prompts import prompt_fingerprint, prompt_ids, prompt_lengths
from rlvr.runs.run_dir import RunDir
from rlvr.types import Decoding, Problem, UserError
from tests.support.small_run import rows, write_recipe

SPEC = ModelSpec(path="lab")


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """A checkpoint of adapters on the lab's base that change it."""
    model, tokenizer = load_lab_model("lab")
    adapted: Any = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    folder = tmp_path / "checkpoint-7"
    adapted.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_adapters_are_loaded_with_their_base(adapters: Path) -> None:
    """Bug: a LoRA checkpoint could not be loaded ("Unrecognized model")."""
    ids = torch.arange(3, 9)[None]
    model = model_of(SPEC, str(adapters))
    with torch.no_grad():
        adapted, base = model(ids).logits, model_of(SPEC)(ids).logits
        merged = model.merge_and_unload()(ids).logits
    assert torch.allclose(adapted, merged, atol=1e-4) and (adapted - base).abs().max() > 0.1
    assert not model.training


def test_a_lora_checkpoint_is_probed(adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    assert main(["probe", "lab", str(adapters), "--data", "lab", "data.probe.split=test", "data.probe.size=2",
                 "probes.max_new_tokens=18", "probes.temperature=1", "probes.top_p=1", "judge.workers=1",
                 "--plan", "cheap", "-o", str(tmp_path / "run")]) == 0
    base, adapted = rows(RunDir(tmp_path / "run").boundary)
    assert adapted["step"] == 7 and adapted["exact"] != base["exact"]


def test_adapters_without_a_tokenizer_have_their_bases(adapters: Path) -> None:
    for file in adapters.glob("token*"):
        file.unlink()
    assert processing_of(SPEC, str(adapters)).get_vocab() == processing_of(SPEC).get_vocab()


def test_adapters_that_cannot_be_trained_on(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_trainable(ModelSpec(path=str(adapters)))
    check_trainable(SPEC)
    with pytest.raises(UserError, match=r"^model.lora: .*checkpoint-7', which holds adapters .* remove model.lora, or"):
        check_trainable(ModelSpec(path=str(adapters), lora=LoraSpec()))
    monkeypatch.setattr(loading, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=r"^model.quantization: found '4bit' beside .*checkpoint-7', which holds"):
        check_trainable(ModelSpec(path=str(adapters), quantization="4bit"))
    beyond = shutil.copytree(adapters, tmp_path / "beyond")
    stored = json.loads((beyond / "adapter_config.json").read_text())
    (beyond / "adapter_config.json").write_text(json.dumps(stored | {"base_model_name_or_path": str(adapters)}))
    with pytest.raises(UserError, match=r"^model.path: .*beyond' holds adapters of .*, which holds adapters itself"):
        check_trainable(ModelSpec(path=str(beyond)))


@pytest.mark.parametrize("config", ["{", "[]", "{}", '{"base_model_name_or_path": null}', "\udcff"])
def test_adapters_of_nothing(tmp_path: Path, config: str) -> None:
    """Bug: a KeyError or JSONDecodeError with its traceback."""
    (tmp_path / "adapter_config.json").write_bytes(config.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"^model.path: .*adapter_config.json: found no base_model_name_or_path in it"):
        check_trainable(ModelSpec(path=str(tmp_path)))


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_chat_template_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """Bug: a directory, a file that is missing and bytes that are no text ended in a traceback."""
    path = tmp_path if content is None else tmp_path / "t.jinja"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"^model.chat_template: '.*' cannot be read \(.*\); expected the path"):
        processing_of(ModelSpec(path="lab", chat_template=str(path)))


def test_training_goes_on_from_adapters(adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: a LoRA checkpoint could not be `model.path` of a training. The base of its boundary is the model with the
    adapters, its KL reference too, and its checkpoints hold adapters of the same base; it resumes to the same end."""
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    arguments = ["train", *write_recipe(tmp_path), f"model.path={adapters}", "train.steps=2", "train.save_every=1",
                 "train.prompts_per_step=8", "data.probe.size=2", "probes.plan=cheap", "probes.base_plan=cheap",
                 "probes.ks=[1, 4]", "tracking.wandb=disabled", "algorithm.kl_loss_coef=0.5"]
    assert main(arguments) == 0
    run = RunDir(tmp_path / "run")
    problems = load_problems(DataSpec(source="lab", split="test", size=2), where="data.probe")
    truth = exact_success(model_of(SPEC, str(adapters)), processing_of(SPEC), problems, Decoding(max_new_tokens=18))
    assert [row["exact_p"] for row in rows(run.probes)[:2]] == pytest.approx(truth.tolist(), abs=1e-6)
    last, start = run.checkpoint(2), load_file(adapters / "adapter_model.safetensors")
    assert adapter_of(str(last)) == adapter_of(str(adapters))
    trained = load_file(last / "adapter_model.safetensors")
    assert trained.keys() == start.keys() and any(not trained[name].equal(start[name]) for name in start)
    reference = load_file(last / "ref" / "adapter_model.safetensors")
    assert all(reference[name].equal(start[name]) for name in start)
    assert rows(run.metrics)[0]["train/kl"] == pytest.approx(0.0, abs=1e-6)  # the reference is where it starts
    shutil.rmtree(last)
    assert main([*arguments, "--resume"]) == 0
    again = load_file(last / "adapter_model.safetensors")
    assert all(again[name].equal(trained[name]) for name in trained)


def test_the_revision_is_the_bases_and_the_template_is_everyones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: perplexity left out both."""
    asked: list[tuple[str, str, Any]] = []
    for name in ("load_model", "load_processing"):
        real = getattr(loading, name)

        def load(path: str, *, real: Any = real, name: str = name, revision: Any = None, **how: Any) -> Any:
            asked.append((name, path, revision))
            return real(path, **how)

        monkeypatch.setattr(loading, name, load)
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }}")
    spec = ModelSpec(path="lab", revision="v2", chat_template=str(tmp_path / "t.jinja"))
    other = str(shutil.copytree(loading.source("lab"), tmp_path / "other"))
    for path in (None, other):
        model_of(spec, path)
        assert processing_of(spec, path).chat_template == "{{ messages[0].content }}"
    assert asked == [("load_model", "lab", "v2"), ("load_processing", "lab", "v2"), ("load_model", other, None),
                     ("load_processing", other, None)]


def test_settings_of_the_model_reach_whoever_loads_it(tmp_path: Path) -> None:
    """A section of the config is merged with what is there; a checkpoint in the base's place gets the same."""
    spec = ModelSpec(path="lab", config={"rope_parameters": {"rope_type": "linear", "factor": 2.0}})
    assert config_overrides(spec) == {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}}
    other = str(shutil.copytree(loading.source("lab"), tmp_path / "other"))
    base = model_of(SPEC).model.rotary_emb.inv_freq
    for path in (None, other):
        assert torch.equal(model_of(spec, path).model.rotary_emb.inv_freq, base / 2)
    assert declared(spec)[0].rope_parameters["factor"] == 2.0
    for key, guess in (("hidden_sise", "'hidden_size'"), ("rope_scaling", "'model.config.rope_parameters'")):
        with pytest.raises(UserError, match=rf"^model.config.{key}: not in the config of 'lab'; did you mean {guess}"):
            config_overrides(ModelSpec(path="lab", config={key: 1}))


def test_code_of_a_model_runs_only_where_the_recipe_says_so() -> None:
    assert load_options(dataclasses.replace(SPEC, trust_remote_code=True))["trust_remote_code"] is True
    assert "trust_remote_code" not in load_options(SPEC)


def test_a_chat_is_rendered_with_the_recipes_variables_by_every_caller(tmp_path: Path) -> None:
    template = "{{ messages[-1].content }}{% if think is defined and not think %} = {% endif %}"
    (tmp_path / "t.jinja").write_text(template)
    problem = Problem(id="p", prompt=({"role": "user", "content": "1 2"},), gold="3", verifier="math")
    plain, told = (processing_of(ModelSpec(path="lab", chat_template=str(tmp_path / "t.jinja"),
                                           chat_template_kwargs=variables))
                   for variables in ({}, {"think": False}))
    equals = told.get_vocab()["="]
    assert prompt_ids(told, problem) == [*prompt_ids(plain, problem), equals] == prompt_fingerprint(told, problem)
    assert prompt_lengths(told, [problem]) == {"p": len(prompt_ids(plain, problem)) + 1}
    # TRL calls it with its own arguments, on a copy of the messages.
    copied = [dict(message) for message in cast(Any, problem.prompt)]
    assert told.apply_chat_template(conversation=copied, tokenize=True, return_dict=True)["input_ids"][-1] == equals


def test_quantized_weights_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(path="lab", quantization="4bit", dtype="bfloat16", lora=LoraSpec())
    found = load_options(spec)["quantization_config"]
    assert found.load_in_4bit and found.bnb_4bit_quant_type == "nf4" and found.bnb_4bit_compute_dtype == torch.bfloat16
    assert load_options(dataclasses.replace(spec, quantization="8bit"))["quantization_config"].load_in_8bit
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^model.quantization: the package bitsandbytes is not installed: pip install"):
        check_trainable(spec)
    check_trainable(SPEC)


def test_adapters_beside_quantized_weights_learn_in_float32() -> None:
    model = torch.nn.ModuleDict({"frozen": torch.nn.Linear(2, 2).requires_grad_(False).bfloat16(),
                                 "adapter": torch.nn.Linear(2, 2).bfloat16()})
    keep_float32(model)
    assert {name: p.dtype for name, p in model.named_parameters()} == {
        "frozen.weight": torch.bfloat16, "frozen.bias": torch.bfloat16,
        "adapter.weight": torch.float32, "adapter.bias": torch.float32}


def test_a_misspelt_lab_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"no tokenizer at 'laab' .*; did you mean `lab`\?$"):
        processing_of(ModelSpec(path="laab"))
    with pytest.raises(UserError, match=r"no tokenizer at './elsewhere' .* of a model$"):
        processing_of(ModelSpec(path="./elsewhere"))
