"""Pictures of problems: read from a row, kept as the bytes of an image file, handed to a processor inside messages.

Bytes, because they can be hashed, pickled and compared; a decoded picture takes a hundred times the memory. Pillow is
imported where a picture is read or decoded: text needs none.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.types import Message, UserError

TAG = re.compile(r"<image\s*(\d*)>")
"""Where a picture stands in a question: `<image>`, as Geometry3K has it, or numbered, `<image1>`, as MathVision."""
WHITE = (255, 255, 255)


def read_images(value: Any, folder: Path | None, *, max_pixels: int | None, blank: bool) -> tuple[bytes, ...]:
    """The pictures of a column: one or a list of bytes, a file name, `{bytes, path}` as datasets stores them, or a
    decoded picture. File names start from `folder`; None: there are no files.

    `max_pixels` scales larger pictures down, `blank` makes every picture white. Raises ValueError: what is wrong.
    """
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError("found no picture")
    return tuple(_adapted(_encoded(each, folder), max_pixels, blank) for each in values)


def decode(data: bytes) -> Any:
    """The picture as PIL's RGB; what is transparent becomes white, as the page a diagram was drawn on."""
    image = _open(data)
    if image.mode == "RGB":
        return image
    page = _pil().new("RGBA", image.size, (*WHITE, 255))
    page.alpha_composite(image.convert("RGBA"))
    return page.convert("RGB")


def with_placeholders(messages: Sequence[Message], num_images: int) -> tuple[Message, ...]:
    """The messages with `{"type": "image"}` where the pictures go: at the tags of the last user message, if there are
    as many tags as pictures; else before its text, if there is no tag or they are numbered (MathVision's name parts of
    one picture).

    Raises ValueError where tags and pictures do not match.
    """
    at = max(i for i, message in enumerate(messages) if message["role"] == "user")
    text = messages[at]["content"]
    if not isinstance(text, str):
        places = sum(part["type"] == "image" for message in messages for part in _parts(message))
        if places != num_images:
            raise ValueError(f"found {num_images} picture(s) for {places} place(s) of the type image in the messages")
        return tuple(messages)
    tags = list(TAG.finditer(text))
    if len(tags) == num_images:
        parts: list[dict[str, str]] = []
        end = 0
        for tag in tags:
            parts += [{"type": "text", "text": text[end : tag.start()]}, {"type": "image"}]
            end = tag.end()
        parts.append({"type": "text", "text": text[end:]})
    elif not tags or all(tag[1] for tag in tags):
        parts = [*({"type": "image"} for _ in range(num_images)), {"type": "text", "text": text}]
    else:
        raise ValueError(f"found {num_images} picture(s) for {len(tags)} tag(s) <image> in the question")
    content = [part for part in parts if part["type"] == "image" or part["text"]]
    return (*messages[:at], {**messages[at], "content": content}, *messages[at + 1 :])


def filled(messages: Sequence[Message], images: Sequence[Any]) -> list[dict[str, Any]]:
    """The messages as a processor takes them: every content a list of parts, the pictures in their places."""
    left = iter(images)
    return [
        {**message, "content": [
            {**part, "image": next(left)} if part["type"] == "image" and "image" not in part else dict(part)
            for part in _parts(message)
        ]}
        for message in messages
    ]


def _parts(message: Message) -> Sequence[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _encoded(value: Any, folder: Path | None) -> bytes:
    if isinstance(value, Mapping) and {"bytes", "path"} & value.keys():
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value and folder is not None:
        file = folder / Path(value).expanduser()
        if not file.is_file():
            raise ValueError(f"no picture file {str(file)!r}")
        return file.read_bytes()
    if hasattr(value, "save"):
        return _png(value)
    raise ValueError(f"found {repr(value)[:60]}, expected a picture: bytes, a file name, a decoded picture or a list")


def _adapted(data: bytes, max_pixels: int | None, blank: bool) -> bytes:
    image = _open(data)  # always: a broken file is found here and not in the middle of a run
    width, height = image.size
    scale = 1.0 if max_pixels is None else min(1.0, (max_pixels / (width * height)) ** 0.5)
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    if blank:
        return _png(_pil().new("RGB", size, WHITE))
    if scale == 1.0:
        return data
    return _png(decode(data).resize(size, _pil().Resampling.BICUBIC))


def _open(data: bytes) -> Any:
    try:
        image = _pil().open(io.BytesIO(data))
        image.load()
    except OSError as error:  # UnidentifiedImageError is one
        raise ValueError(f"not a picture that can be read ({error})") from None
    return image


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _pil() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise UserError("pictures need Pillow: pip install 'rlvr[vision]'") from error
    return PIL.Image
