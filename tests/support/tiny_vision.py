"""A tiny random Qwen2.5-VL with its processor, built offline, and problems with small synthetic pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from rlvr.types import Problem

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Processor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's without a video processor, which only torchvision can build."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = map(tokenizer.convert_tokens_to_ids, SPECIAL[4:])
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, without loss, and Qwen's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|im_end|>", padding_side="left",
        additional_special_tokens=list(SPECIAL),
    )
    return tokenizer


def build_processor() -> Processor:
    """Pictures of 4 x 4 pixel patches, 2 x 2 of them to a token, at most 32 x 32 pixels."""
    images = Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2, size={"shortest_edge": 64, "longest_edge": 1024}
    )
    return Processor(images, build_tokenizer(), TEMPLATE)


def build_model(seed: int = 0) -> Any:
    tokenizer: Any = build_tokenizer()
    ids = dict(zip(SPECIAL, map(tokenizer.convert_tokens_to_ids, SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
            "initializer_range": 0.2, "eos_token_id": ids["<|im_end|>"], "bos_token_id": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 4, "spatial_patch_size": 4, "temporal_patch_size": 2, "spatial_merge_size": 2,
            "window_size": 16, "fullatt_block_indexes": [1], "initializer_range": 0.2,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )
    config._name_or_path = "tiny-vision"
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|im_end|>"])
    return model.eval()


def picture(seed: int, width: int = 16, height: int = 16) -> bytes:
    """Random pixels as a PNG."""
    pixels = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def vision_problems(count: int = 8) -> list[Problem]:
    """Pictures of different sizes, hence prompts of different lengths and numbers of patches."""
    sizes = [(16, 16), (24, 16), (32, 24), (16, 32)]
    return [
        Problem(
            f"v/{i}",
            (
                {"role": "system", "content": "Answer in a box."},
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Find x" + "." * (i % 3)}]},
            ),
            str(i), "visual_answer", images=(picture(i, *sizes[i % 4]),),
        )
        for i in range(count)
    ]


def save_llava(folder: Path) -> None:
    """A tiny LLaVA as a model directory: the one family whose processor AutoProcessor loads without torchvision."""
    tokenizer: Any = build_tokenizer()
    end, pad = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|image_pad|>"))
    images = CLIPImageProcessorPil(size={"height": 16, "width": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", image_token="<|image_pad|>",
        num_additional_image_tokens=1, chat_template=TEMPLATE,
    )
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=16,
            patch_size=8,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, eos_token_id=end,
            bos_token_id=None,
        ),
        image_token_index=pad,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
