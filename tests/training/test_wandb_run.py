"""Whether Weights & Biases has a key here: the environment, or a netrc file as `wandb login` writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.training.wandb_run import has_wandb_key

LOGIN = "machine api.wandb.ai\n  login user\n  password " + "0" * 40 + "\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)  # Python refuses a file with passwords that others may read


def test_no_key_anywhere() -> None:
    assert not has_wandb_key()


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert has_wandb_key()


@pytest.mark.parametrize("name", [".netrc", "_netrc"])
def test_a_login(home: Path, name: str) -> None:
    write(home / name, LOGIN)
    assert has_wandb_key()


def test_a_login_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "logins", LOGIN)
    assert not has_wandb_key()
    monkeypatch.setenv("NETRC", str(home / "logins"))
    assert has_wandb_key()


def test_a_login_to_another_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".netrc", LOGIN)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert not has_wandb_key()
    write(home / ".netrc", LOGIN.replace("api.wandb.ai", "wandb.example.org"))
    assert has_wandb_key()


def test_a_broken_file_is_no_login(home: Path) -> None:
    write(home / ".netrc", "machine\n  what is this\n")
    assert not has_wandb_key()
